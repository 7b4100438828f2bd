"""Remembers what each person is called."""

import parlour as cl


@cl.on_chat_start
async def on_chat_start():
    res = await cl.AskUserMessage(content="Hello! What's your name?").send()
    if res:
        name = res["output"]
        cl.user_session.set("user_name", name)
        await cl.Message(content=f"Nice to meet you, {name}!").send()


@cl.on_message
async def on_message(message: cl.Message):
    name = cl.user_session.get("user_name", "User")
    await cl.Message(content=f"{name}, you said: {message.content}").send()
