"""The garbage collector of a serving process: nothing that is dropped stays, nothing is walked in vain."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from parlour.transports.collector import (
    LOOKS,
    PATIENCE_SECONDS,
    QUIET,
    THAW_SECONDS,
    YOUNG_OBJECTS,
    Collector,
)

PUT_AWAY = YOUNG_OBJECTS * (LOOKS[0] + 1) * (LOOKS[1] + 1)
"""Objects that are put away at once, at most."""

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


def test_what_was_put_away_and_has_gone_brings_no_thaw_nearer(
    collector: Collector, clock: Seconds
) -> None:
    # As the newest events of a busy room: each lives for a while, and as many as before are there.
    for _ in range(gc.get_freeze_count() // PUT_AWAY + 2):
        newest = [[number] for number in range(PUT_AWAY)]
        gc.collect()
        newest.clear()
    clock.now += THAW_SECONDS

    assert not collector.is_due()


def test_a_thaw_is_due_once_memory_may_have_doubled_and_not_too_often(
    collector: Collector, clock: Seconds
) -> None:
    before = sys.getallocatedblocks()
    clock.now += THAW_SECONDS
    early = collector.is_due()
    kept = []
    while not collector.is_due() and sys.getallocatedblocks() < 3 * before:
        kept.append([Knot() for _ in range(PUT_AWAY)])
    after = sys.getallocatedblocks()
    due = collector.is_due()
    clock.now -= 1
    soon = collector.is_due()

    assert not early
    assert due
    assert not soon
    assert 2 * before <= after < 3 * before
    kept.clear()
    collector.thaw()
    assert Knot.living == 0
    clock.now += THAW_SECONDS
    assert not collector.is_due()


@pytest.mark.parametrize(
    ("busy", "waited", "may"),
    [(QUIET / 2, 0, True), (2 * QUIET, 0, False), (2 * QUIET, PATIENCE_SECONDS, True)],
)
def test_a_thaw_waits_for_a_quiet_moment_but_not_for_ever(
    collector: Collector, clock: Seconds, busy: float, waited: float, may: bool
) -> None:
    since = clock.now
    clock.now += waited

    assert collector.may_thaw(since, busy) is may
