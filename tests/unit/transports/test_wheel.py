"""The timer wheel, on a loop whose time the test decides."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlour.transports.socketio.wheel import CALLS_PER_TURN, Timed, TimerWheel


class Loop:
    """As much of an event loop as a wheel uses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.armed: list[tuple[float, Callable[[], None], Handle]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Handle:
        handle = Handle()
        self.armed.append((when, callback, handle))
        return handle

    def call_soon(self, callback: Callable[[], None]) -> Handle:
        return self.call_at(self.now, callback)

    def turn(self, when: float) -> bool:
        """Call the next callback that is due at `when`; False where there is none."""
        live = [entry for entry in self.armed if not entry[2].cancelled and entry[0] <= when]
        if not live:
            return False
        first = min(live, key=lambda entry: entry[0])
        self.armed.remove(first)
        self.now = max(self.now, first[0])
        first[1]()
        return True

    def run_to(self, when: float) -> None:
        while self.turn(when):
            pass
        self.now = when


class Handle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Entry:
    def __init__(self, again: Callable[[Entry, float], None] | None = None) -> None:
        self.timer_slot: set[Timed] | None = None
        self.calls: list[float] = []
        self._again = again

    def tick(self, now: float) -> None:
        self.calls.append(now)
        if self._again is not None:
            self._again(self, now)


def build(resolution: float = 0.02) -> tuple[Loop, TimerWheel]:
    loop = Loop()
    return loop, TimerWheel(loop, resolution)  # type: ignore[arg-type]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_every_entry_is_called_once_and_at_most_the_resolution_late(deadlines):
    loop, wheel = build()
    entries = [Entry() for _ in deadlines]
    for entry, when in zip(entries, deadlines, strict=True):
        wheel.schedule(entry, when)

    loop.run_to(101)

    for entry, when in zip(entries, deadlines, strict=True):
        [called] = entry.calls
        assert when - 1e-6 <= called <= when + 0.02 + 1e-6


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 10)), min_size=1, max_size=20))
def test_only_the_last_deadline_counts(changes):
    loop, wheel = build()
    entry = Entry()
    last = None
    for keep, when in changes:
        if keep:
            wheel.schedule(entry, when)
            last = when
        else:
            wheel.cancel(entry)
            last = None

    loop.run_to(11)

    assert len(entry.calls) == (last is not None)


def test_an_entry_whose_deadline_is_a_rounding_error_ahead_does_not_hang_the_loop():
    # A multiple of the resolution may be smaller, as a float, than the deadline it was made of. The entry then
    # found itself not due, asked for the same slot, and was called for ever in one turn.
    def not_due_yet(entry: Entry, now: float) -> None:
        if len(entry.calls) < 5:
            wheel.schedule(entry, now)

    loop, wheel = build()
    entry = Entry(not_due_yet)
    wheel.schedule(entry, 0.1)

    loop.run_to(0.11)

    assert len(entry.calls) == 1
    loop.run_to(1)
    assert len(entry.calls) == 5


def test_an_entry_may_cancel_another_one_of_the_same_moment():
    loop, wheel = build()
    second = Entry()
    first = Entry(lambda entry, now: wheel.cancel(second))
    second._again = lambda entry, now: wheel.cancel(first)
    wheel.schedule(first, 1)
    wheel.schedule(second, 1)

    loop.run_to(2)

    assert len(first.calls) + len(second.calls) == 1


def test_nothing_is_called_after_the_end():
    loop, wheel = build()
    entry = Entry()
    wheel.schedule(entry, 1)

    wheel.stop()
    loop.run_to(2)

    assert entry.calls == []


def test_thousands_of_one_moment_are_called_over_several_turns():
    loop, wheel = build()
    entries = [Entry() for _ in range(3 * CALLS_PER_TURN + 1)]
    for entry in entries:
        wheel.schedule(entry, 1)

    called = []
    while loop.turn(2):
        called.append(sum(len(entry.calls) for entry in entries))

    assert called == [CALLS_PER_TURN, 2 * CALLS_PER_TURN, 3 * CALLS_PER_TURN, len(entries)]
    assert all(len(entry.calls) == 1 for entry in entries)


def test_between_two_slices_an_entry_can_be_cancelled_moved_and_added():
    loop, wheel = build()
    entries = [Entry() for _ in range(CALLS_PER_TURN + 3)]
    for entry in entries:
        wheel.schedule(entry, 1)
    loop.turn(1)
    cancelled, moved, left = [entry for entry in entries if not entry.calls]
    added = Entry()

    wheel.cancel(cancelled)
    wheel.schedule(moved, 5)
    wheel.schedule(added, 1)

    loop.run_to(2)
    assert (cancelled.calls, moved.calls, len(left.calls), len(added.calls)) == ([], [], 1, 1)
    loop.run_to(6)
    assert len(moved.calls) == 1


def test_nothing_is_called_after_an_end_between_two_slices():
    loop, wheel = build()
    entries = [Entry() for _ in range(CALLS_PER_TURN + 1)]
    for entry in entries:
        wheel.schedule(entry, 1)
    loop.turn(1)

    wheel.stop()
    loop.run_to(2)

    assert sum(len(entry.calls) for entry in entries) == CALLS_PER_TURN


def test_one_entry_that_raises_does_not_keep_the_others_from_being_called():
    def fail(entry: Entry, now: float) -> None:
        raise ValueError("broken")

    loop, wheel = build()
    broken, later = Entry(fail), Entry()
    wheel.schedule(broken, 1)
    wheel.schedule(later, 2)

    with pytest.raises(ValueError, match="broken"):
        loop.turn(1)

    loop.run_to(3)
    assert len(later.calls) == 1
