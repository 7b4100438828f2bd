"""A small client for bots, scripts and tests: connect, follow a stream with resume, send, answer, call.

    async with connect("http://127.0.0.1:8000", token=token) as client:
        async with client.follow(f"thread:{thread_id}") as stream:
            await client.send(thread_id, "Hello")
            async for item in stream:
                ...

Needs the extra `parlour[client]`.
"""

from parlour.client.connection import Client, Refused, connect
from parlour.client.following import Following, Snapshot

__all__ = ["Client", "Following", "Refused", "Snapshot", "connect"]
