"""One pipelined connection to one Redis server, opened again when it breaks.

Many callers share the connection: a command is written at once and its answer is matched by order,
so a thousand appends of one loop turn are one write and need no pool. (redis-py gives each waiting
caller a connection of its own; docs/decisions/redis-link.md has the figures.)

Since answers come in order, one timer is enough: when the oldest command has waited longer than the
time limit, nothing behind it can be answered either, and the connection is given up.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import hiredis

from parlour.backends.flights import SingleFlight
from parlour.errors import ShuttingDown, Unavailable

Word = str | bytes | int | float
Command = Sequence[Word]

MAX_PENDING = 100_000
"""Commands that may wait for an answer; beyond it they are refused."""

_NOTHING = object()


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is and how to sign in."""

    host: str = "127.0.0.1"
    port: int = 6379
    path: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    tls: ssl.SSLContext | None = None

    def handshake(self) -> list[Command]:
        commands: list[Command] = []
        if self.password is not None:
            name = () if self.username is None else (self.username,)
            commands.append(("AUTH", *name, self.password))
        if self.database:
            commands.append(("SELECT", self.database))
        return commands


Resolve = Callable[[], Awaitable[Address]]
"""Finds the server to use now: always the same one, or the master that Sentinel names."""


class Wire(asyncio.Protocol):
    """Bytes of one connection: writes commands, gives answers in order.

    `run_id` names the server process at the other end. Once `pushed` is set, everything that
    arrives goes there instead (a connection that subscribes)."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._unsent: list[bytes] = []
        self._ended = ended
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self.pushed: Callable[[Any], None] | None = None
        self.run_id = ""
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.fail(Unavailable("the connection to Redis broke"))

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not _NOTHING:
                self._take(answer)
        except hiredis.ProtocolError:
            self.fail(Unavailable("Redis answered with something that is not its protocol"))

    def _take(self, answer: Any) -> None:
        if self.pushed is not None:
            self.pushed(answer)
            return
        if not self._waiting:
            return
        _, future = self._waiting.popleft()
        if future.done():  # the caller was cancelled meanwhile
            return
        if isinstance(answer, hiredis.ReplyError):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    def send(self, command: Command) -> asyncio.Future[Any]:
        """Write a command now; the future is its answer."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if len(self._waiting) >= MAX_PENDING:
            raise Unavailable("too many commands wait for Redis")
        self._waiting.append((self._loop.time(), future))
        self.write(command)
        return future

    def permit(self) -> None:
        """Let the next command use a key that is on its way to this server of a Cluster."""
        self.send(("ASKING",)).add_done_callback(_seen)

    def write(self, command: Command) -> None:
        """Write a command whose answer is pushed. All commands of one loop turn leave together."""
        if self._transport is None or self.closed:
            raise Unavailable("the connection to Redis broke")
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(hiredis.pack_command(tuple(command)))  # type: ignore[arg-type]

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and not self.closed:
            self._transport.write(b"".join(unsent))

    def oldest(self) -> float | None:
        """When the longest waiting command was sent, on the loop's clock."""
        return self._waiting[0][0] if self._waiting else None

    def fail(self, error: Unavailable) -> None:
        """Give the connection up; idempotent."""
        if self.closed:
            return
        self.closed = True
        if self._transport is not None:
            self._transport.abort()
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(error)
        self._ended()


def _seen(answer: asyncio.Future[Any]) -> None:
    """The answer does not matter, nor does its failure: the command behind it fails as well."""
    if not answer.cancelled():
        answer.exception()


async def open_wire(
    address: Address, ended: Callable[[], None], scripts: Sequence[str] = ()
) -> Wire:
    """Connect, sign in and load scripts. The caller bounds the time. Raises `Unavailable`."""
    try:
        wire = await _dial(address, ended)
        try:
            await _greet(wire, address, scripts)
        except BaseException:
            wire.fail(Unavailable("the connection to Redis was given up"))
            raise
    except OSError as error:
        raise Unavailable(f"Redis cannot be reached: {error}") from error
    except hiredis.ReplyError as error:
        raise Unavailable(f"Redis refused the connection: {error}") from error
    if wire.closed:
        raise Unavailable("the connection to Redis broke")
    return wire


async def _dial(address: Address, ended: Callable[[], None]) -> Wire:
    loop = asyncio.get_running_loop()
    if address.path is not None:
        _, wire = await loop.create_unix_connection(lambda: Wire(ended), address.path)
    else:
        _, wire = await loop.create_connection(
            lambda: Wire(ended), address.host, address.port, ssl=address.tls
        )
    return wire


async def _greet(wire: Wire, address: Address, scripts: Sequence[str]) -> None:
    """Sign in, load the scripts, learn who answers. A provider may forbid the last two: scripts are
    then sent with their text when they are needed, and a restart goes unnoticed."""
    for command in address.handshake():
        await wire.send(command)
    loading = [wire.send(("SCRIPT", "LOAD", script)) for script in scripts]
    *_, info = await asyncio.gather(*loading, wire.send(("INFO", "server")), return_exceptions=True)
    wire.run_id = _run_id(info) if isinstance(info, bytes) else ""


class Link:
    """Commands over one connection.

    A broken connection fails what was in flight with `Unavailable`; the next command opens a new
    one.
    """

    def __init__(self, resolve: Resolve, time_limit: float, scripts: Sequence[str] = ()) -> None:
        self._resolve = resolve
        self._time_limit = time_limit
        self._scripts = scripts
        self._wire: Wire | None = None
        self._connecting: SingleFlight[Wire] = SingleFlight()
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False

    async def call(self, *command: Word) -> Any:
        """Send a command and wait for its answer. Raises `Unavailable` and `hiredis.ReplyError`."""
        wire = await self.wire()
        return await self.send(wire, command)

    async def wire(self) -> Wire:
        """A live connection, opened when there is none."""
        if self._closed:
            raise ShuttingDown("the connection to Redis is closed")
        if self._wire is not None:
            return self._wire
        return await self._connecting.run("", self._connect)

    def send(self, wire: Wire, command: Command) -> asyncio.Future[Any]:
        future = wire.send(command)
        if self._watch is None:
            self._arm(self._time_limit)
        return future

    def give_up(self, reason: str) -> None:
        """Break the connection, so that the next command looks for the server again."""
        if self._wire is not None:
            self._wire.fail(Unavailable(reason))

    async def close(self) -> None:
        self._closed = True
        await self._connecting.close()
        if self._wire is not None:
            self._wire.fail(ShuttingDown("the connection to Redis is closed"))
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def _connect(self) -> Wire:
        try:
            async with asyncio.timeout(self._time_limit):
                self._wire = await open_wire(await self._resolve(), self._ended, self._scripts)
                return self._wire
        except TimeoutError as error:
            raise Unavailable("Redis did not answer in time") from error

    def _ended(self) -> None:
        self._wire = None

    def _arm(self, delay: float) -> None:
        self._watch = asyncio.get_running_loop().call_later(delay, self._check)

    def _check(self) -> None:
        """Give the connection up when its oldest command waits too long."""
        self._watch = None
        oldest = None if self._wire is None else self._wire.oldest()
        if oldest is None or self._wire is None:
            return
        left = oldest + self._time_limit - asyncio.get_running_loop().time()
        if left <= 0:
            self._wire.fail(Unavailable("Redis did not answer in time"))
        else:
            self._arm(left)


def _run_id(info: bytes) -> str:
    """The server's run_id, or nothing where a provider hides it."""
    for line in info.decode(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == "run_id":
            return value.strip()
    return ""
