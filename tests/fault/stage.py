"""Where a fault run plays: the servers and stores, and everything that may happen to them."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from parlour.client import Client
from parlour.testing.fault_proxy import FaultProxy
from parlour.testing.servers import running_postgres, running_redis
from tests.fault.process import ServerProcess

Inject = Callable[[FaultProxy, Client], Awaitable[None]]


class Stage(ABC):
    """Servers and a user. The judged reader connects to `reader_port`; the message is sent to
    `writer_port`."""

    token: str
    folder: Path
    pause_s: float = 10.0
    """Longer than ping interval plus time limit, and than the lease: clients notice, and so do nodes."""

    @property
    @abstractmethod
    def faults(self) -> Mapping[str, Inject]: ...

    @property
    @abstractmethod
    def reader_port(self) -> int: ...

    @property
    @abstractmethod
    def writer_port(self) -> int: ...

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    async def inject(self, fault: str, proxy: FaultProxy, client: Client) -> float:
        """Break something and mend it; gives back when it was mended (monotonic seconds)."""
        await self.faults[fault](proxy, client)
        return time.monotonic()

    # -- between client and server ---------------------------------------------------------------

    async def cut(self, proxy: FaultProxy, client: Client) -> None:
        proxy.cut()

    async def half_open(self, proxy: FaultProxy, client: Client) -> None:
        proxy.freeze()

    async def reconnect_twice(self, proxy: FaultProxy, client: Client) -> None:
        proxy.cut()
        async with asyncio.timeout(30):
            while proxy.connections == 0:  # noqa: ASYNC110 - the proxy counts, it does not tell
                await asyncio.sleep(0.01)
        proxy.cut()

    async def reload(self, proxy: FaultProxy, client: Client) -> None:
        """The page was opened anew on `client`; nothing of its old connection may be left."""
        async with asyncio.timeout(30):
            while proxy.connections > 1:  # noqa: ASYNC110 - the proxy counts, it does not tell
                await asyncio.sleep(0.01)

    async def away(self, proxy: FaultProxy, client: Client) -> None:
        """No network at all for a while."""
        proxy.refusing = True
        proxy.cut()
        await asyncio.sleep(1.0)
        proxy.refusing = False


class EmbeddedStage(Stage):
    """One process with its data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server = ServerProcess(folder, {})

    async def __aenter__(self) -> Self:
        self.token = await asyncio.to_thread(self._server.token, "reader")
        await self._server.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()

    @property
    def reader_port(self) -> int:
        return self._server.port

    @property
    def writer_port(self) -> int:
        return self._server.port

    @property
    def faults(self) -> Mapping[str, Inject]:
        return {
            "cut": self.cut,
            "half_open": self.half_open,
            "reload": self.reload,
            "reconnect_twice": self.reconnect_twice,
            "away": self.away,
            "kill": self.kill,
            "restart": self.restart,
            "pause": self.pause,
            "disk_full": self.disk_full,
        }

    async def kill(self, proxy: FaultProxy, client: Client) -> None:
        self._server.kill()
        await self._server.start()

    async def restart(self, proxy: FaultProxy, client: Client) -> None:
        await asyncio.to_thread(self._server.terminate)
        await self._server.start()

    async def pause(self, proxy: FaultProxy, client: Client) -> None:
        self._server.pause()
        await asyncio.sleep(self.pause_s)
        self._server.resume()

    async def disk_full(self, proxy: FaultProxy, client: Client) -> None:
        self._server.fill_disk()
        await asyncio.sleep(0.3)
        self._server.empty_disk()


class RedisStage(Stage):
    """Two processes on one Redis and one PostgreSQL; the reader and the run are on different ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._redis = self._stack.enter_context(
            running_redis("--appendonly", "yes", "--appendfsync", "always")
        )
        self._postgres = self._stack.enter_context(running_postgres())
        url = await self._postgres.create_database("parlour")
        environment = {
            "PARLOUR_REDIS_URL": self._redis.url,
            "PARLOUR_DATABASE_URL": url,
            "PARLOUR_SESSION_SYNC_INTERVAL_SECONDS": "1",
            "PARLOUR_REDIS_TIMEOUT_SECONDS": "2",
            "PARLOUR_NODE_LEASE_SECONDS": "5",
        }
        folders = [self.folder / name for name in ("a", "b")]
        for folder in folders:
            folder.mkdir()
        self._servers = [ServerProcess(folder, environment) for folder in folders]
        for server in self._servers:
            await server.start()
            self._stack.callback(server.stop)
        self.token = await asyncio.to_thread(self._servers[0].token, "reader")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @property
    def reader_port(self) -> int:
        return self._servers[0].port

    @property
    def writer_port(self) -> int:
        return self._servers[1].port

    @property
    def faults(self) -> Mapping[str, Inject]:
        return {
            "cut": self.cut,
            "half_open": self.half_open,
            "reload": self.reload,
            "reconnect_twice": self.reconnect_twice,
            "away": self.away,
            "kill_reader": self.kill_reader,
            "kill_writer": self.kill_writer,
            "pause_reader": self.pause_reader,
            "redis_restart": self.redis_restart,
            "redis_lost": self.redis_lost,
            "pubsub_cut": self.pubsub_cut,
            "database_stopped": self.database_stopped,
        }

    async def kill_reader(self, proxy: FaultProxy, client: Client) -> None:
        self._servers[0].kill()
        await self._servers[0].start()

    async def kill_writer(self, proxy: FaultProxy, client: Client) -> None:
        self._servers[1].kill()
        await self._servers[1].start()

    async def pause_reader(self, proxy: FaultProxy, client: Client) -> None:
        self._servers[0].pause()
        await asyncio.sleep(self.pause_s)
        self._servers[0].resume()

    async def redis_restart(self, proxy: FaultProxy, client: Client) -> None:
        await asyncio.to_thread(self._redis.kill)
        await asyncio.to_thread(self._redis.start)

    async def redis_lost(self, proxy: FaultProxy, client: Client) -> None:
        await asyncio.to_thread(self._redis.lose_data)

    async def pubsub_cut(self, proxy: FaultProxy, client: Client) -> None:
        import redis.asyncio

        admin = redis.asyncio.Redis.from_url(self._redis.url)
        await admin.client_kill_filter(_type="pubsub")
        await admin.aclose()

    async def database_stopped(self, proxy: FaultProxy, client: Client) -> None:
        self._postgres.pause()
        await asyncio.sleep(5.0)
        self._postgres.resume()
