"""Steps nest, end, fail and stay within bounds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import parlour as cl
from parlour.chat.registry import Registry
from parlour.chat.text import MAX_CHARACTERS
from tests.unit.chat.conftest import Desk, Stage


async def steps(desk: Desk) -> list[dict[str, Any]]:
    return list((await desk.talk.state()).steps.values())


async def test_steps_nest_by_their_blocks(desk: Desk) -> None:
    async def work() -> str | None:
        async with cl.Step(name="outer", type="run") as outer:
            outer.input = "question"
            async with cl.Step(name="inner", type="tool") as inner:
                inner.output = {"found": 3}
            outer.output = "answer"
            return inner.parent_id

    await desk.run(work)

    outer, inner = await steps(desk)
    assert (outer["parent_id"], inner["parent_id"]) == (None, outer["id"])
    assert (outer["input"], outer["output"], outer["status"]) == ("question", "answer", "done")
    assert (inner["language"], inner["status"]) == ("json", "done")
    assert outer["ended_at"] >= inner["ended_at"] >= inner["started_at"] >= outer["started_at"]


async def test_the_decorator_shows_arguments_and_result(desk: Desk) -> None:
    @cl.step(type="tool", name="Add")
    async def add(left: int, right: int = 2) -> int:
        assert cl.context.current_step is not None
        return left + right

    result = await desk.run(lambda: add(1))

    [row] = await steps(desk)
    assert result == 3
    assert (row["name"], row["type"], row["output"]) == ("Add", "tool", "3")
    assert '"left": 1' in row["input"]


async def test_concurrent_steps_have_their_own_parents(desk: Desk) -> None:
    @cl.step
    async def leaf(name: str) -> str:
        await asyncio.sleep(0)
        return name

    async def branch(name: str) -> None:
        async with cl.Step(name=name):
            await leaf(name)

    async def work() -> None:
        await asyncio.gather(branch("a"), branch("b"))

    await desk.run(work)

    rows = await steps(desk)
    parents = {row["id"]: row["name"] for row in rows if row["name"] != "leaf"}
    assert sorted(
        (parents[row["parent_id"]], row["output"]) for row in rows if row["parent_id"]
    ) == [
        ("a", "a"),
        ("b", "b"),
    ]


async def test_plain_functions_are_steps_in_threads_and_on_the_loop(desk: Desk) -> None:
    @cl.step(type="tool")
    def double(n: int) -> int:
        return n * 2

    async def work() -> tuple[int, int]:
        return double(1), await cl.make_async(double)(2)

    result = await desk.run(work)

    rows = await steps(desk)
    assert result == (2, 4)
    assert [(row["output"], row["status"]) for row in rows] == [("2", "done"), ("4", "done")]


async def test_a_step_that_raises_has_failed_without_showing_the_message(
    stage: Stage, app: Registry
) -> None:
    @cl.on_message
    async def reply() -> None:
        async with cl.Step(name="risky"):
            raise ValueError("password=hunter2")

    talk = await stage.talk(app)
    await talk.say("go")

    [row] = (await talk.state()).steps.values()
    assert (row["status"], row["output"]) == ("failed", "ValueError")
    assert await talk.outcome() == "failed"


async def test_a_step_that_is_stopped_has_failed(stage: Stage, app: Registry) -> None:
    inside = asyncio.Event()

    @cl.on_message
    async def reply() -> None:
        async with cl.Step(name="long"):
            inside.set()
            await asyncio.Event().wait()

    talk = await stage.talk(app)
    await talk.command("message:send", content="go")
    await inside.wait()
    await talk.command("run:stop")

    [row] = (await talk.state()).steps.values()
    assert (row["status"], row["output"]) == ("failed", "Stopped")


async def test_streamed_output_is_shown_in_few_events(desk: Desk) -> None:
    async def work() -> None:
        async with cl.Step(name="writer") as row:
            for n in range(2000):
                await row.stream_token(f"{n} ")

    await desk.run(work)

    [row] = await steps(desk)
    shown = [event for event in await desk.talk.events() if event.type == "step"]
    assert row["output"] == "".join(f"{n} " for n in range(2000))
    assert len(shown) < 30


async def test_input_and_output_are_bounded_and_always_readable(desk: Desk) -> None:
    class Odd:
        def __repr__(self) -> str:
            return "<odd>"

    cycle: list[Any] = []
    cycle.append(cycle)

    async def work() -> None:
        async with cl.Step(name="big") as big:
            big.input = "x" * (MAX_CHARACTERS + 5)
            big.output = {"odd": Odd(), "bytes": b"raw"}
        async with cl.Step(name="cycle") as row:
            row.output = cycle
            row.input = b"12345"

    await desk.run(work)

    big, row = await steps(desk)
    assert big["input"].endswith("(5 more characters)")
    assert "<odd>" in big["output"]
    assert (row["input"], "..." in row["output"]) == ("<5 bytes>", True)


async def test_outside_a_conversation_a_step_is_just_its_function() -> None:
    @cl.step
    async def double(n: int) -> int:
        return n * 2

    @cl.step
    def triple(n: int) -> int:
        return n * 3

    assert (await double(2), triple(2)) == (4, 6)


def test_generators_cannot_be_steps() -> None:
    async def tokens() -> Any:
        yield "x"

    with pytest.raises(TypeError, match="yield"):
        cl.step(tokens)
