"""How a packet comes to one connection, and to all of a room."""

from __future__ import annotations

from typing import Any

import pytest

from parlour.wire.packets import Encoded
from tests.unit.native.wires import Wired, framed, packet, port_of


class Foreign:
    """A carrier that is no outlet, as long-polling has one."""

    def __init__(self, full: bool = False) -> None:
        self.full = full
        self.written: list[Encoded] = []

    def write(self, encoded: Encoded) -> bool:
        if not self.full:
            self.written.append(encoded)
        return not self.full


class Connection:
    """What a port sees of one, and what it was told to decide about itself."""

    def __init__(self, carrier: Any, link: Any = None) -> None:
        self.carrier = carrier
        self.outbox: object | None = None
        self.link = link
        self.decided: list[Encoded] = []

    def send(self, encoded: Encoded) -> None:
        self.decided.append(encoded)


class Failing:
    """A link that is no port."""

    def __init__(self, error: BaseException | None = None) -> None:
        self._error = error
        self.sent: list[Encoded] = []

    def send(self, encoded: Encoded) -> None:
        self.sent.append(encoded)
        if self._error is not None:
            raise self._error


def live(form, carrier: Any) -> tuple[Any, Connection]:
    link = port_of(form)()
    connection = Connection(carrier, link)
    link.connection = connection
    link.live = True
    return link, connection


def test_a_link_that_is_not_live_holds_what_is_sent(form):
    carrier, one = Foreign(), packet(1)
    link, connection = live(form, carrier)
    link.live = False

    link.send(one)

    assert link.held == [one]
    assert carrier.written == connection.decided == []


def test_a_link_that_is_live_writes_to_its_carrier(wired):
    link, connection = live(wired.form, wired.outlet)

    link.send(packet(1))
    link.send(packet(2))

    assert wired.end_turn() == [framed(packet(1), packet(2))]
    assert link.held == connection.decided == []


def test_a_carrier_that_is_no_outlet_is_written_to_as_well(form):
    carrier, one = Foreign(), packet(1)
    link, connection = live(form, carrier)

    link.send(one)

    assert carrier.written == [one]
    assert link.held == connection.decided == []


def test_where_something_waits_the_connection_decides(wired):
    link, connection = live(wired.form, wired.outlet)
    connection.outbox, one = object(), packet(1)

    link.send(one)

    assert connection.decided == [one]
    assert wired.end_turn() == link.held == []


def test_where_an_outlet_is_full_the_connection_decides(wired):
    link, connection = live(wired.form, wired.outlet)
    wired.outlet.paused, one = True, packet(1)

    link.send(one)

    assert connection.decided == [one]
    assert wired.end_turn() == link.held == []


def test_where_another_carrier_is_full_the_connection_decides(form):
    link, connection = live(form, Foreign(full=True))
    one = packet(1)

    link.send(one)

    assert connection.decided == [one]
    assert link.held == []


def test_what_a_carrier_raises_comes_to_the_sender(form):
    class Broken(Foreign):
        def write(self, encoded: Encoded) -> bool:
            raise ValueError("broken")

    link, connection = live(form, Broken())

    with pytest.raises(ValueError, match="broken"):
        link.send(packet(1))

    assert link.held == connection.decided == []


def test_a_connection_without_a_carrier_is_an_error(form):
    link, connection = live(form, Foreign())
    del connection.carrier

    with pytest.raises(AttributeError, match="carrier"):
        link.send(packet(1))


def test_a_new_port_is_not_live_and_has_no_connection(form):
    link = port_of(form)()

    found = link.live

    assert found is False
    assert link.connection is None


def test_a_link_may_change_its_connection_and_end(form):
    link, first = live(form, Foreign())
    second = Connection(Foreign())
    one, two, three = packet(1), packet(2), packet(3)

    link.send(one)
    link.connection = second
    link.send(two)
    link.live = False
    link.send(three)

    assert first.carrier.written == [one]
    assert second.carrier.written == [two]
    assert link.held == [three]
    assert link.connection is second


def test_a_room_is_told_whatever_its_links_and_carriers_are(form):
    one = packet(1)
    with Wired(form) as wired:
        _, by_outlet = live(form, wired.outlet)
        _, by_another = live(form, Foreign())
        no_port = Connection(None, Failing())
        held, early = live(form, Foreign())
        held.live = False
        _, full = live(form, Foreign(full=True))

        form.tell((by_outlet, by_another, no_port, early, full), one)

        assert wired.end_turn() == [framed(packet(1))]
        assert by_another.carrier.written == [one]
        assert no_port.link.sent == [one]
        assert held.held == [one]
        assert full.decided == [one]


def test_a_room_that_is_empty_is_told_nothing(form):
    told = form.tell((), packet(1))

    assert told is None


def test_who_is_in_a_room_twice_is_told_twice(form):
    _, connection = live(form, Foreign())
    one = packet(1)

    form.tell((connection, connection), one)

    assert connection.carrier.written == [one, one]


def test_what_one_raises_keeps_the_packet_from_nobody_and_the_first_error_is_raised(form):
    one = packet(1)
    with Wired(form) as wired:
        _, last = live(form, wired.outlet)
        first, second = ValueError("first"), KeyError("second")
        failing = [Connection(None, Failing(first)), Connection(None, Failing(second))]
        no_link = Connection(None)
        del no_link.link

        with pytest.raises(ValueError, match="first") as caught:
            form.tell((failing[0], no_link, failing[1], last), one)

        assert caught.value is first
        assert [connection.link.sent for connection in failing] == [[one], [one]]
        assert wired.end_turn() == [framed(packet(1))]


def test_an_error_says_where_it_was_raised(form):
    connection = Connection(None, Failing(ValueError("broken")))

    with pytest.raises(ValueError, match="broken") as caught:
        form.tell((connection,), packet(1))

    assert caught.traceback[-1].name == "send"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_goes_up_at_once_and_is_not_hidden_by_an_error(form, kind):
    failing, ending, never = (
        Connection(None, Failing(error)) for error in (ValueError("broken"), kind(), None)
    )

    with pytest.raises(kind):
        form.tell((failing, ending, never), packet(1))

    assert never.link.sent == []
