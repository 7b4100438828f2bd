"""Says back what it is told, as its own words; `everywhere TEXT` puts the text wherever an app can."""

from __future__ import annotations

import asyncio

import parlour as cl

PIECE = 7
"""Characters at a time: markup is cut anywhere."""


@cl.on_message
async def reply(message: cl.Message) -> None:
    command, _, text = message.content.partition(" ")
    if command == "everywhere":
        await everywhere(text)
        return
    out = cl.Message(content="")
    for start in range(0, len(message.content), PIECE):
        await out.stream_token(message.content[start : start + PIECE])
        await asyncio.sleep(0)
    await out.send()


async def everywhere(text: str) -> None:
    async with cl.Step(name=text, type=text) as step:
        step.input = text
        step.output = text
    await cl.context.emitter.send_status(text)
    actions = [cl.Action(name="act", label=text, payload={}, tooltip=text)]
    file = cl.File(name=text, content=text, mime="text/html")
    await cl.Message(content=text, author=text, actions=actions, elements=[file]).send()
    choices = [cl.Action(name="choice", label=text, payload={}, tooltip=text)]
    await cl.AskActionMessage(text, choices, timeout=60).send()
