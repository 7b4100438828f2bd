"""The garbage collector of a serving process: nothing that is dropped stays, nothing is walked in vain."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from parlour.transports.collector import LOOKS, PUT_AWAY, THAW_SECONDS, YOUNG_OBJECTS, Collector

ENOUGH = 3 * PUT_AWAY
"""Objects that make the collector put away what is there."""


class Knot:
    """Refers to itself: only the collector gives it back."""

    living = 0

    def __init__(self) -> None:
        self.itself = self
        type(self).living += 1

    def __del__(self) -> None:
        type(self).living -= 1


class Seconds:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def collector(clock: Seconds) -> Iterator[Collector]:
    Knot.living = 0
    with Collector(clock) as found:
        yield found
    gc.collect()


def put_away(number: int) -> list[Knot]:
    """So many knots that have been put away, while they were in use."""
    knots = [Knot() for _ in range(number)]
    _ = [[number] for number in range(ENOUGH)]
    return knots


def test_short_lived_cycles_are_given_back_without_a_thaw(collector: Collector) -> None:
    most = 0
    for _ in range(10 * PUT_AWAY):
        Knot()
        most = max(most, Knot.living)

    assert most <= 2 * YOUNG_OBJECTS * (LOOKS[0] + 2)


def test_cycles_that_were_put_away_are_given_back_by_a_thaw(collector: Collector) -> None:
    knots = put_away(100)
    del knots
    gc.collect()
    kept = Knot.living

    collector.thaw()

    assert kept == 100
    assert Knot.living == 0


def test_what_was_put_away_is_not_walked_again(collector: Collector) -> None:
    knots = put_away(100)

    walked = len(gc.get_objects())

    assert len(knots) == 100
    assert walked < PUT_AWAY


def test_a_thaw_is_due_once_memory_may_have_doubled_and_not_too_often(
    collector: Collector, clock: Seconds
) -> None:
    before = gc.get_freeze_count()
    early = collector.due
    made, kept = 0, []
    while not collector.due and made <= 3 * before:
        clock.now += THAW_SECONDS
        kept.append([Knot() for _ in range(PUT_AWAY)])
        made += PUT_AWAY
    clock.now = collector.thawed_at + THAW_SECONDS - 1
    soon = collector.due
    clock.now += 1

    assert not early
    assert before / 2 <= made <= 3 * before + PUT_AWAY
    assert not soon
    assert collector.due
    kept.clear()
    collector.thaw()
    assert Knot.living == 0
    assert not collector.due


def test_everything_is_as_before_afterwards() -> None:
    before = gc.get_threshold()

    with Collector():
        inside = gc.get_threshold(), gc.get_freeze_count() > 0

    assert inside == ((YOUNG_OBJECTS, *LOOKS), True)
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
