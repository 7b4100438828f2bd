"""Models in use, within one process."""

from __future__ import annotations

from collections.abc import Mapping

from parlour.core.usage import Usage
from parlour.ports import Clock


class MemoryUsage:
    """`ports.UsagePool` of a single node."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._usage = Usage()

    async def renew(self, model: str, session_id: str, ttl_ms: int) -> None:
        self._usage.renew(model, session_id, self._clock.now_ms() + ttl_ms)

    async def release(self, model: str, session_id: str) -> None:
        self._usage.release(model, session_id)

    async def in_use(self) -> Mapping[str, int]:
        return self._usage.in_use(self._clock.now_ms())

    async def sweep(self, limit: int) -> int:
        return self._usage.sweep(self._clock.now_ms(), limit)
