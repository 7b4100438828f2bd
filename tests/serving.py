"""A real server on a free port for tests: node, socket transport, uvicorn; all in this event loop."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import socketio
import uvicorn
from argon2 import PasswordHasher

from parlour.chat.application import ChatApp
from parlour.chat.registry import Registry
from parlour.config import Settings
from parlour.ports import UserRecord
from parlour.server.app import Application
from parlour.server.node import Node
from parlour.transports.asgi import serving
from parlour.transports.listening import http_protocol, websocket_protocol
from tests.told import faults

CHEAP_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("correct horse battery")
"""The password of everybody here: an honest hash would cost each test a second of processor time."""

LIMIT_S = 30
"""How long anything may take on a busy machine."""


@dataclass
class Served:
    """A running server: its node and where it listens."""

    node: Node
    url: str
    passwords: dict[str, str] = field(default_factory=dict)

    async def user(self, name: str) -> str:
        """Make a user (or find the one of this name) and give a token."""
        record = await self.node.users.user_by_login(name)
        if record is None:
            now = self.node.clock.now_ms()
            new = UserRecord(uuid.uuid4().hex, name, password_hash=CHEAP_HASH, created_at=now)
            record = await self.node.users.add_user(new)
        return (await self.node.accounts.issue(record.id)).token


def settings(folder: Path, **overrides: Any) -> Settings:
    """Settings of a test's server: everything in one throw-away folder."""
    return Settings(data_folder=folder, port=0, **overrides)


@asynccontextmanager
async def serve(app: Application | None, folder: Path, **overrides: Any) -> AsyncIterator[Served]:
    """Serve an app until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    chosen = settings(folder, **overrides)
    async with serving(chosen, app or ChatApp(Registry())) as served:
        config = uvicorn.Config(
            served.asgi,
            log_level="warning",
            lifespan="off",
            http=http_protocol(served, chosen),
            ws=websocket_protocol(served, chosen),
            ws_max_size=chosen.max_payload_bytes,
        )
        server = QuietServer(config)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield Served(served.node, f"http://127.0.0.1:{port}")
        finally:
            await served.node.stop()
            server.should_exit = True
            await running


class QuietServer(uvicorn.Server):
    """Without signal handlers: the test run keeps its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Client:
    """A python-socketio client that keeps what it heard."""

    def __init__(self) -> None:
        self.socket = socketio.AsyncClient(reconnection=False)
        self.heard: list[tuple[str, Any]] = []
        self.faults: list[str] = []
        """Where what was heard has not the form that the wire's types give it."""

        self._news = asyncio.Event()
        self.socket.on("*", self._hear)

    async def _hear(self, event: str, *args: Any) -> None:
        self.hear(event, args[0] if args else None)

    def hear(self, event: str, payload: Any) -> None:
        """Keep something among what was heard."""
        self.heard.append((event, payload))
        self.faults += faults(event, payload)
        self._news.set()

    @classmethod
    @asynccontextmanager
    async def open(cls, server: Served, name: str, **auth: Any) -> AsyncIterator[Client]:
        """A connection of the user of this name, who is made when there is none."""
        client = cls()
        await client.connect(server.url, token=await server.user(name), **auth)
        try:
            yield client
        finally:
            await client.close()

    @classmethod
    async def refused(cls, server: Served, name: str | None, **auth: Any) -> Any:
        """What `connect_error` carries when a connection is refused."""
        client = cls()
        told: list[Any] = []

        @client.socket.on("connect_error")
        async def refuse(data: Any) -> None:
            told.append(data)

        if name is not None:
            auth.setdefault("token", await server.user(name))
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.connect(server.url, **auth)
        return told[0]

    async def connect(self, url: str, path: str = "/ws/socket.io", **auth: Any) -> None:
        await self.socket.connect(
            url, auth=auth, socketio_path=path, transports=["websocket"], wait_timeout=LIMIT_S
        )

    async def call(self, event: str, **payload: Any) -> Any:
        return await self.socket.call(event, payload, timeout=LIMIT_S)

    async def until(self, wanted: Any, seconds: float = LIMIT_S) -> Any:
        """The first heard `(event, payload)` for which `wanted` is true, past or to come."""
        async with asyncio.timeout(seconds):
            while True:
                for event, payload in self.heard:
                    if wanted(event, payload):
                        return payload
                self._news.clear()
                await self._news.wait()

    async def close(self) -> None:
        await self.socket.disconnect()
        assert not self.faults, self.faults

    def events(self, kind: str) -> list[Any]:
        """The data of the conversation events of one type, in the order heard."""
        return [
            p["data"]["data"] for e, p in self.heard if e == "events" and p["data"]["type"] == kind
        ]
