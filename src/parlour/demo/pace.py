"""How fast the local model speaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Pace:
    """Tokens per second; 0 is as fast as possible. Time is injected so that tests decide it."""

    tokens_per_second: float
    sleep: Sleep = asyncio.sleep
    monotonic: Callable[[], float] = time.monotonic

    async def rest(self, tokens: int) -> None:
        """Say nothing for as long as so many tokens take."""
        async for _ in self.speak("." * tokens):
            pass

    async def speak(self, tokens: Iterable[str]) -> AsyncIterator[str]:
        """Give the tokens one by one. A token that is late does not delay the ones after it, so the
        pace holds on a busy machine; after a pause nothing is made up for in a burst."""
        if self.tokens_per_second <= 0:
            for token in tokens:
                yield token
            return
        interval = 1 / self.tokens_per_second
        due = self.monotonic()
        for token in tokens:
            now = self.monotonic()
            if due > now:
                await self.sleep(due - now)
            due = max(due, now - interval) + interval
            yield token
