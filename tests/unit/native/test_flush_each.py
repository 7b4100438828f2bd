"""Flushing a part of what waits."""

from __future__ import annotations

import sys

import pytest

from tests.unit.native.wires import Wired, framed, packet


class Carrier:
    """One that is no outlet."""

    def __init__(self, error: BaseException | None = None) -> None:
        self._error = error
        self.flushed = 0

    def flush(self) -> None:
        self.flushed += 1
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize(
    ("start", "stop", "flushed"),
    [
        (0, 4, [1, 1, 1, 1]),
        (1, 3, [0, 1, 1, 0]),
        (3, 4, [0, 0, 0, 1]),
        (0, 0, [0, 0, 0, 0]),
        (2, 1, [0, 0, 0, 0]),
        (4, 9, [0, 0, 0, 0]),
        (9, 12, [0, 0, 0, 0]),
        (2, 99, [0, 0, 1, 1]),
        (0, sys.maxsize, [1, 1, 1, 1]),
    ],
)
def test_those_between_the_bounds_are_flushed(form, start, stop, flushed):
    carriers = [Carrier() for _ in range(4)]

    form.flush_each(carriers, start, stop)

    assert [carrier.flushed for carrier in carriers] == flushed


def test_nobody_waits(form):
    flushed = form.flush_each([], 0, 32)

    assert flushed is None


def test_outlets_and_others_are_flushed(form):
    other = Carrier()
    with Wired(form) as first, Wired(form) as second:
        first.outlet.write(packet(1))
        second.outlet.write(packet(2))
        second.outlet.write(packet(3))

        form.flush_each([first.outlet, other, second.outlet], 0, 3)

        assert first.wire.heard() == [framed(packet(1))]
        assert other.flushed == 1
        assert second.wire.heard() == [framed(packet(2), packet(3))]


def test_one_that_is_there_twice_is_written_once(form):
    with Wired(form) as wired:
        wired.outlet.write(packet(1))

        form.flush_each([wired.outlet, wired.outlet], 0, 2)

        assert wired.wire.heard() == [framed(packet(1))]


def test_what_one_raises_keeps_nothing_from_the_others_and_the_first_error_is_raised(form):
    first, second = ValueError("first"), KeyError("second")
    with Wired(form) as unframed, Wired(form) as last:
        broken = packet(1)
        broken.framed = "no bytes"  # type: ignore[assignment]
        unframed.outlet.write(broken)
        last.outlet.write(packet(2))
        carriers = [Carrier(first), Carrier(second), unframed.outlet, object(), last.outlet]

        with pytest.raises(ValueError, match="first") as caught:
            form.flush_each(carriers, 0, 5)

        assert caught.value is first
        assert carriers[1].flushed == 1
        assert unframed.wire.heard() == []
        assert last.wire.heard() == [framed(packet(2))]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_goes_up_at_once_and_is_not_hidden_by_an_error(form, kind):
    carriers = [Carrier(ValueError("broken")), Carrier(kind()), Carrier()]

    with pytest.raises(kind):
        form.flush_each(carriers, 0, 3)

    assert carriers[2].flushed == 0
