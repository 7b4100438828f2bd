"""Shows how it came to an answer: nested steps, one of them blocking code in a thread."""

import time

import parlour as cl


@cl.step(type="retrieval", name="Look it up")
async def look_up(question: str) -> list[str]:
    return [word for word in question.split() if len(word) > 3]


@cl.step(type="tool", name="Measure")
def measure(words: list[str]) -> int:
    time.sleep(0.01)
    return sum(map(len, words))


@cl.on_message
async def reply(message: cl.Message) -> None:
    async with cl.Step(name="Think", type="run") as thinking:
        thinking.input = message.content
        words = await look_up(message.content)
        letters = await cl.make_async(measure)(words)
        thinking.output = {"words": len(words), "letters": letters}
    await cl.Message(content=f"{len(words)} long words with {letters} letters.").send()
