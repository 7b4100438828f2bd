"""The event stream of a session, on a real log."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from parlour.agents.events import CommentAction, MessageAction, RunObservation, WriteAction
from parlour.agents.secrets import MASK, Secrets
from parlour.agents.stream import EVENT_BYTES, EventStream
from parlour.core.streams import Event
from parlour.errors import (
    InvalidPayload,
    LeaseLost,
    NotFound,
    RateLimited,
    TooLarge,
    Unavailable,
)
from parlour.server.node import Node
from tests.agent_parts import stage

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    async with stage(tmp_path_factory.mktemp("stream")) as here:
        yield here.node


@pytest_asyncio.fixture(loop_scope="module")
async def stream(node: Node) -> AsyncIterator[EventStream]:
    opened = EventStream(node, node.new_id())
    await opened.open()
    yield opened
    await opened.close()


def say(number: int) -> MessageAction:
    return MessageAction(content=f"message {number}")


async def contents(stream: EventStream, **search: object) -> list[str]:
    found = stream.search_events(**search)  # type: ignore[arg-type]
    return [event.data["args"]["content"] async for event in found]


async def test_events_are_heard_in_order_by_everybody_before_they_count_as_added(
    stream: EventStream,
) -> None:
    heard: dict[str, list[int]] = {"one": [], "two": []}
    for name, ids in heard.items():
        stream.subscribe(name, lambda event, ids=ids: ids.append(event.offset))  # type: ignore[misc]

    added = [stream.add_event(say(n), "agent:a") for n in range(50)]
    last = await added[-1]

    assert last.offset == 50
    assert heard == {"one": list(range(1, 51)), "two": list(range(1, 51))}
    assert [(await one).offset for one in added] == list(range(1, 51))


async def test_adding_never_hands_out_numbers_out_of_order(node: Node) -> None:
    # An id that was given before the write let a reader see 1 before 0.
    session_id = node.new_id()
    streams = [EventStream(node, session_id) for _ in range(3)]
    heard: list[int] = []
    for one in streams:
        await one.open()
    streams[0].subscribe("reader", lambda event: heard.append(event.offset))

    await asyncio.gather(*(one.add_event(say(n), "user:a") for n in range(40) for one in streams))

    await streams[0].close()
    assert heard == list(range(1, 121))
    for one in streams:
        await one.close()


async def test_closing_stores_what_is_queued(node: Node) -> None:
    # Closing threw away 2,000 queued events.
    stream = EventStream(node, node.new_id())
    await stream.open()
    heard: list[int] = []
    stream.subscribe("reader", lambda event: heard.append(event.offset))
    added = [stream.add_event(say(n), "agent:a") for n in range(2000)]

    await stream.close()

    assert await contents(stream) == [f"message {n}" for n in range(2000)]
    assert heard == list(range(1, 2001))
    assert all(one.done() and one.exception() is None for one in added)
    with pytest.raises(Unavailable):
        stream.add_event(say(0), "agent:a")


async def test_no_thread_per_stream(node: Node) -> None:
    before = threading.active_count()
    streams = [EventStream(node, node.new_id()) for _ in range(100)]
    for one in streams:
        await one.open()
        one.add_event(say(1), "agent:a")
    for one in streams:
        await one.close()

    assert threading.active_count() <= before + 2


async def test_search_goes_both_ways_and_over_pages(stream: EventStream) -> None:
    await asyncio.gather(*(stream.add_event(say(n), "agent:a") for n in range(1, 1203)))

    assert await contents(stream, start_id=499, end_id=502) == [
        f"message {n}" for n in range(499, 503)
    ]
    assert await contents(stream, end_id=3, reverse=True) == ["message 3", "message 2", "message 1"]
    assert await contents(stream, reverse=True, limit=2) == ["message 1202", "message 1201"]
    assert len(await contents(stream)) == 1202
    every = await contents(stream, reverse=True)
    assert every == [f"message {n}" for n in range(1202, 0, -1)]

    def tens(event: Event) -> bool:
        return event.offset % 10 == 0

    assert await contents(stream, filter=tens, limit=3, start_id=5) == [
        "message 10",
        "message 20",
        "message 30",
    ]
    assert await stream.get_latest_event_id() == 1202
    assert (await stream.get_event(700)).data["message"] == "message 700"
    with pytest.raises(NotFound):
        await stream.get_event(1203)


async def test_records_that_cannot_be_read_are_skipped_one_by_one(
    node: Node, stream: EventStream
) -> None:
    # One torn record made a whole conversation unreadable.
    heard: list[int] = []
    stream.subscribe("reader", lambda event: heard.append(event.offset))
    await stream.add_event(say(1), "agent:a")
    await node.streams.append(
        stream.name,
        ("action:run", {"action": "run", "args": {"command": 7}}),
        ("unreadable", {}),
        ("action:fly", {"action": "fly", "args": {}}),
    )
    await stream.add_event(say(5), "agent:a")

    assert await contents(stream) == ["message 1", "message 5"]
    assert heard == [1, 5]
    assert stream.unreadable == 6


async def test_secrets_are_masked_everywhere(node: Node) -> None:
    # They survived in lists and in a derived field.
    stream = EventStream(node, node.new_id(), Secrets(["hunter2", "hunter2-long", "xy"]))
    await stream.open()
    heard: list[Event] = []
    stream.subscribe("reader", heard.append)
    nested = {"a": ["hunter2", {"hunter2": [("x hunter2-long",)]}]}

    await stream.add_event(WriteAction(path="p", content="pw=hunter2"), "agent:a", tool=nested)
    await stream.add_event(
        RunObservation(content="xy hunter2", command="echo hunter2"), "system", 1
    )
    await stream.add_event(
        MessageAction(content="my hunter2-long"), "user:u", user={"name": "hunter2"}
    )

    stored = [event.data async for event in stream.search_events()]
    assert "hunter2" not in str(stored)
    assert "hunter2" not in str([event.data for event in heard])
    assert stored[0]["tool"] == {"a": [MASK, {MASK: [[f"x {MASK}"]]}]}
    assert stored[2]["message"] == f"my {MASK}"
    assert stored[1]["content"] == f"xy {MASK}"
    await stream.close()


async def test_a_stale_owner_can_write_nothing(node: Node) -> None:
    session_id = node.new_id()
    old, new = EventStream(node, session_id), EventStream(node, session_id)
    for stream, fence in ((old, 7), (new, 8)):
        await stream.open()
        stream.fence = fence
    await old.add_event(say(1), "agent:a")
    await new.add_event(say(2), "agent:a")
    lost: list[Exception] = []
    old.on_failed = lost.append
    before = node.metrics.agent_stale_appends._value.get()

    with pytest.raises(LeaseLost):
        await old.add_event(say(3), "agent:a")
    with pytest.raises(LeaseLost):
        old.add_event(say(4), "agent:a")

    assert await contents(new) == ["message 1", "message 2"]
    assert [type(error) for error in lost] == [LeaseLost]
    assert node.metrics.agent_stale_appends._value.get() == before + 1
    await old.close()
    await new.close()


async def test_what_is_too_large_or_too_much_is_refused_and_the_rest_goes_on(
    stream: EventStream,
) -> None:
    with pytest.raises(TooLarge):
        stream.add_event(MessageAction(content="x" * EVENT_BYTES), "agent:a")
    with pytest.raises(InvalidPayload):
        stream.add_event(say(1), "agent:a", tool={"x": object()})
    for n in range(10_000):
        stream.add_event(say(n), "agent:a")
    with pytest.raises(RateLimited):
        stream.add_event(say(0), "agent:a")

    await stream.close()
    assert len(await contents(stream)) == 10_000


async def test_a_subscriber_that_fails_does_not_keep_events_from_others(
    stream: EventStream,
) -> None:
    heard: list[int] = []

    def fail(event: Event) -> None:
        raise RuntimeError("a subscriber's mistake")

    stream.subscribe("first", fail)
    stream.subscribe("second", lambda event: heard.append(event.offset))
    stream.subscribe("third", lambda event: heard.append(-event.offset))
    stream.unsubscribe("third")

    await stream.add_event(CommentAction(content="c"), "user:u")

    assert heard == [1]


async def test_several_events_are_stored_side_by_side(stream: EventStream) -> None:
    pair = ((say(1), "agent:a", None, {}), (say(2), "agent:a", 1, {}))

    last = await stream.add_events(*pair)

    assert last.offset == 2
    assert last.cause == "1"


async def test_who_opens_late_hears_everything_from_where_it_stands(
    node: Node, stream: EventStream
) -> None:
    for n in range(1, 6):
        await stream.add_event(say(n), "agent:a")
    late = EventStream(node, stream.session_id)
    heard: list[int] = []
    late.subscribe("reader", lambda event: heard.append(event.offset))

    await late.open(stream.position._replace(offset=2))
    await stream.add_event(say(6), "agent:a")

    assert heard == [3, 4, 5, 6]
    await late.close()
