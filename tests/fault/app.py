"""The app of the fault run: streams numbered tokens, so that any loss, repeat or reordering shows."""

from __future__ import annotations

import asyncio
import os
import time

import parlour as cl

RATE = float(os.environ.get("FAULT_TOKENS_PER_SECOND", "1000"))


@cl.on_message
async def reply(message: cl.Message) -> None:
    """`count N`: N tokens "0 1 2 …", at about RATE per second."""
    count = int(message.content.split()[1])
    out = cl.Message(content="")
    started = time.monotonic()
    for number in range(count):
        await out.stream_token(f"{number} ")
        ahead = number / RATE - (time.monotonic() - started)
        if ahead > 0.005:
            await asyncio.sleep(ahead)
    await out.send()
