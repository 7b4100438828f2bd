"""The Engine.IO codec."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlour.errors import PayloadTooLarge, ProtocolError
from parlour.wire.engineio import (
    SEPARATOR,
    Packet,
    PacketType,
    decode_packet,
    decode_payload,
    encode_packet,
    encode_payload,
)
from parlour.wire.limits import Limits

texts = st.text(st.characters(codec="utf-8", exclude_characters=SEPARATOR))
packets = st.builds(Packet, st.sampled_from(PacketType), texts) | st.builds(
    Packet, st.just(PacketType.MESSAGE), st.binary()
)


@given(packets)
def test_a_packet_survives_the_websocket_form(packet):
    assert decode_packet(encode_packet(packet)) == packet


@given(st.lists(packets, min_size=1, max_size=8))
def test_packets_survive_the_polling_form_in_order(several):
    body = encode_payload(encode_packet(packet) for packet in several)

    assert decode_payload(body) == several


@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_no_body_raises_anything_but_the_protocol_error(body):
    try:
        found = decode_payload(body)
    except ProtocolError:
        return

    assert all(isinstance(packet, Packet) for packet in found)


@pytest.mark.parametrize("body", [b"", b"abc", b"4a\x1e", b"b====", b"bA", b"b\xff", b"\xff"])
def test_a_broken_body_is_refused_as_a_whole(body):
    with pytest.raises(ProtocolError):
        decode_payload(body)


def test_a_body_over_the_limit_is_too_large_and_one_at_the_limit_is_not():
    limits = Limits(max_payload=10)

    assert len(decode_payload(b"4" + b"x" * 9, limits)) == 1
    with pytest.raises(PayloadTooLarge):
        decode_payload(b"4" + b"x" * 10, limits)


def test_the_number_of_packets_in_a_body_is_limited():
    with pytest.raises(ProtocolError, match="too many"):
        decode_payload(SEPARATOR.join(["4"] * 11).encode(), Limits(max_packets=10))
