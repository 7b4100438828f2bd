"""Models in use: sessions say so again and again, entries run out by themselves."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import structlog

from parlour.core.usage import ENTRY_MS
from parlour.errors import LeaseLost, ParlourError
from parlour.ports import Lease

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

LOCK: Final = "usage-cleaner"
LOCK_MS: Final = 10_000
SWEEP_SECONDS: Final = 3.0
SWEPT_AT_ONCE: Final = 1000
RENEW_SECONDS: Final = 1.0
THROTTLE_SECONDS: Final = 0.5
"""Renewals of one session and model that are closer together are one."""

WAITING: Final = 10_000
"""Entries that may wait to be written."""

WRITTEN_AT_ONCE: Final = 50
RENEWED_AT_ONCE: Final = 1000

FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 30.0


class UsageOfModels:
    """This node's part of the usage pool."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._waiting: dict[tuple[str, str], bool] = {}
        self._told: dict[tuple[str, str], float] = {}
        self._held: Counter[tuple[str, str]] = Counter()
        self._renewed = 0.0
        self._wake = asyncio.Event()
        self.cleaning = False
        """Whether this node is the one that cleans up."""

    def renew(self, model: str, session_id: str) -> None:
        """The session uses the model: its entry lives `ENTRY_MS` from now. Written soon."""
        now = self._node.clock.monotonic()
        key = (model, session_id)
        if now - self._told.get(key, -THROTTLE_SECONDS) < THROTTLE_SECONDS:
            return
        if len(self._waiting) < WAITING:
            self._told[key] = now
            self._waiting[key] = True
            self._wake.set()

    def release(self, model: str, session_id: str) -> None:
        """The session is done with the model."""
        self._told.pop((model, session_id), None)
        if len(self._waiting) < WAITING:
            self._waiting[model, session_id] = False
            self._wake.set()

    @contextmanager
    def during(self, model: str, session_id: str) -> Iterator[None]:
        """Renew an entry while something runs, such as an answer that streams. Afterwards it runs out by
        itself, like every other: whoever else uses the model for this session is not cut short."""
        key = (model, session_id)
        self._held[key] += 1
        self.renew(model, session_id)
        # Though the entry may be fresh: from now on somebody has to look after it.
        self._wake.set()
        try:
            yield
        finally:
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key]

    async def in_use(self) -> dict[str, int]:
        """Model → number of sessions, over all nodes. Raises `Unavailable`."""
        return dict(await self._node.usage_pool.in_use())

    # -- work ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write renewals, those of one moment together."""
        while True:
            await self._rest()
            await self._renew_held()
            waiting, self._waiting = self._waiting, {}
            try:
                await self._write(list(waiting.items()))
            except ParlourError as error:
                # Not tried again: the next renewal comes within a second.
                log.warning("models in use cannot be written", error=str(error))
            self._forget_old()

    async def _rest(self) -> None:
        """Until there is something to write, or what is held is due."""
        with suppress(TimeoutError):
            async with asyncio.timeout(RENEW_SECONDS if self._held else None):
                await self._wake.wait()
        self._wake.clear()

    async def _renew_held(self) -> None:
        now = self._node.clock.monotonic()
        if now - self._renewed < RENEW_SECONDS:
            return
        self._renewed = now
        for number, key in enumerate(list(self._held)):
            if number % RENEWED_AT_ONCE == RENEWED_AT_ONCE - 1:
                await asyncio.sleep(0)
            self.renew(*key)

    async def _write(self, waiting: Sequence[tuple[tuple[str, str], bool]]) -> None:
        """A few at a time: nobody else of this node has to wait for all of them."""
        pool = self._node.usage_pool
        for first in range(0, len(waiting), WRITTEN_AT_ONCE):
            await asyncio.gather(
                *(
                    pool.renew(model, session_id, ENTRY_MS)
                    if using
                    else pool.release(model, session_id)
                    for (model, session_id), using in waiting[first : first + WRITTEN_AT_ONCE]
                )
            )

    def _forget_old(self) -> None:
        over = self._node.clock.monotonic() - THROTTLE_SECONDS
        while self._told:
            key = next(iter(self._told))
            if self._told[key] > over:
                return
            del self._told[key]

    async def clean(self) -> None:
        """Clean up while this node holds the lock; otherwise wait for it. Ends only when cancelled."""
        wait = FIRST_WAIT
        while True:
            try:
                lease = await self._node.leases.acquire(LOCK, self._node.id, LOCK_MS)
                if lease is not None:
                    wait = FIRST_WAIT
                    await self._clean_with(lease)
            except LeaseLost:
                log.info("another node cleans up models in use")
            except ParlourError as error:
                log.warning("models in use are not cleaned up", error=str(error))
            except Exception:
                # The duty outlives any defect of one round.
                log.exception("cleaning up models in use failed")
                self._node.metrics.unexpected_errors.labels("usage").inc()
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(LONGEST_WAIT, wait * 2)

    async def _clean_with(self, lease: Lease) -> None:
        """Sweep under the lock, renewed at each turn, until it is lost."""
        self.cleaning = True
        try:
            while True:
                await self._node.usage_pool.sweep(SWEPT_AT_ONCE)
                await asyncio.sleep(SWEEP_SECONDS)
                lease = await self._node.leases.renew(lease, LOCK_MS)
        finally:
            self.cleaning = False
            await self._release(lease)

    async def _release(self, lease: Lease) -> None:
        try:
            await self._node.leases.release(lease)
        except ParlourError:
            log.info("the lock of the clean-up runs out by itself")
