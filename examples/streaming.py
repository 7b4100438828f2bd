"""Streams an answer word by word; Stop keeps what was said until then."""

import parlour as cl


@cl.on_message
async def reply(message: cl.Message) -> None:
    answer = cl.Message(content="")
    for word in f"You wrote {len(message.content.split())} words. Here they are again:".split():
        await answer.stream_token(word + " ")
        await cl.sleep(0.02)
    await answer.stream_token(f"\n\n> {message.content}")
    await answer.send()


@cl.on_stop
async def stopped() -> None:
    await cl.context.emitter.send_toast("Stopped")
