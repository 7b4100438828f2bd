"""Writing once per connection and turn of the loop."""

from __future__ import annotations

from collections.abc import Callable

from parlour.transports.socketio.turn import CHECK_EVERY, Turn


class Loop:
    """Callbacks and a clock that moves by `step` whenever somebody looks."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 0.0
        self.step = step
        self.ready: list[Callable[[], None]] = []

    def time(self) -> float:
        self.now += self.step
        return self.now

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.ready.append(callback)

    def turn(self) -> None:
        ready, self.ready = self.ready, []
        for callback in ready:
            callback()


class Carrier:
    def __init__(self, flushed: list[Carrier]) -> None:
        self._flushed = flushed

    def flush(self) -> None:
        self._flushed.append(self)


def build(count: int, step: float = 0.0) -> tuple[Loop, list[Carrier], list[Carrier]]:
    loop, flushed = Loop(step), []
    turn = Turn(loop, loop.time)  # type: ignore[arg-type]
    carriers = [Carrier(flushed) for _ in range(count)]
    for carrier in carriers:
        turn.add(carrier)
    return loop, carriers, flushed


def test_nothing_is_written_before_the_turn_is_over_and_everything_once_after_it():
    loop, carriers, flushed = build(5)
    assert flushed == []

    loop.turn()

    assert flushed == carriers
    assert loop.ready == []


def test_a_large_room_is_written_in_slices_and_in_order():
    loop, carriers, flushed = build(10 * CHECK_EVERY, step=0.0021)

    loop.turn()

    assert 0 < len(flushed) < len(carriers)
    while loop.ready:
        loop.turn()
    assert flushed == carriers


def test_what_came_first_in_a_turn_leaves_less_time_for_writing():
    def written_after(seconds: float) -> int:
        loop, carriers, flushed = build(1000 * CHECK_EVERY, step=0.0001)
        loop.now += seconds
        loop.turn()
        assert len(flushed) < len(carriers)
        return len(flushed)

    at_once, soon, late = map(written_after, (0.0, 0.001, 1.0))

    assert at_once > soon > late >= at_once / 2.2


def test_a_turn_has_one_callback_however_many_carriers_wait():
    loop, _, _ = build(100)

    assert len(loop.ready) == 1
