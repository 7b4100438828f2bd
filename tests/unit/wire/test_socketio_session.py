"""Namespaces and acknowledgements of one connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlour.errors import ProtocolError, Unavailable
from parlour.wire.limits import Limits
from parlour.wire.socketio import PacketType
from parlour.wire.socketio_session import PendingCalls, Place, SocketSession


def joined(namespace: str = "/") -> SocketSession:
    session = SocketSession(now=0, connect_timeout=10)
    session.receive("0" if namespace == "/" else f"0{namespace},")
    session.accept(namespace, "sid", {})
    return session


def test_a_connect_waits_for_the_servers_decision():
    session = SocketSession(now=0, connect_timeout=10)

    packet = session.receive('0{"token":"t"}')

    assert packet is not None
    assert packet.data == {"token": "t"}
    assert session.place("/") is Place.JOINING
    assert session.connect_by is None


def test_the_answers_sid_cannot_be_overwritten_by_the_payload():
    session = SocketSession(now=0, connect_timeout=10)
    session.receive("0")

    answer = session.accept("/", "right", {"sid": "wrong", "user": "u"})

    assert answer.parts == ('40{"sid":"right","user":"u"}',)


def test_events_before_the_answer_are_dropped():
    session = SocketSession(now=0, connect_timeout=10)
    session.receive("0")

    assert session.receive('2["early"]') is None


def test_a_refused_client_has_the_time_limit_again_and_may_try_again():
    session = SocketSession(now=0, connect_timeout=10)
    session.receive("0")

    answer = session.refuse("/", "no", {"code": "forbidden"}, now=5)

    assert answer.parts == ('44{"message":"no","data":{"code":"forbidden"}}',)
    assert session.connect_by == 15
    assert session.receive("0") is not None


def test_events_after_leaving_are_dropped_but_other_namespaces_go_on():
    session = joined("/")
    session.receive("0/n,")
    session.accept("/n", "sid2", {})

    session.leave("/n", now=5)

    assert session.receive('2/n,["late"]') is None
    assert session.receive('2["a"]') is not None
    assert session.connect_by is None


@pytest.mark.parametrize("message", ['2["a"]', "30[]", "1", '2/other,["a"]', "1/other,"])
def test_a_packet_for_a_namespace_that_was_never_named_is_refused(message):
    session = SocketSession(now=0, connect_timeout=10)

    with pytest.raises(ProtocolError):
        session.receive(message)


@pytest.mark.parametrize("message", ["0", '4{"message":"x"}'])
def test_a_connected_client_may_neither_connect_again_nor_refuse(message):
    with pytest.raises(ProtocolError):
        joined().receive(message)


def test_the_number_of_namespaces_is_limited():
    session = SocketSession(now=0, connect_timeout=10, limits=Limits(max_namespaces=2))
    session.receive("0")
    session.receive("0/a,")

    with pytest.raises(ProtocolError):
        session.receive("0/b,")


def test_binary_events_arrive_when_their_last_attachment_does():
    session = joined()

    assert session.receive('51-["a",{"_placeholder":true,"num":0}]') is None
    packet = session.receive(b"x")
    assert packet is not None
    assert packet.type is PacketType.EVENT
    assert packet.data == ["a", b"x"]


class Heard:
    def __init__(self) -> None:
        self.answers: list = []

    def __call__(self, args) -> None:
        self.answers.append(args)


def test_an_answer_reaches_its_call_once():
    calls, heard = PendingCalls(), Heard()
    number = calls.open(heard)

    assert calls.answer(number, ["a"])
    assert not calls.answer(number, ["again"])
    calls.close()
    assert heard.answers == [["a"]]


def test_closing_tells_every_waiting_call_and_forgotten_ones_hear_nothing():
    calls, waiting, forgotten = PendingCalls(), Heard(), Heard()
    calls.open(waiting)
    calls.forget(calls.open(forgotten))

    calls.close()
    calls.close()

    assert waiting.answers == [None]
    assert forgotten.answers == []


def test_a_client_that_never_acknowledges_cannot_pile_up_calls():
    calls = PendingCalls(limit=3)
    for _ in range(3):
        calls.open(Heard())

    with pytest.raises(Unavailable):
        calls.open(Heard())


@given(st.lists(st.integers(0, 5), max_size=20))
def test_every_call_hears_at_most_one_answer_whatever_the_client_sends(answers):
    calls = PendingCalls()
    heard = [Heard() for _ in range(3)]
    for one in heard:
        calls.open(one)

    for number in answers:
        calls.answer(number, [number])
    calls.close()

    assert [len(one.answers) for one in heard] == [1, 1, 1]
