"""WebSocket frames."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from parlour.wire.socketio import encode_event
from parlour.wire.websocket import (
    Close,
    Ping,
    Pong,
    Receiver,
    WebSocketError,
    frame_close,
    frame_encoded,
    frame_message,
)


def client_frame(opcode: int, payload: bytes, final: bool = True, rsv: int = 0) -> bytes:
    """A masked frame, put together here so that broken ones are possible."""
    mask = os.urandom(4)
    length = len(payload)
    if length < 126:
        size = bytes([0x80 | length])
    elif length < 65536:
        size = bytes([0x80 | 126]) + length.to_bytes(2, "big")
    else:
        size = bytes([0x80 | 127]) + length.to_bytes(8, "big")
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes([(0x80 if final else 0) | rsv << 4 | opcode]) + size + mask + masked


def receive(data: bytes, limit: int = 1_000_000) -> list:
    return list(Receiver(limit).receive(data))


messages = st.text(st.characters(codec="utf-8"), max_size=300) | st.binary(max_size=300)
controls = st.builds(Ping, st.binary(max_size=125)) | st.builds(Pong, st.binary(max_size=125))


def to_frames(item, cuts: int) -> bytes:
    if isinstance(item, Ping | Pong):
        return client_frame(9 if isinstance(item, Ping) else 10, item.payload)
    payload = item.encode() if isinstance(item, str) else item
    opcode = 1 if isinstance(item, str) else 2
    size = max(1, -(-len(payload) // (cuts + 1)))
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
    last = len(pieces) - 1
    return b"".join(
        client_frame(opcode if number == 0 else 0, piece, number == last)
        for number, piece in enumerate(pieces)
    )


@given(st.lists(st.tuples(messages | controls, st.integers(0, 4)), max_size=6), st.data())
def test_messages_survive_any_fragmentation_and_any_cut_of_the_bytes(items, data):
    stream = b"".join(to_frames(item, cuts) for item, cuts in items)
    points = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    receiver, found = Receiver(), []
    for start, end in zip([0, *points], [*points, len(stream)], strict=True):
        found += receiver.receive(stream[start:end])

    assert found == [item for item, _ in items]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
def test_every_form_of_length_is_read(size):
    assert receive(client_frame(2, b"x" * size)) == [b"x" * size]


def test_control_frames_may_stand_between_fragments():
    stream = client_frame(1, b"a", final=False) + client_frame(9, b"p") + client_frame(0, b"b")

    assert receive(stream) == [Ping(b"p"), "ab"]


def test_a_character_may_be_cut_between_fragments():
    stream = client_frame(1, "€".encode()[:1], final=False) + client_frame(0, "€".encode()[1:])

    assert receive(stream) == ["€"]


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (client_frame(1, b"x", rsv=4), 1002),
        (client_frame(3, b""), 1002),
        (client_frame(11, b""), 1002),
        (client_frame(9, b"x" * 126), 1002),
        (client_frame(9, b"", final=False), 1002),
        (client_frame(0, b"x"), 1002),
        (client_frame(1, b"a", final=False) + client_frame(1, b"b"), 1002),
        (b"\x81\x01x" + b"\x00" * 8, 1002),
        (b"\x82\xff" + b"\xff" * 8 + b"\x00" * 4, 1002),
        (client_frame(1, b"\xff"), 1007),
        (client_frame(1, b"ok\xe2", final=False) + client_frame(0, b"x"), 1007),
        (client_frame(1, b"\xe2\x82"), 1007),
        (client_frame(1, b"a", final=False) + client_frame(0, b"\xe2"), 1007),
        (client_frame(8, b"x"), 1002),
        *[
            (client_frame(8, code.to_bytes(2, "big")), 1002)
            for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
        ],
        (client_frame(8, b"\x03\xe8\xff"), 1007),
        (client_frame(2, b"x" * 1001), 1009),
    ],
    # Frames are masked at random, and a test has the same name in every process.
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_each_breach_has_its_close_code(stream, code):
    with pytest.raises(WebSocketError) as caught:
        receive(stream, limit=1000)

    assert caught.value.close_code == code


def test_invalid_text_is_noticed_in_the_fragment_that_has_it():
    receiver = Receiver()

    with pytest.raises(WebSocketError):
        list(receiver.receive(client_frame(1, b"a\xff", final=False)))


def test_what_came_before_a_breach_is_still_given():
    received = Receiver().receive(client_frame(1, b"a") + b"\x00\x00" * 10)

    assert next(received) == "a"
    with pytest.raises(WebSocketError):
        next(received)


def test_a_message_that_is_too_large_is_refused_by_its_header():
    header = client_frame(2, b"x" * 2_000_000)[:14]

    with pytest.raises(WebSocketError) as caught:
        receive(header)

    assert caught.value.close_code == 1009


def test_fragments_are_too_large_together():
    part = client_frame(2, b"x" * 600, final=False)
    rest = client_frame(0, b"x" * 600, final=False)

    with pytest.raises(WebSocketError) as caught:
        receive(part + rest, limit=1000)

    assert caught.value.close_code == 1009


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999])
def test_a_close_is_read_and_nothing_behind_it(code):
    stream = client_frame(8, code.to_bytes(2, "big") + b"why") + client_frame(1, b"late")

    assert receive(stream) == [Close(code, "why")]


def test_a_close_without_a_code():
    assert receive(client_frame(8, b"")) == [Close(1005, "")]


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_random_bytes_raise_nothing_but_the_typed_error(chunks):
    receiver = Receiver(1000)
    try:
        for chunk in chunks:
            for found in receiver.receive(chunk):
                assert isinstance(found, str | bytes | Ping | Pong | Close)
    except WebSocketError:
        return


@given(messages, st.data())
def test_a_mutated_frame_raises_nothing_but_the_typed_error(message, data):
    stream = bytearray(to_frames(message, 2))
    at = data.draw(st.integers(0, len(stream) - 1))
    stream[at] = data.draw(st.integers(0, 255))
    try:
        found = receive(bytes(stream))
    except WebSocketError:
        return

    assert all(isinstance(one, str | bytes | Ping | Pong | Close) for one in found)


def read_as_client(data: bytes) -> list[tuple[int, bytes]]:
    """Our frames through another implementation's parser."""
    reader, found = Reader(data), []
    while reader.at < len(data):
        parsing = Frame.parse(reader.read_exact, mask=False)
        try:
            next(parsing)
        except StopIteration as result:
            found.append((result.value.opcode, result.value.data))
    return found


class Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def read_exact(self, count: int):
        self.at += count
        return self.data[self.at - count : self.at]
        yield


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_our_frames_are_read_by_another_implementation(size):
    text, data = "x" * size, b"y" * size

    found = read_as_client(frame_message(text) + frame_message(data))

    assert found == [(Opcode.TEXT, text.encode()), (Opcode.BINARY, data)]


def test_a_packet_is_framed_once_with_its_attachments():
    encoded = encode_event("e", [b"one", b"two"])

    framed = frame_encoded(encoded)

    assert [opcode for opcode, _ in read_as_client(framed)] == [1, 2, 2]
    assert frame_encoded(encoded) is framed


def test_a_close_frames_reason_is_cut_between_characters():
    [(opcode, payload)] = read_as_client(frame_close(1008, "€" * 100))

    assert opcode == Opcode.CLOSE
    assert payload[:2] == (1008).to_bytes(2, "big")
    assert payload[2:].decode() == "€" * 41
