"""Who is typing: signals with a throttle and a time-out; nothing is stored anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from parlour.server.connections import Caller

if TYPE_CHECKING:
    from parlour.server.node import Node

THROTTLE_SECONDS: Final = 2.0
"""A person who goes on typing is told again after this long."""

TIMEOUT_SECONDS: Final = 6.0
"""A person who says nothing more has stopped."""

TYPISTS: Final = 10_000
"""People typing at once through one node; more are not told."""

Payload = Callable[[bool], Any]
"""The event's payload for a person who began (True) or stopped."""


class Typing:
    """What this node's connections type, told to everybody in the room on every node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._typists: dict[tuple[str, str], tuple[float, asyncio.TimerHandle]] = {}

    def say(
        self, caller: Caller, room: str, event: str, payload: Payload, *, typing: bool = True
    ) -> bool:
        """Tell a room that the caller is typing, or has stopped; whether it was told (not throttled).
        When nothing more comes it is told that the caller stopped."""
        key = (room, caller.user.id)
        if not typing:
            return self._stop(key, event, payload)
        loop = asyncio.get_running_loop()
        told, timer = self._typists.get(key, (None, None))
        if timer is not None:
            timer.cancel()
        elif len(self._typists) >= TYPISTS:
            return False
        again = loop.call_later(TIMEOUT_SECONDS, self._stop, key, event, payload)
        if told is not None and loop.time() - told < THROTTLE_SECONDS:
            self._typists[key] = (told, again)
            return False
        self._typists[key] = (loop.time(), again)
        skip = caller.connection.sid if caller.connection is not None else None
        self._node.routing.signal_room(event, payload(True), room, skip)
        return True

    def _stop(self, key: tuple[str, str], event: str, payload: Payload) -> bool:
        known = self._typists.pop(key, None)
        if known is None or self._node.tasks.closed:
            return False
        known[1].cancel()
        self._node.routing.signal_room(event, payload(False), key[0])
        return True

    def close(self) -> None:
        """Forget everybody."""
        for _, timer in self._typists.values():
            timer.cancel()
        self._typists.clear()
