"""Authors' code in real runs: a node on its embedded store, no sockets."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import parlour as cl
from parlour.chat.application import ChatApp
from parlour.chat.registry import Registry, registering
from parlour.config import Settings
from parlour.core.streams import Event
from parlour.core.thread import ThreadState
from parlour.core.users import User
from parlour.server.connections import Caller
from parlour.server.node import Node, run_node


def read(path: str) -> bytes:
    return Path(path).read_bytes()


def exists(path: str) -> bool:
    return Path(path).exists()


@dataclass
class Conversation:
    """One person's session in one conversation of a running node."""

    node: Node
    user: User = field(default_factory=lambda: User("ann", "Ann"))
    session_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    thread_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def stream(self) -> str:
        return f"thread:{self.thread_id}"

    @property
    def caller(self) -> Caller:
        return self.node.caller(self.user, self.session_id)

    async def open(self) -> None:
        """Open the conversation as its page does, and wait until the app's greeting ended."""
        await self.node.permissions.require_write(self.user, self.stream)
        await self.node.chats.open(self.caller, self.thread_id)
        await self.settle()

    async def do(self, event: str, **payload: Any) -> dict[str, Any]:
        """A command of the person."""
        command = {"thread_id": self.thread_id, "command_id": uuid.uuid4().hex, **payload}
        return await self.node.router.execute(self.caller, event, command)

    async def say(self, text: str, **payload: Any) -> None:
        """Send a message and wait until the app has answered."""
        await self.do("message:send", content=text, **payload)
        await self.settle()

    async def settle(self) -> None:
        """Until no run of the conversation is active."""
        for run in self.node.runs.active(self.thread_id):
            await run.ended

    async def state(self) -> ThreadState:
        return await self.node.state_of(self.stream)

    async def events(self) -> list[Event]:
        page = await self.node.log.read(self.stream, None, 1000)
        return list(page.events)

    async def contents(self) -> list[str]:
        """The texts of all messages, oldest first."""
        return [message["content"] for message in (await self.state()).messages.values()]

    async def answers(self) -> list[dict[str, Any]]:
        """The app's messages, oldest first."""
        messages = (await self.state()).messages.values()
        return [message for message in messages if message["role"] != "user"]

    async def outcome(self) -> str:
        last = (await self.state()).last_run
        assert last is not None
        return str(last["outcome"])


class Stage:
    """Starts nodes on one data folder and ends them with the test."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack

    async def start(self, registry: Registry, **settings: Any) -> Node:
        return await self._stack.enter_async_context(self.running(registry, **settings))

    @asynccontextmanager
    async def running(self, registry: Registry, **settings: Any) -> AsyncIterator[Node]:
        """A node that ends with the block; another one may follow on the same data."""
        options = {"data_folder": self._folder, "demo_tokens_per_second": 0, **settings}
        async with run_node(Settings(**options), ChatApp(registry)) as node:
            yield node

    async def talk(self, registry: Registry, **settings: Any) -> Conversation:
        """A node and one conversation on it, opened."""
        conversation = Conversation(await self.start(registry, **settings))
        await conversation.open()
        return conversation


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        yield Stage(tmp_path, stack)


@pytest.fixture
def app() -> Iterator[Registry]:
    """The registry that decorators inside the test write to."""
    with registering(Registry()) as registry:
        yield registry


@dataclass
class Desk:
    """Runs an author's coroutine functions, each in a run of its own of one conversation."""

    talk: Conversation
    work: list[Callable[[], Awaitable[Any]]]
    results: list[Any]

    async def run(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """What the function gave back."""
        self.work.append(function)
        await self.talk.say("go")
        assert len(self.results) == len(self.work), (await self.talk.contents())[-1]
        return self.results[-1]


@pytest.fixture
async def desk(stage: Stage, app: Registry) -> Desk:
    work: list[Callable[[], Awaitable[Any]]] = []
    results: list[Any] = []

    @cl.on_message
    async def handler() -> None:
        results.append(await work[-1]())

    return Desk(await stage.talk(app), work, results)
