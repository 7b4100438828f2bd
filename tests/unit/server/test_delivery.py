"""From a feed's events to packets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from parlour.core.streams import Event
from parlour.core.thread import ThreadState, fold
from parlour.core.users import User
from parlour.ports import SessionRecord
from parlour.server.connections import Connection
from parlour.server.delivery import Delivery
from parlour.server.endpoint import Link
from parlour.server.hub import Hub
from parlour.wire.packets import Encoded

STREAM = "thread:t"


class Listener:
    """As much of a link as a delivery looks at."""

    sid = "s"

    def __init__(self) -> None:
        self.packets: list[Encoded] = []

    def send(self, encoded: Encoded) -> None:
        self.packets.append(encoded)


def told(pairs: Sequence[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """What somebody in the room hears of events that were appended together."""
    hub, listener = Hub(), Listener()
    link, session = cast(Link, listener), SessionRecord("session", "ann")
    hub.join(STREAM, Connection(link, User("ann", "Ann"), session, None, None))
    events = [
        Event(STREAM, "e", offset, type, data, 1) for offset, (type, data) in enumerate(pairs, 1)
    ]
    Delivery(hub).events(STREAM, events)
    parts = [text for packet in listener.packets for text in packet.parts]
    return [json.loads(str(text)[2:])[1] for text in parts]


def delta(message: str, text: str) -> tuple[str, dict[str, Any]]:
    return "message:delta", {"id": message, "text": text}


def test_deltas_that_were_appended_together_leave_as_one_event() -> None:
    [event] = told([delta("m", "a"), delta("m", "b"), delta("m", "c")])

    assert event["data"] == {"type": "message:delta", "data": {"id": "m", "text": "abc"}}
    assert (event["since"], event["offset"], event["id"]) == (0, 3, "e:3")


def test_nothing_is_joined_over_what_stands_in_between() -> None:
    heard = told(
        [delta("m", "a"), ("chat:title", {"title": "x"}), delta("m", "b"), delta("n", "c")]
    )

    assert [event["offset"] for event in heard] == [1, 2, 3, 4]


def test_what_only_looks_like_a_delta_is_passed_on_as_it_is() -> None:
    strange = ("message:delta", {"id": "m", "text": 5})

    heard = told([strange, strange, ("message:delta", {})])

    assert [event["data"]["data"] for event in heard] == [strange[1], strange[1], {}]


steps = st.one_of(
    st.builds(
        delta, st.sampled_from(["a", "b"]), st.text(st.characters(codec="utf-8"), max_size=5)
    ),
    st.just(("chat:title", {"title": "x"})),
    st.just(("message:done", {"id": "a"})),
)


@given(st.lists(steps, min_size=1, max_size=30))
def test_whoever_hears_a_batch_ends_where_its_events_end(batch: list[tuple[str, dict]]) -> None:
    start = [("message", {"id": one, "role": "assistant"}) for one in ("a", "b")]
    pairs = [*start, *batch]

    heard = told(pairs)

    position, events = 0, []
    for event in heard:
        assert event.get("since", event["offset"] - 1) == position
        position = event["offset"]
        data = event["data"]
        events.append(Event(STREAM, "e", position, data["type"], data["data"], 1))
    written = [Event(STREAM, "e", at, type, data, 1) for at, (type, data) in enumerate(pairs, 1)]
    assert position == len(pairs)
    assert fold(ThreadState(), events)[0] == fold(ThreadState(), written)[0]
