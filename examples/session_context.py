"""Looks at the session: who writes, in which conversation, with which environment."""

import parlour as cl


@cl.on_message
async def on_message(message: cl.Message):
    current_session = cl.context.session
    thread_id = current_session.thread_id
    user = current_session.user
    user_id = user.identifier if user else "Anonymous"
    await cl.Message(content=f"Message received from user {user_id} in thread {thread_id}.").send()

    api_key = current_session.user_env.get("OPENAI_API_KEY")
    if api_key:
        await cl.Message(content="Found your API key!").send()
