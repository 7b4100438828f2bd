"""Ending what thousands of peers left behind, a part of it in each turn of the loop."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parlour.transports.socketio.departures import ENDED_PER_TURN, Departures


class Loop:
    """Callbacks of the next turn."""

    def __init__(self) -> None:
        self.ready: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.ready.append(callback)

    def turn(self) -> None:
        ready, self.ready = self.ready, []
        for callback in ready:
            callback()


class Peer:
    def __init__(self, gone: list[Peer], act: Callable[[], None] = lambda: None) -> None:
        self._gone = gone
        self._act = act

    def depart(self) -> None:
        self._gone.append(self)
        self._act()


def build() -> tuple[Loop, Departures, list[Peer]]:
    loop = Loop()
    return loop, Departures(loop), []  # type: ignore[arg-type]


def test_one_is_ended_in_the_next_turn():
    loop, departures, gone = build()
    peer = Peer(gone)

    departures.add(peer)
    assert gone == []
    loop.turn()

    assert gone == [peer]
    assert loop.ready == []


def test_many_are_ended_in_order_over_several_turns():
    loop, departures, gone = build()
    peers = [Peer(gone) for _ in range(2 * ENDED_PER_TURN + 1)]
    for peer in peers:
        departures.add(peer)

    ended = []
    while loop.ready:
        loop.turn()
        ended.append(len(gone))

    assert ended == [ENDED_PER_TURN, 2 * ENDED_PER_TURN, len(peers)]
    assert gone == peers


def test_who_goes_while_others_are_ended_has_a_turn_of_its_own():
    loop, departures, gone = build()
    second = Peer(gone)
    first = Peer(gone, lambda: departures.add(second))
    departures.add(first)

    loop.turn()
    assert gone == [first]
    assert len(loop.ready) == 1
    loop.turn()

    assert gone == [first, second]
    assert loop.ready == []


def test_one_that_raises_does_not_keep_the_others():
    def fail() -> None:
        raise ValueError("broken")

    loop, departures, gone = build()
    broken, other = Peer(gone, fail), Peer(gone)
    departures.add(broken)
    departures.add(other)

    with pytest.raises(ValueError, match="broken"):
        loop.turn()
    loop.turn()

    assert gone == [broken, other]
