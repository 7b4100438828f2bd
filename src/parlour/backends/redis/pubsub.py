"""Subscriptions over one connection: confirmed, watched, and made again after a break.

Redis delivers a published message at most once. So whoever listens is told when the connection
broke and when it is back (`restored`), and reads what was missed from the store.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import hiredis

from parlour.backends.redis.link import Resolve, Wire, open_wire
from parlour.errors import ShuttingDown, Unavailable

log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.05
LAST_RETRY_S = 2.0


@dataclass(slots=True, eq=False)
class Listener:
    """One channel's listener. `hear` gets each message; `restored` is called when the channel is
    subscribed again after a break, during which messages may have been missed."""

    channel: str
    hear: Callable[[bytes], None]
    restored: Callable[[], None]
    confirmed: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Subscriber(Protocol):
    """Whoever subscribes: one connection, or one for each partition of a Cluster."""

    async def subscribe(self, listener: Listener) -> None:
        """Hear a channel (one listener each); confirmed by the server before this returns.

        Raises `Unavailable` when that takes longer than the time limit: then nothing is
        subscribed."""
        ...

    def unsubscribe(self, listener: Listener) -> None:
        """Stop hearing; idempotent, and at once on this side."""
        ...

    async def close(self) -> None:
        """Idempotent."""
        ...


class Subscriptions:
    """Subscriptions over one connection; `sharded` ones belong to the slot of their channel."""

    def __init__(self, resolve: Resolve, time_limit: float, *, sharded: bool = False) -> None:
        self._letter = "s" if sharded else ""
        self._resolve = resolve
        self._time_limit = time_limit
        self._listeners: dict[str, Listener] = {}
        self._asked: Counter[str] = Counter()
        self._leaving: Counter[str] = Counter()
        self._wire: Wire | None = None
        self._broken = asyncio.Event()
        self._heard_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def subscribe(self, listener: Listener) -> None:
        """Hear a channel (one listener each); confirmed by the server before this returns. Raises
        `Unavailable` when that takes longer than the time limit: then nothing is subscribed."""
        if self._closed:
            raise ShuttingDown("the connection to Redis is closed")
        self._listeners[listener.channel] = listener
        if self._task is None:
            self._task = asyncio.create_task(self._keep_connected(), name="redis-subscriptions")
        try:
            if self._wire is not None:
                self._ask(listener.channel)
            async with asyncio.timeout(self._time_limit):
                await asyncio.shield(listener.confirmed)
        except TimeoutError as error:
            self.unsubscribe(listener)
            raise Unavailable("Redis did not confirm a subscription in time") from error
        except BaseException:
            self.unsubscribe(listener)
            raise

    def unsubscribe(self, listener: Listener) -> None:
        """Stop hearing; idempotent, and at once on this side."""
        if self._listeners.get(listener.channel) is not listener:
            return
        del self._listeners[listener.channel]
        if self._wire is not None and not self._wire.closed:
            self._wire.write((f"{self._letter}unsubscribe", listener.channel))
            self._leaving[listener.channel] += 1

    async def close(self) -> None:
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        for listener in self._listeners.values():
            if not listener.confirmed.done():
                listener.confirmed.cancel()
        self._listeners.clear()

    # -- the connection --------------------------------------------------------------------------

    async def _keep_connected(self) -> None:
        delay = FIRST_RETRY_S
        while True:
            try:
                await self._connect()
                delay = FIRST_RETRY_S
                await self._watch()
            except Unavailable as error:
                log.warning("subscriptions to Redis are down: %s", error)
            except Exception:  # the loop must survive, or this node stays deaf for ever
                log.exception("the subscriptions' connection failed")
            finally:
                self._drop()
            # Jitter, so that the nodes of a restarted server do not all come at the same moment.
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(LAST_RETRY_S, delay * 2)

    async def _connect(self) -> None:
        self._broken.clear()
        try:
            async with asyncio.timeout(self._time_limit):
                wire = await open_wire(await self._resolve(), self._broken.set)
        except TimeoutError as error:
            raise Unavailable("Redis did not answer in time") from error
        wire.pushed = self._take
        self._wire = wire
        self._asked.clear()
        self._leaving.clear()
        for channel in tuple(self._listeners):
            self._ask(channel)

    async def _watch(self) -> None:
        """Return when the connection broke. A silent one is asked for a sign of life."""
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        while not self._broken.is_set():
            try:
                async with asyncio.timeout(self._time_limit / 2):
                    await self._broken.wait()
            except TimeoutError:
                if loop.time() - self._heard_at > self._time_limit:
                    raise Unavailable("the subscriptions' connection is silent") from None
                if self._wire is not None:
                    self._wire.write(("PING",))

    def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.fail(Unavailable("the connection to Redis broke"))

    def _ask(self, channel: str) -> None:
        if self._wire is not None:
            self._wire.write((f"{self._letter}subscribe", channel))
            self._asked[channel] += 1

    # -- what arrives ----------------------------------------------------------------------------

    def _take(self, answer: Any) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        if isinstance(answer, hiredis.ReplyError):
            log.error("Redis refused a subscription: %s", answer)
            self._broken.set()
        elif answer[0] in (b"message", b"smessage"):
            self._deliver(answer[1].decode(), answer[2])
        elif answer[0] in (b"subscribe", b"ssubscribe"):
            self._confirm(answer[1].decode())
        elif answer[0] in (b"unsubscribe", b"sunsubscribe"):
            self._ended(answer[1].decode())

    def _ended(self, channel: str) -> None:
        """Ours, or the server's own: then the channel's slot has moved to another server."""
        if not self._leaving[channel]:
            self._broken.set()
            return
        self._leaving[channel] -= 1
        if not self._leaving[channel]:
            del self._leaving[channel]

    def _deliver(self, channel: str, payload: bytes) -> None:
        listener = self._listeners.get(channel)
        if listener is None:
            return
        try:
            listener.hear(payload)
        except Exception:  # one listener's defect must not make the node deaf
            log.exception("a listener of %s failed", channel)

    def _confirm(self, channel: str) -> None:
        """Only the answer to the latest SUBSCRIBE counts: an earlier one may have been undone
        since."""
        self._asked[channel] -= 1
        listener = self._listeners.get(channel)
        if self._asked[channel] > 0:
            return
        del self._asked[channel]
        if listener is None:
            return
        if not listener.confirmed.done():
            listener.confirmed.set_result(None)
        else:
            listener.restored()
