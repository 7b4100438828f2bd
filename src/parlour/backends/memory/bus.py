"""Signals within one process."""

from __future__ import annotations

import logging
from collections.abc import Callable

from parlour.ports import BusSink

log = logging.getLogger(__name__)


class MemoryBus:
    """`ports.Bus` of a single node: subscribers hear before `publish` returns."""

    def __init__(self) -> None:
        self._topics: dict[str, dict[object, BusSink]] = {}

    async def publish(self, topic: str, payload: bytes) -> None:
        for sink in tuple(self._topics.get(topic, {}).values()):
            try:
                sink(payload)
            except Exception:  # one subscriber's defect must not keep the others from hearing
                log.exception("a subscriber of %s failed", topic)

    async def subscribe(self, topic: str, sink: BusSink) -> Callable[[], None]:
        key = object()
        self._topics.setdefault(topic, {})[key] = sink

        def end() -> None:
            sinks = self._topics.get(topic, {})
            sinks.pop(key, None)
            if not sinks:
                self._topics.pop(topic, None)

        return end

    async def close(self) -> None:
        self._topics.clear()
