"""The audit: looks whether the pool still has what this node put there.

A Redis that failed over may lack its newest entries, and a Cluster that lost one shard a part of them,
while this node's lease survives; what is missing is registered anew. It happens when a stream broke,
which is what such a Redis does to its readers, and every few minutes in any case.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

if TYPE_CHECKING:
    from parlour.server.node import Node
    from parlour.server.registrar import Registrar

log = structlog.get_logger(__name__)

T = TypeVar("T")

CHECK_SECONDS: Final = 2.0
"""How soon a doubt is looked into."""

PERIOD_SECONDS: Final = 300.0
"""How often the pool is looked through without one."""

REST_SHARE: Final = 20
"""How many times as long as it took nothing is looked through, however many doubts come."""

AT_ONCE: Final = 50


class Audit:
    """One per node, run by the registrar."""

    def __init__(self, node: Node, registrar: Registrar) -> None:
        self._node = node
        self._registrar = registrar
        self._doubtful = False
        self._done_at = node.clock.monotonic()
        self._rest = 0.0

    def doubt(self) -> None:
        """The pool may have lost something."""
        self._doubtful = True

    async def when_due(self) -> None:
        """Raises `Unavailable`; then it is still due."""
        began = self._node.clock.monotonic()
        if began - self._done_at < (self._rest if self._doubtful else PERIOD_SECONDS):
            return
        self._doubtful = False
        try:
            await self._look_through()
        except BaseException:
            self._doubtful = True
            raise
        self._done_at = self._node.clock.monotonic()
        self._rest = REST_SHARE * (self._done_at - began)

    async def _look_through(self) -> None:
        registrar = self._registrar
        await self._node.pool.attend(self._node.id)
        if await self._any_missing():
            log.warning("the pool lost connections of this node; they are registered anew")
            # Where one list lost an entry another may have kept it: all of it is written again.
            for entries in _slices(registrar.entries()):
                await registrar.register_again(entries)
        for rooms in _slices(registrar.rooms()):
            await registrar.enter_again(rooms)

    async def _any_missing(self) -> bool:
        for entries in _slices(self._registrar.entries()):
            missing = await self._node.pool.renew(entries, 0)
            if any(self._registrar.holds(entry) for entry in missing):
                return True
        return False


def _slices(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """A few at a time: the rest of the node goes on in between."""
    for first in range(0, len(items), AT_ONCE):
        yield items[first : first + AT_ONCE]
