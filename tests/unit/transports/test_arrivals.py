"""Letting a crowd in, a part of it in each turn of the loop."""

from __future__ import annotations

import itertools

import pytest

from parlour.transports.socketio.arrivals import BEGUN_PER_TURN, Arrivals
from tests.unit.transports.test_departures import Loop


def build() -> tuple[Loop, Arrivals, list[int]]:
    loop = Loop()
    return loop, Arrivals(loop), []  # type: ignore[arg-type]


def come(arrivals: Arrivals, begun: list[int], count: int) -> None:
    for number in range(count):
        arrivals.run(lambda number=number: begun.append(number))


def test_who_comes_alone_is_served_at_once():
    _, arrivals, begun = build()

    come(arrivals, begun, 1)

    assert begun == [0]


def test_of_a_crowd_each_has_its_turn_in_order():
    loop, arrivals, begun = build()
    count = 3 * BEGUN_PER_TURN + 1

    come(arrivals, begun, count)

    lengths = [len(begun)]
    while loop.ready:
        loop.turn()
        lengths.append(len(begun))
    assert begun == list(range(count))
    assert max(b - a for a, b in itertools.pairwise(lengths)) == BEGUN_PER_TURN


def test_who_comes_while_others_wait_comes_behind_them():
    loop, arrivals, begun = build()
    come(arrivals, begun, 2 * BEGUN_PER_TURN)

    loop.turn()
    arrivals.run(lambda: begun.append(-1))

    while loop.ready:
        loop.turn()
    assert begun[-1] == -1


def test_a_turn_in_which_nobody_comes_costs_nothing():
    loop, arrivals, begun = build()
    come(arrivals, begun, 1)

    loop.turn()
    loop.turn()

    assert loop.ready == []
    come(arrivals, begun, BEGUN_PER_TURN)
    assert len(begun) == 1 + BEGUN_PER_TURN


def test_a_mistake_in_one_keeps_nobody_else_out():
    loop, arrivals, begun = build()
    come(arrivals, begun, BEGUN_PER_TURN)

    def fail() -> None:
        raise ValueError("broken")

    arrivals.run(fail)
    come(arrivals, begun, 2)

    with pytest.raises(ValueError, match="broken"):
        loop.turn()
    while loop.ready:
        loop.turn()
    assert len(begun) == BEGUN_PER_TURN + 2
