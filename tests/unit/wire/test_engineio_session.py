"""The Engine.IO state machine, with time as an argument."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from parlour.errors import ProtocolError
from parlour.wire import json
from parlour.wire.engineio import Packet, PacketType
from parlour.wire.engineio_session import Deliver, Do, EngineSession, Heartbeat, State

BEAT = Heartbeat(interval=25, timeout=20, upgrade=10)
PROBE = Packet(PacketType.PING, "probe")
PONG = Packet(PacketType.PONG)
UPGRADE = Packet(PacketType.UPGRADE)


def polling(now: float = 0.0) -> EngineSession:
    return EngineSession("sid", State.POLLING, BEAT, now)


def test_the_open_packet_tells_times_in_milliseconds_and_the_payload_limit():
    text = polling().open_packet(1_000_000, ["websocket"])

    assert text[0] == "0"
    assert json.loads(text[1:]) == {
        "sid": "sid",
        "upgrades": ["websocket"],
        "pingInterval": 25000,
        "pingTimeout": 20000,
        "maxPayload": 1000000,
    }


def test_a_ping_is_due_after_the_interval_and_again_after_the_pong():
    session = polling(now=100)

    assert session.tick(124.9) == ()
    assert session.tick(125) == (Do.SEND_PING,)
    assert session.receive(PONG, 130) == ()
    assert session.tick(154.9) == ()
    assert session.tick(155) == (Do.SEND_PING,)


def test_a_missing_pong_ends_the_connection_at_the_time_limit():
    session = polling()
    session.tick(25)

    assert session.tick(44.9) == ()
    assert session.tick(45) == (Do.RELEASE_POLL, Do.TIME_OUT)
    assert session.closed


def test_a_pong_nobody_asked_for_does_not_postpone_the_ping():
    session = polling()

    session.receive(PONG, 24)

    assert session.deadline == 25


def test_a_loop_that_was_held_up_gives_the_peer_its_full_time():
    session = polling()

    assert session.tick(100) == (Do.SEND_PING,)
    assert session.deadline == 120


def test_the_upgrade_in_its_order():
    session = polling()

    assert session.offer_candidate(1)
    assert session.receive_on_candidate(PROBE) == (Do.SEND_PROBE, Do.RELEASE_POLL)
    assert session.receive_on_candidate(UPGRADE) == (Do.RELEASE_POLL, Do.SWITCH)
    assert session.state is State.WEBSOCKET


def test_only_one_websocket_may_offer_itself():
    session = polling()
    session.offer_candidate(1)

    assert not session.offer_candidate(2)


def test_a_candidate_that_is_too_slow_is_dropped_and_polling_goes_on():
    session = polling()
    session.offer_candidate(1)
    session.receive_on_candidate(PROBE)

    assert session.deadline == 11
    assert session.tick(11) == (Do.DROP_CANDIDATE,)
    assert session.state is State.POLLING
    assert session.offer_candidate(12)


@pytest.mark.parametrize("packet", [UPGRADE, PONG, Packet(PacketType.MESSAGE, "x")])
def test_anything_but_the_probe_on_a_fresh_candidate_is_refused(packet):
    session = polling()
    session.offer_candidate(1)

    with pytest.raises(ProtocolError):
        session.receive_on_candidate(packet)


def test_closing_releases_the_poll_and_happens_once():
    session = polling()

    assert session.receive(Packet(PacketType.CLOSE), 1) == (Do.RELEASE_POLL, Do.CLOSE)
    assert session.receive(Packet(PacketType.CLOSE), 1) == ()
    assert session.receive(Packet(PacketType.MESSAGE, "late"), 1) == ()
    assert session.tick(1000) == ()


@pytest.mark.parametrize("kind", [PacketType.OPEN, PacketType.PING, PacketType.UPGRADE])
def test_packets_that_a_client_never_sends_are_refused(kind):
    with pytest.raises(ProtocolError):
        polling().receive(Packet(kind), 1)


@given(st.text() | st.binary())
def test_a_message_is_delivered_as_it_came(data):
    assert polling().receive(Packet(PacketType.MESSAGE, data), 1) == (Deliver(data),)


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: only ProtocolError leaves, CLOSED is final, deadlines are ahead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.session = polling()
        self.was_closed = False
        self.ends = 0

    def _count(self, actions) -> None:
        self.ends += sum(action in (Do.CLOSE, Do.TIME_OUT) for action in actions)

    @rule(kind=st.sampled_from(PacketType), data=st.sampled_from(["", "probe", "x"]))
    def receive(self, kind, data):
        try:
            self._count(self.session.receive(Packet(kind, data), self.now))
        except ProtocolError:
            self._count(self.session.close())

    @rule(kind=st.sampled_from(PacketType), data=st.sampled_from(["", "probe"]))
    @precondition(lambda self: self.session.state in (State.PROBING, State.UPGRADING))
    def on_candidate(self, kind, data):
        try:
            self._count(self.session.receive_on_candidate(Packet(kind, data)))
        except ProtocolError:
            self.session.lose_candidate()

    @rule()
    def offer(self):
        self.session.offer_candidate(self.now)

    @rule(seconds=st.sampled_from([0.1, 5, 10, 20, 25, 100]))
    def wait(self, seconds):
        self.now += seconds
        self._count(self.session.tick(self.now))
        self._count(self.session.tick(self.now))
        assert self.session.closed or self.session.deadline > self.now

    @invariant()
    def closed_is_final_and_told_once(self):
        assert not (self.was_closed and not self.session.closed)
        self.was_closed = self.session.closed
        assert self.ends == (1 if self.session.closed else 0)


TestAnyOrder = AnyOrder.TestCase
