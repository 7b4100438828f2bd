"""A room that is told in parts, over real sockets, while people come, go and come back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from parlour.server.accounts import as_user
from parlour.server.large_rooms import LARGE, MEMBERS_PER_TURN
from tests.serving import LIMIT_S, Served, serve

STREAM = "thread:large-room-1"
MEMBERS = LARGE + 100
MOVING = 30
"""Who subscribes anew, who leaves and who comes, each in the middle of the text."""

WORDS = [f"word {number}, " for number in range(300)]
AT_ONCE = 50
"""Connects in flight."""


class Reader:
    """One client. `text` is what its person would see; events that do not follow each other are an error."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.position = 0
        self.text = ""
        self.packets = 0
        self.moved = asyncio.Event()
        self.subscribed = asyncio.Event()

    async def subscribe(self) -> None:
        self.subscribed.clear()
        await self._socket.send(f"420{json.dumps(['subscribe', {'stream': STREAM}])}")
        await self.subscribed.wait()

    async def leave(self) -> None:
        await self._socket.close()

    async def read(self) -> None:
        """Until the connection ends."""
        try:
            async for packet in self._socket:
                assert isinstance(packet, str)
                if packet == "2":
                    await self._socket.send("3")
                elif packet.startswith("430"):
                    self._begin(json.loads(packet[3:])[0])
                elif packet.startswith('42["events"'):
                    self.packets += 1
                    self._hear(json.loads(packet[2:])[1])
        except ConnectionClosed:
            return

    async def reach(self, offset: int) -> None:
        while self.position < offset:
            self.moved.clear()
            await self.moved.wait()

    def _begin(self, answer: dict[str, Any]) -> None:
        """The answer to `subscribe`: all that was said until then."""
        [message] = answer["snapshot"]["messages"]
        self.position, self.text = answer["position"]["offset"], message["content"]
        self.subscribed.set()

    def _hear(self, event: dict[str, Any]) -> None:
        assert event.get("since", event["offset"] - 1) == self.position
        self.position = event["offset"]
        self.text += event["data"]["data"].get("text", "")
        self.moved.set()


class Crowd:
    """All clients, and the tasks that read for them."""

    def __init__(self, served: Served, token: str, tasks: asyncio.TaskGroup) -> None:
        self._url = served.url.replace("http", "ws") + "/ws/socket.io/?EIO=4&transport=websocket"
        self._token = token
        self._tasks = tasks
        self._free = asyncio.Semaphore(AT_ONCE)
        self.readers: list[Reader] = []

    async def come(self, count: int) -> list[Reader]:
        new = await asyncio.gather(*(self._open() for _ in range(count)))
        self.readers += new
        return new

    async def _open(self) -> Reader:
        async with self._free:
            socket = await connect(self._url, compression=None, max_size=None, open_timeout=LIMIT_S)
            await socket.recv()
            await socket.send(f"40{json.dumps({'token': self._token})}")
            assert str(await socket.recv()).startswith("40")
            reader = Reader(socket)
            self._tasks.create_task(reader.read())
            await reader.subscribe()
            return reader


async def test_everybody_in_a_large_room_reads_the_whole_text_whenever_they_came(
    tmp_path: Path,
) -> None:
    async with (
        asyncio.timeout(2 * LIMIT_S),
        serve(None, tmp_path, durability="memory", connections_per_user=2 * MEMBERS) as served,
        asyncio.TaskGroup() as tasks,
    ):
        node = served.node
        crowd = Crowd(served, await served.user("ann"), tasks)
        user = await node.users.user_by_login("ann")
        assert user is not None
        await node.permissions.require_read(as_user(user), STREAM)
        begun = {"id": "m", "role": "assistant", "content": ""}
        await node.streams.append(STREAM, ("message", begun))
        await crowd.come(MEMBERS)
        moves = []
        for number, word in enumerate(WORDS):
            last = await node.streams.append(STREAM, ("message:delta", {"id": "m", "text": word}))
            await asyncio.sleep(0)
            if number == len(WORDS) // 3:
                again, leaving = crowd.readers[-MOVING:], crowd.readers[-2 * MOVING : -MOVING]
                moves += [reader.subscribe() for reader in again]
                moves += [reader.leave() for reader in leaving]
                moving = asyncio.gather(*moves, crowd.come(MOVING))
        await moving

        staying = [reader for reader in crowd.readers if reader not in leaving]
        await asyncio.gather(*(reader.reach(last.last) for reader in staying))

        assert {reader.text for reader in staying} == {"".join(WORDS)}
        assert all("".join(WORDS).startswith(reader.text) for reader in leaving)
        # The room was told in parts: who had several words to hear got them in one packet.
        assert MEMBERS > 2 * MEMBERS_PER_TURN
        assert crowd.readers[0].packets < len(WORDS)
        await asyncio.gather(*(reader.leave() for reader in crowd.readers))
