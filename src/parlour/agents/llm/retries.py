"""When to ask again, and how long to wait before."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from parlour.agents.errors import ModelLimited, ModelUnavailable

FIRST_S: Final = 0.5
LONGEST_S: Final = 20.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retries:
    """Asks again after a failure that may pass, `times` at most. Time and chance are injected."""

    times: int = 2
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = field(default=random.random)

    async def run(self, attempt: Callable[[], Awaitable[T]], may_repeat: Callable[[], bool]) -> T:
        """`may_repeat` says whether nothing of the failed attempt was passed on yet. A service that limits is
        not asked again here: its wait may be long, and is a state that people see."""
        for number in range(self.times):
            try:
                return await attempt()
            except ModelLimited:
                raise
            except ModelUnavailable:
                if not may_repeat():
                    raise
            await self.sleep(self.pause(number))
        return await attempt()

    def pause(self, number: int) -> float:
        """Seconds before the attempt after the failed one with this number (from 0): doubled each time, and
        anything between half of it and the whole, so that many who failed together do not return together."""
        longest = min(FIRST_S * float(2**number), LONGEST_S)
        return longest * (1 + self.chance()) / 2
