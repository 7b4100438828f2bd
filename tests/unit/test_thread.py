"""The fold of a conversation: snapshot + events = fresh snapshot, for every split of every history."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parlour.core.streams import Event
from parlour.core.thread import MESSAGE_WINDOW, ThreadState, Touched, digest, fold
from tests.golden.vectors import CASES, events, message, random_pairs


@pytest.mark.parametrize("name", sorted(CASES))
def test_snapshot_plus_events_is_a_fresh_snapshot(name: str) -> None:
    history = events(CASES[name])
    fresh, _ = fold(ThreadState(), history)
    for split in range(0, len(history) + 1, max(1, len(history) // 20)):
        before, _ = fold(ThreadState(), history[:split])
        wire = before.to_wire()
        restored = ThreadState.from_wire(wire, wire["messages"])

        after, _ = fold(restored, history[split:])

        assert after.to_wire() == fresh.to_wire()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 80), st.integers(0, 80))
def test_any_split_of_a_random_history_folds_alike(seed: int, first: int, second: int) -> None:
    history = events(random_pairs(seed, first + second))
    before, _ = fold(ThreadState(), history[:first])

    after, _ = fold(before, history[first:])

    assert after.to_wire() == fold(ThreadState(), history)[0].to_wire()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10_000))
def test_one_by_one_is_the_same_as_together(seed: int) -> None:
    # Deltas that follow each other are joined first where they come together.
    history = events(random_pairs(seed, 80))
    state, touched = ThreadState(), Touched()
    for event in history:
        state, more = fold(state, [event])
        touched.written |= more.written
        touched.written -= more.deleted
        touched.deleted |= more.deleted

    together, at_once = fold(ThreadState(), history)

    assert state.to_wire() == together.to_wire()
    assert touched.written == at_once.written


@pytest.mark.parametrize("odd", [{"id": "m"}, {"text": "x"}, {"id": "m", "text": 7}, {"id": ["m"]}])
def test_deltas_that_are_none_are_left_to_their_rule(odd: dict[str, Any]) -> None:
    good = ("message:delta", {"id": "m", "text": "a"})

    def one_by_one() -> Any:
        state = ThreadState()
        for event in events([message("m"), good, ("message:delta", odd), good]):
            state, _ = fold(state, [event])
        return state.to_wire()

    def together() -> Any:
        return fold(ThreadState(), events([message("m"), good, ("message:delta", odd), good]))[
            0
        ].to_wire()

    assert _result(one_by_one) == _result(together)


def _result(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except (KeyError, TypeError) as error:
        return type(error)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_fold_leaves_the_given_state_alone(seed: int) -> None:
    history = events(random_pairs(seed, 60))
    before, _ = fold(ThreadState(), history[:30])
    wire = before.to_wire()

    fold(before, history[30:])

    assert before.to_wire() == wire


@given(st.lists(st.text(max_size=20), max_size=30))
def test_text_shown_is_the_concatenation_of_its_deltas(texts: list[str]) -> None:
    deltas = [("message:delta", {"id": "m", "text": text}) for text in texts]

    state, _ = fold(ThreadState(), events([message("m", streaming=True), *deltas]))

    assert state.messages["m"]["content"] == "".join(texts)


def test_window_keeps_the_newest_messages_in_order() -> None:
    history = events([message(f"m{n}") for n in range(MESSAGE_WINDOW + 7)])

    state, _ = fold(ThreadState(), history)

    assert list(state.messages) == [f"m{n}" for n in range(7, MESSAGE_WINDOW + 7)]
    assert state.truncated


def test_window_is_kept_after_each_event() -> None:
    """Adding one and deleting another at a full window gave 1,000 in one batch and 999 in two."""
    history = events(CASES["deleting at a full window"])
    together, _ = fold(ThreadState(), history)

    apart = ThreadState()
    for event in history:
        apart, _ = fold(apart, [event])

    assert apart.to_wire() == together.to_wire()


def test_touched_names_what_was_written_and_removed() -> None:
    pairs = [message("a"), message("b"), ("message:delete", {"id": "a"})]

    _, touched = fold(ThreadState(), events(pairs))

    assert (touched.written, touched.deleted) == ({"b"}, {"a"})


def test_digest_counts_bytes_of_utf8() -> None:
    text = "Grüße 漢"

    assert digest(text) == (len(text.encode()), hashlib.sha256(text.encode()).hexdigest()[:16])


def test_a_deleted_message_does_not_come_back_with_a_late_delta() -> None:
    history: list[Event] = events(
        [message("a"), ("message:delete", {"id": "a"}), ("message:delta", {"id": "a", "text": "x"})]
    )

    state, _ = fold(ThreadState(), history)

    assert "a" not in state.messages
