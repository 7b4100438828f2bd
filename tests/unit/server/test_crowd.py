"""One question for all who ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from parlour.server.crowd import Crowd


class Library:
    """Answers when it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self._open: list[asyncio.Future[None]] = []
        self.returns: Callable[[], object] = list

    async def read(self, keys: Sequence[str]) -> list[str]:
        self.asked.append(list(keys))
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open.append(opened)
        await opened
        self.returns()
        return [key.upper() for key in keys]

    async def answer(self, error: Exception | None = None) -> None:
        """The oldest question that somebody still waits for."""
        self._open = [opened for opened in self._open if not opened.cancelled()]
        opened = self._open.pop(0)
        if error is None:
            opened.set_result(None)
        else:
            opened.set_exception(error)
        await turns()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def library() -> Library:
    return Library()


async def ask(crowd: Crowd[str, str], *keys: str) -> list[asyncio.Task[str]]:
    tasks = [asyncio.create_task(crowd.ask(key)) for key in keys]
    await turns()
    return tasks


async def test_who_asks_alone_is_answered_by_a_question_of_its_own(library):
    crowd = Crowd(library.read)

    (task,) = await ask(crowd, "a")
    await library.answer()

    assert await task == "A"
    assert library.asked == [["a"]]


async def test_all_who_come_meanwhile_share_the_next_question(library):
    crowd = Crowd(library.read)
    first = await ask(crowd, "a")
    others = await ask(crowd, "b", "c", "b")

    await library.answer()
    await library.answer()

    assert [await task for task in first + others] == ["A", "B", "C", "B"]
    assert library.asked == [["a"], ["b", "c"]]


async def test_who_comes_while_its_key_is_read_is_asked_for_anew(library):
    # What has changed since the question was put may be what this one wants to know.
    crowd = Crowd(library.read)
    first = await ask(crowd, "a")
    second = await ask(crowd, "a")

    await library.answer()

    assert first[0].done()
    assert not second[0].done()
    await library.answer()
    assert await second[0] == "A"


async def test_a_question_has_a_limit_and_nobody_is_left_out(library):
    crowd = Crowd(library.read, limit=2)
    tasks = await ask(crowd, *"abcdef")

    while not all(task.done() for task in tasks):
        await library.answer()

    assert [await task for task in tasks] == list("ABCDEF")
    assert max(map(len, library.asked)) == 2


async def test_a_failure_concerns_those_of_its_question_only(library):
    crowd = Crowd(library.read)
    first = await ask(crowd, "a")
    others = await ask(crowd, "b", "c")

    await library.answer()
    last = await ask(crowd, "d")
    await library.answer(OSError("gone"))
    await library.answer()

    assert await first[0] == "A"
    assert [type(task.exception()) for task in others] == [OSError, OSError]
    assert await last[0] == "D"


@pytest.mark.parametrize("who", [0, 1, 2])
async def test_who_is_cancelled_takes_nobody_s_answer_along(library, who):
    crowd = Crowd(library.read)
    tasks = await ask(crowd, "a", "b", "c")

    tasks[who].cancel()
    await turns()
    while not all(task.done() for task in tasks):
        await library.answer()

    left = [task for task in tasks if not task.cancelled()]
    assert [await task for task in left] == [key for n, key in enumerate("ABC") if n != who]
    again = await ask(crowd, "d")
    await library.answer()
    assert await again[0] == "D"


async def test_who_is_cancelled_in_the_moment_it_is_to_lead_hands_over(library):
    crowd = Crowd(library.read)
    first, second, third = await ask(crowd, "a", "b", "c")
    # In the turn in which the first one hands over to the second one, and before that one goes on.
    library.returns = lambda: asyncio.get_running_loop().call_soon(second.cancel)

    await library.answer()
    library.returns = list
    await library.answer()

    assert first.done()
    assert second.cancelled()
    assert await third == "C"
