"""The Socket.IO codec."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from parlour.errors import PayloadTooLarge, ProtocolError
from parlour.wire.limits import Limits
from parlour.wire.packets import Encoded, join_encoded
from parlour.wire.socketio import (
    RESERVED_EVENTS,
    Decoder,
    Packet,
    PacketType,
    encode_ack,
    encode_connect,
    encode_connect_error,
    encode_disconnect,
    encode_event,
)

texts = st.text(st.characters(codec="utf-8"), max_size=20)
leaves = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts | st.binary(max_size=20)
keys = texts.filter(lambda key: key != "_placeholder")
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=15,
)
names = texts.filter(lambda name: name not in RESERVED_EVENTS)
namespaces = st.just("/") | st.from_regex(r"/[a-z0-9/?=-]{1,20}", fullmatch=True)
ids = st.none() | st.integers(0, 2**53 - 1)


def decode(encoded: Encoded, limits: Limits = Limits()) -> list[Packet]:
    decoder = Decoder(limits)
    found = [decoder.feed(part, 1 if isinstance(part, str) else 0) for part in encoded.parts]
    return [packet for packet in found if packet is not None]


@given(names, st.lists(values, max_size=4), namespaces, ids)
def test_an_event_survives_the_round_trip_with_its_binary_values(name, args, namespace, ident):
    encoded = encode_event(name, args, namespace=namespace, ack_id=ident)

    assert decode(encoded) == [Packet(PacketType.EVENT, namespace, [name, *args], ident)]


@given(st.lists(values, max_size=4), namespaces, st.integers(0, 2**53 - 1))
def test_an_acknowledgement_survives_the_round_trip(args, namespace, ident):
    encoded = encode_ack(ident, args, namespace=namespace)

    assert decode(encoded) == [Packet(PacketType.ACK, namespace, args, ident)]


@given(namespaces, st.none() | st.dictionaries(texts, texts))
def test_connect_survives_the_round_trip(namespace, payload):
    encoded = encode_connect(payload, namespace=namespace)

    assert decode(encoded) == [Packet(PacketType.CONNECT, namespace, payload)]


@given(namespaces, texts, st.none() | st.dictionaries(texts, texts))
def test_connect_error_and_disconnect_survive_the_round_trip(namespace, message, data):
    error = decode(encode_connect_error(message, data, namespace=namespace))
    bye = decode(encode_disconnect(namespace=namespace))

    expected = {"message": message} if data is None else {"message": message, "data": data}
    assert error == [Packet(PacketType.CONNECT_ERROR, namespace, expected)]
    assert bye == [Packet(PacketType.DISCONNECT, namespace)]


@given(st.lists(st.lists(values, max_size=3), min_size=1, max_size=4))
def test_joined_packets_decode_to_the_packets_in_order(several):
    joined = join_encoded([encode_event("e", args) for args in several])

    assert [packet.data for packet in decode(joined)] == [["e", *args] for args in several]


def test_the_forms_on_the_wire_are_those_of_the_protocol():
    assert encode_event("a", [1]).parts == ('42["a",1]',)
    assert encode_event("a", [b"x"], namespace="/n", ack_id=7).parts == (
        '451-/n,7["a",{"_placeholder":true,"num":0}]',
        b"x",
    )
    assert encode_ack(7, ["r"]).parts == ('437["r"]',)
    assert encode_connect({"sid": "s"}, namespace="/n").parts == ('40/n,{"sid":"s"}',)
    assert encode_connect_error("no", {"code": "forbidden"}).parts == (
        '44{"message":"no","data":{"code":"forbidden"}}',
    )


@pytest.mark.parametrize("value", [bytearray(b"ab"), memoryview(b"ab"), b"ab"])
def test_every_bytes_like_value_travels_as_an_attachment(value):
    assert decode(encode_event("e", [value]))[0].data == ["e", b"ab"]


def test_a_value_that_cannot_travel_is_the_callers_mistake():
    with pytest.raises(TypeError):
        encode_event("e", [object()])


def test_attachments_are_not_doubled_when_text_has_to_be_repaired():
    encoded = encode_event("e", [b"one", "cut \ud83d", b"two"])

    assert decode(encoded)[0].data == ["e", b"one", "cut �", b"two"]


BROKEN = [
    "", "a", "7", "9[]", "2", "2{}", "2[]", "2[1]", "2[null]", "2abc[1]", '2"x"', "2[", '2["a"]]',
    "3[]", "3", "31{}", "3abc[]", "0[]", "01", "0\"x\"", "1[]", "4", "4[1]", "5", "5[]", '5["a"]', "51-{}",
    "25-[]", '21-["a"]', '2["connect"]', '2["disconnect"]', '2["a",NaN]', "51-", "5999999-[\"a\"]",
    '299999999999999999["a"]', "2/n", "2/n,", "2٣[\"a\"]", "2" + "[" * 3000, "5-[\"a\"]",
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_packet_is_refused_with_the_typed_error(text):
    with pytest.raises(ProtocolError):
        Decoder().feed(text)


@given(st.lists(st.binary(max_size=30) | st.text(max_size=60), max_size=6))
@example(['51-["a",{"_placeholder":true,"num":1}]', b"x"])
@example(['51-["a",{"_placeholder":true,"num":-1}]', b"x"])
@example(['51-["a",{"_placeholder":true,"num":true}]', b"x"])
@example(['51-["a",{"_placeholder":true}]', b"x"])
@example(['51-["a"]', "2[]"])
@example([b"x"])
def test_random_messages_raise_nothing_but_the_protocol_error(messages):
    decoder = Decoder()
    try:
        found = [decoder.feed(message) for message in messages]
    except ProtocolError:
        return

    assert all(packet is None or isinstance(packet, Packet) for packet in found)


@given(names, st.lists(values, max_size=3), st.data())
def test_a_mutated_packet_raises_nothing_but_the_protocol_error(name, args, data):
    text, *rest = encode_event(name, args, ack_id=3).parts
    at = data.draw(st.integers(1, len(text)))
    cut = data.draw(st.integers(0, 3))
    mutated = text[1:at] + data.draw(st.text(max_size=3)) + text[at + cut :]
    decoder = Decoder()
    try:
        found = [decoder.feed(mutated), *map(decoder.feed, rest)]
    except ProtocolError:
        return

    assert all(packet is None or isinstance(packet, Packet) for packet in found)


@pytest.mark.parametrize(
    ("limits", "messages"),
    [
        (Limits(max_attachments=2), ['53-["a"]']),
        (Limits(max_payload=20), ['2["' + "x" * 20 + '"]']),
        (Limits(max_payload=20), ['51-["a"]', b"x" * 20]),
        (Limits(max_depth=3), ['2["a",[[[]]]]']),
        (Limits(max_event_name=3), ['2["abcd"]']),
        (Limits(max_namespace=3), ["0/abcd,"]),
    ],
)
def test_every_limit_of_a_packet_is_kept(limits, messages):
    decoder = Decoder(limits)
    for message in messages[:-1]:
        decoder.feed(message)

    with pytest.raises(ProtocolError):
        decoder.feed(messages[-1])


def test_an_oversized_packet_has_its_own_error():
    with pytest.raises(PayloadTooLarge):
        Decoder().feed('2["a","' + "x" * 2_000_000 + '"]')
