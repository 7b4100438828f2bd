"""Talks through a chat completion endpoint; the person brings the key.

Needs `user_env = ["OPENAI_API_KEY"]` in parlour.toml, so that clients are asked for it. The official SDK
reads `OPENAI_BASE_URL` by itself.
"""

from openai import AsyncOpenAI, OpenAIError

import parlour as cl

MODEL = "gpt-4.1-mini"


@cl.on_message
async def reply(message: cl.Message) -> None:
    answer = cl.Message(content="")
    try:
        async with AsyncOpenAI(api_key=cl.user_session.get("env")["OPENAI_API_KEY"]) as client:
            stream = await client.chat.completions.create(
                model=MODEL, messages=cl.chat_context.to_openai(), stream=True
            )
            async for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    await answer.stream_token(chunk.choices[0].delta.content)
    except OpenAIError as error:
        await cl.ErrorMessage(content=f"The model did not answer ({type(error).__name__}).").send()
        return
    await answer.send()
