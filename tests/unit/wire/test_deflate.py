"""permessage-deflate: what is agreed upon, and messages there and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from parlour.wire import deflate
from parlour.wire.deflate import WORTH_IT, accepts, compress, decompress
from parlour.wire.packets import join_encoded
from parlour.wire.socketio import encode_event
from parlour.wire.websocket import Receiver, WebSocketError, frame_deflated, frame_encoded
from tests.unit.wire.test_websocket import client_frame


@pytest.mark.parametrize(
    "offers",
    [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=10; server_no_context_takeover",
        'permessage-deflate; server_max_window_bits="15"',
        "x-other, permessage-deflate; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=9, permessage-deflate",
    ],
)
def test_what_clients_offer_is_accepted(offers):
    assert accepts(offers)


@pytest.mark.parametrize(
    "offers",
    [
        "",
        "x-webkit-deflate-frame",
        "permessage-deflate; server_max_window_bits=9",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate; client_no_context_takeover=1",
        "permessage-deflate; something_new",
        "permessage-deflate; =",
    ],
)
def test_what_is_not_understood_is_declined(offers):
    assert not accepts(offers)


@given(st.binary(max_size=2000))
def test_every_message_comes_back(message):
    assert decompress(compress(message), 2000) == message


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_the_typed_error(payload):
    receiver, codes = Receiver(1000, inflates=True), set()
    try:
        received = list(receiver.receive(client_frame(2, payload, rsv=4)))
    except WebSocketError as error:
        received, codes = [], {error.close_code}

    assert len(received) == 1 or codes <= {1007, 1009}


def test_a_bomb_is_not_inflated_beyond_the_limit():
    bomb = compress(b"a" * 50_000_000)

    assert len(bomb) < 100_000
    assert decompress(bomb, 1_000_000) is None


def test_a_compressed_message_may_come_in_fragments_with_control_frames_between():
    payload = compress(("hällo " * 100).encode())
    stream = (
        client_frame(1, payload[:5], final=False, rsv=4)
        + client_frame(9, b"?")
        + client_frame(0, payload[5:])
    )

    _, text = Receiver(1000, inflates=True).receive(stream)

    assert text == "hällo " * 100


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (client_frame(9, b"x", rsv=4), 1002),
        (client_frame(1, b"x", rsv=2), 1002),
        (client_frame(1, compress(b"ab"), final=False, rsv=4) + client_frame(0, b"", rsv=4), 1002),
        (client_frame(1, compress(b"\xff"), rsv=4), 1007),
        (client_frame(1, b"\xff\xff\xff", rsv=4), 1007),
        (client_frame(1, compress(b"a" * 1001), rsv=4), 1009),
    ],
    ids=["control", "another bit", "continuation", "no UTF-8", "damaged", "too large"],
)
def test_each_breach_has_its_close_code(stream, code):
    with pytest.raises(WebSocketError) as refused:
        list(Receiver(1000, inflates=True).receive(stream))

    assert refused.value.close_code == code


def test_without_an_agreement_a_compressed_message_is_a_breach():
    with pytest.raises(WebSocketError) as refused:
        list(Receiver(1000).receive(client_frame(1, compress(b"x"), rsv=4)))

    assert refused.value.close_code == 1002


def test_our_frames_are_read_by_another_implementation():
    packet = encode_event("e", ["text " * 100])
    data = frame_deflated(packet)
    assert data[:2] == b"\xc1\x7e" or data[1] < 126
    start = 4 if data[1] == 126 else 2
    theirs = PerMessageDeflate(True, True, 15, 15)

    read = theirs.decode(Frame(Opcode.TEXT, data[start:], rsv1=True))

    assert bytes(read.data).decode() == packet.parts[0]


def test_short_packets_are_sent_as_they_are_also_in_a_batch():
    short, long = encode_event("e", ["x"]), encode_event("e", ["x" * WORTH_IT])
    data = frame_deflated(join_encoded([short, long]))

    assert data == frame_encoded(short) + frame_deflated(long)
    assert len(data) < deflate.WORTH_IT
