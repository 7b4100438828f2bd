"""A program that talks to an app: `python examples/bot.py http://127.0.0.1:8000 TOKEN Ada` says its name to
`names.py`, then something, and prints what it hears. Needs `parlour[client]`.
"""

import asyncio
import sys
import uuid
from datetime import datetime

from parlour.client import Snapshot, connect


async def local_time(args):
    """The app may call this (`cl.CopilotFunction("local_time")`)."""
    return datetime.now().isoformat(timespec="seconds")


async def introduce(url, token, name, thread_id=None):
    """Answer the app's question with a name, say hello, and give back what the app said."""
    thread_id = thread_id or uuid.uuid4().hex
    said = []
    async with connect(url, token=token, thread_id=thread_id) as client:
        client.on_call("local_time", local_time)
        async with client.follow(f"thread:{thread_id}") as stream:
            # A snapshot first; after a lost connection the stream goes on where it was.
            async for item in stream:
                if isinstance(item, Snapshot):
                    said = [one["content"] for one in item.state["messages"]]
                    for ask in item.state.get("asks", ()):
                        await client.answer(ask["ask_id"], name)
                elif item.type == "ask":
                    await client.answer(item.data["ask_id"], name)
                elif item.type == "message" and item.data["role"] == "assistant":
                    said.append(item.data["content"])
                elif item.type == "run:ended" and len(said) == 2:
                    await client.send(thread_id, "hello")
                if len(said) == 3:
                    return said


if __name__ == "__main__":
    print("\n".join(asyncio.run(introduce(*sys.argv[1:4]))))
