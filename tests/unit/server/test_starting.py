"""Work that begins at once: without a task while it need not wait, exactly like one afterwards."""

import asyncio
from contextvars import ContextVar, copy_context

import pytest

from parlour.server.starting import start_now
from parlour.server.tasks import Tasks

mood: ContextVar[str] = ContextVar("mood", default="none")


class Starts:
    """Starts work from a callback of the loop, as transports do, and keeps the tasks."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task] = []

    async def start(self, work):
        loop, started = asyncio.get_running_loop(), asyncio.Event()
        outcome = []

        def begin() -> None:
            outcome.append(start_now(work, copy_context(), self._make))
            started.set()

        loop.call_soon(begin)
        await started.wait()
        return outcome[0]

    def _make(self, rest, context):
        task = asyncio.get_running_loop().create_task(rest, context=context)
        self.tasks.append(task)
        return task


async def test_work_that_needs_no_waiting_gets_no_task():
    starts, done = Starts(), []

    async def work() -> None:
        done.append(1)

    task = await starts.start(work())

    assert (task, done, starts.tasks) == (None, [1], [])


async def test_work_that_waits_goes_on_in_a_task_with_what_it_waited_for():
    starts, answer = Starts(), asyncio.get_running_loop().create_future()

    async def work() -> str:
        first = await answer
        await asyncio.sleep(0)
        return first + "!"

    task = await starts.start(work())
    answer.set_result("yes")

    assert await task == "yes!"


async def test_an_exception_reaches_the_work_where_it_waits():
    starts, answer = Starts(), asyncio.get_running_loop().create_future()

    async def work() -> str:
        try:
            await answer
        except KeyError:
            return "caught"
        return "not caught"

    task = await starts.start(work())
    answer.set_exception(KeyError())

    assert await task == "caught"


@pytest.mark.parametrize("turns", [0, 2])
async def test_cancelling_reaches_the_work_before_and_after_a_task_has_taken_over(turns):
    starts, seen = Starts(), []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    task = await starts.start(work())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    assert seen == ["cancelled"]
    assert task.cancelled()


async def test_a_time_limit_that_began_in_the_first_step_ends_the_wait():
    starts = Starts()

    async def work() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return "late"
        return "never"

    task = await starts.start(work())

    assert await task == "late"


async def test_a_task_group_that_began_in_the_first_step_waits_and_fails_like_any_other():
    starts = Starts()

    async def fail() -> None:
        raise KeyError("one")

    async def work() -> str:
        outcome = "never"
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.Event().wait()
        except* KeyError:
            outcome = "failed"
        return outcome

    task = await starts.start(work())

    assert await task == "failed"
    assert task.cancelling() == 0


async def test_who_cancels_itself_in_the_first_step_is_cancelled_at_the_first_wait():
    starts = Starts()

    async def work() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await asyncio.sleep(60)

    task = await starts.start(work())
    await asyncio.wait([task])

    assert task.cancelled()


async def test_what_the_work_sets_stays_in_its_own_context():
    starts, seen = Starts(), []

    async def work() -> None:
        mood.set("busy")
        await asyncio.sleep(0)
        seen.append(mood.get())

    task = await starts.start(work())
    await task

    assert seen == ["busy"]
    assert mood.get() == "none"


async def test_inside_a_task_the_work_gets_one_of_its_own():
    starts, current = Starts(), []

    async def work() -> None:
        current.append(asyncio.current_task())

    task = start_now(work(), copy_context(), starts._make)
    assert task is not None
    await task

    assert current == [task]


async def test_a_set_of_tasks_survives_work_that_fails_at_once():
    done = asyncio.Event()

    async def fail() -> None:
        raise KeyError("one")

    async with Tasks() as tasks:

        def begin() -> None:
            tasks.begin(fail(), "failing", copy_context())
            done.set()

        asyncio.get_running_loop().call_soon(begin)
        await done.wait()

        assert len(tasks) == 0
