"""One question for all who ask at the same time.

After a deployment thousands come back within a second, and each of them needs the same kind of row.
A question for each would cross into the database's thread thousands of times. So who asks while an
answer is under way waits for the next question, which is for all who came until then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class _Asker(Generic[K, V]):
    """Who asks. `moved` is done when there is an answer or an error, or when this one leads."""

    __slots__ = ("answer", "error", "key", "leads", "moved")

    def __init__(self, key: K) -> None:
        self.key: Final = key
        self.moved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.leads = False
        self.answer: V | None = None
        self.error: Exception | None = None

    def move(self) -> None:
        if not self.moved.done():
            self.moved.set_result(None)


class Crowd(Generic[K, V]):
    """`read` gives the answers to at most `limit` different keys, in their order. What it raises, all
    who waited for this question hear.

    There is no task: whoever asks first asks for the others, too, and then hands over to the first of
    those who came meanwhile. Who is cancelled takes nobody's answer along."""

    def __init__(
        self, read: Callable[[Sequence[K]], Awaitable[Sequence[V]]], limit: int = 500
    ) -> None:
        self._read: Final = read
        self._limit: Final = limit
        self._waiting: list[_Asker[K, V]] = []
        self._led = False

    async def ask(self, key: K) -> V:
        """The answer to one key, as of a moment after this call."""
        asker: _Asker[K, V] = _Asker(key)
        self._waiting.append(asker)
        if self._led:
            await self._wait(asker)
        else:
            self._led = asker.leads = True
        if asker.leads:
            await self._lead(asker)
        if asker.error is not None:
            raise asker.error
        return asker.answer  # type: ignore[return-value]

    async def _wait(self, asker: _Asker[K, V]) -> None:
        try:
            await asker.moved
        except asyncio.CancelledError:
            if asker.leads:
                self._hand_over()
            raise

    async def _lead(self, asker: _Asker[K, V]) -> None:
        """Ask for as many as one question may be for; the one who leads is the first of them."""
        taken = self._take()
        keys = list(dict.fromkeys(one.key for one in taken))
        try:
            answers = dict(zip(keys, await self._read(keys), strict=True))
        except asyncio.CancelledError:
            self._waiting[:0] = [one for one in taken if one is not asker]
            raise
        except Exception as error:  # noqa: BLE001 - each of them raises it
            for one in taken:
                one.error = error
                one.move()
        else:
            for one in taken:
                one.answer = answers[one.key]
                one.move()
        finally:
            self._hand_over()

    def _take(self) -> list[_Asker[K, V]]:
        taken, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
        return taken

    def _hand_over(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            if not first.moved.done():
                first.leads = True
                first.move()
                return
            # It was cancelled.
            del self._waiting[0]
        self._led = False
