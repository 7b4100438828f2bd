"""Authors' code in real runs: a node on its embedded store, no sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import parlour as cl
from parlour.chat.application import ChatApp
from parlour.chat.registry import Registry, registering
from parlour.server.node import Node
from parlour.testing.pilot import Talk, pilot


def read(path: str) -> bytes:
    return Path(path).read_bytes()


def exists(path: str) -> bool:
    return Path(path).exists()


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
        async with pilot(ChatApp(registry), folder=self._folder, **settings) as piloted:
            yield piloted.node

    async def talk(self, registry: Registry, **settings: Any) -> Talk:
        """A node and one conversation on it, opened."""
        conversation = Talk(await self.start(registry, **settings))
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

    talk: Talk
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
