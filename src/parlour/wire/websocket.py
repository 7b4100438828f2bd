"""WebSocket frames (RFC 6455), the server's side, without I/O.

`Receiver` turns bytes from a client into messages, pings, pongs and the close, checks everything
that the RFC lets a server check, and refuses what is too large before it is buffered. `frame` and
its companions make the bytes for a client."""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from parlour.errors import ProtocolError
from parlour.wire import deflate
from parlour.wire.limits import DEFAULT_LIMITS
from parlour.wire.packets import Encoded

try:
    from websockets.speedups import apply_mask
except ImportError:  # the wheel for this platform has no C extension
    from websockets.utils import apply_mask

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
INVALID_DATA: Final = 1007
POLICY: Final = 1008
TOO_BIG: Final = 1009
NO_CODE: Final = 1005

_COMPRESSED: Final = 0x40
"""The first reserved bit of a message's first frame."""

_MAX_CONTROL: Final = 125
_KNOWN_CODES: Final = frozenset(
    {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
)
_SHORT: Final = struct.Struct("!BB")
_MEDIUM: Final = struct.Struct("!BBH")
_LONG: Final = struct.Struct("!BBQ")
_NEW_TEXT: Final = codecs.getincrementaldecoder("utf-8")


class WebSocketError(ProtocolError):
    """The peer broke the WebSocket protocol; `close_code` is what it is told."""

    def __init__(self, close_code: int, message: str) -> None:
        super().__init__(message)
        self.close_code = close_code


class Ping(NamedTuple):
    payload: bytes


class Pong(NamedTuple):
    payload: bytes


class Close(NamedTuple):
    """The peer's close frame; `code` is 1005 when it gave none."""

    code: int
    reason: str


Received = str | bytes | Ping | Pong | Close


class Receiver:
    """What comes from one client. Not used again after it raised or a `Close` came out.

    `limit` is the largest message in bytes, all its fragments together, compressed and not.
    `inflates` says that permessage-deflate was agreed upon."""

    __slots__ = ("_buffer", "_inflates", "_limit", "_message", "_need", "closed")

    def __init__(self, limit: int = DEFAULT_LIMITS.max_payload, *, inflates: bool = False) -> None:
        self._limit: Final = limit
        self._inflates: Final = inflates
        self._buffer: bytearray | None = None
        self._need = 0
        self._message: _Fragments | None = None
        self.closed = False

    def receive(self, data: bytes) -> Iterator[Received]:
        """Everything that `data` completes, in order; then raises WebSocketError if the bytes
        behind that are wrong. The iterator has to be exhausted before the next call."""
        data = self._gather(data)
        position, end = 0, len(data)
        self._need = 2
        while end - position >= 2 and not self.closed:
            first, second = data[position], data[position + 1]
            head, length = _read_length(data, position, end, second)
            if head == 0:
                # A frame that is wrong already is not waited for: without a mask it may be whole.
                self._check(first, second, 0)
                self._need = end - position + 1
                break
            self._check(first, second, length)
            start = position + head
            if end - start < length:
                self._need = head + length
                break
            position = start + length
            payload = apply_mask(data[start:position], data[start - 4 : start])
            if first == 0x81 and self._message is None:
                yield _decode(payload)
                continue
            found = self._accept(first, payload)
            if found is not None:
                yield found
        self._keep(data, position, end)

    def whole(self, data: bytes) -> str | None:
        """The text of one short message that is all of `data`, which is how nearly all come; None
        for everything else: then `receive` has to see the bytes. Raises WebSocketError."""
        if len(data) < 6 or data[0] != 0x81 or self._buffer is not None or self.closed:
            return None
        length = data[1] - 0x80
        if not 0 <= length < 126 or len(data) != length + 6 or length > self._limit:
            return None
        if self._message is not None:
            return None
        try:
            return apply_mask(data[6:], data[2:6]).decode()
        except UnicodeDecodeError as error:
            raise WebSocketError(INVALID_DATA, "the text is not UTF-8") from error

    def _gather(self, data: bytes) -> bytes:
        buffer = self._buffer
        if buffer is None:
            return data
        buffer += data
        if len(buffer) < self._need:
            return b""
        self._buffer = None
        return bytes(buffer)

    def _keep(self, data: bytes, position: int, end: int) -> None:
        if position < end and not self.closed:
            self._buffer = bytearray(data[position:])

    def _check(self, first: int, second: int, length: int) -> None:
        """Everything that a frame's header can have wrong, before its payload is waited for."""
        if first & 0x70 and not (
            self._inflates and first & 0x70 == _COMPRESSED and first & 0x0F in (TEXT, BINARY)
        ):
            raise WebSocketError(PROTOCOL_ERROR, "reserved bits without an extension")
        if not second & 0x80:
            raise WebSocketError(PROTOCOL_ERROR, "a client's frames are masked")
        opcode = first & 0x0F
        if opcode >= CLOSE:
            self._check_control(first, opcode, length)
            return
        message = self._message
        if opcode > BINARY:
            raise WebSocketError(PROTOCOL_ERROR, "unknown opcode")
        if (opcode == CONTINUATION) != (message is not None):
            raise WebSocketError(PROTOCOL_ERROR, "a fragment out of order")
        if length + (0 if message is None else message.size) > self._limit:
            raise WebSocketError(TOO_BIG, "the message is too large")

    def _check_control(self, first: int, opcode: int, length: int) -> None:
        if opcode > PONG:
            raise WebSocketError(PROTOCOL_ERROR, "unknown opcode")
        if not first & 0x80 or length > _MAX_CONTROL:
            raise WebSocketError(PROTOCOL_ERROR, "a control frame is whole and short")

    def _accept(self, first: int, payload: bytes) -> Received | None:
        opcode = first & 0x0F
        if opcode == PING:
            return Ping(payload)
        if opcode == PONG:
            return Pong(payload)
        if opcode == CLOSE:
            self.closed = True
            return _read_close(payload)
        compressed = bool(first & _COMPRESSED)
        return self._accept_data(opcode, compressed, bool(first & 0x80), payload)

    def _accept_data(
        self, opcode: int, compressed: bool, final: bool, payload: bytes
    ) -> str | bytes | None:
        message = self._message
        if message is None:
            if final:
                if compressed:
                    payload = self._inflate(payload)
                return _decode(payload) if opcode == TEXT else payload
            message = self._message = _Fragments(opcode == TEXT, compressed)
        message.add(payload, final)
        if not final:
            return None
        self._message = None
        if not message.compressed:
            return message.join()
        payload = self._inflate(message.raw())
        return _decode(payload) if message.text else payload

    def _inflate(self, payload: bytes) -> bytes:
        try:
            message = deflate.decompress(payload, self._limit)
        except ValueError as error:
            raise WebSocketError(INVALID_DATA, "the compressed message is damaged") from error
        if message is None:
            raise WebSocketError(TOO_BIG, "the message is too large")
        return message


class _Fragments:
    """A message whose last frame is not here. Text is checked as it comes, unless it is
    compressed."""

    __slots__ = ("_decode", "_parts", "compressed", "size", "text")

    def __init__(self, text: bool, compressed: bool) -> None:
        self.size = 0
        self.text: Final = text
        self.compressed: Final = compressed
        self._parts: list[str | bytes] = []
        checked = text and not compressed
        self._decode: Callable[[bytes, bool], str] | None = _NEW_TEXT().decode if checked else None

    def add(self, payload: bytes, final: bool) -> None:
        self.size += len(payload)
        if self._decode is not None:
            self._append(_decode_part(self._decode, payload, final))
        else:
            self._append(payload)

    def join(self) -> str | bytes:
        if self._decode is None:
            return self.raw()
        return "".join(part for part in self._parts if isinstance(part, str))

    def raw(self) -> bytes:
        return b"".join(part for part in self._parts if isinstance(part, bytes))

    def _append(self, part: str | bytes) -> None:
        # Empty fragments cost nothing to send; they must cost nothing to hold.
        if part:
            self._parts.append(part)


def _decode_part(decode: Callable[[bytes, bool], str], payload: bytes, final: bool) -> str:
    try:
        return decode(payload, final)
    except UnicodeDecodeError as error:
        raise WebSocketError(INVALID_DATA, "the text is not UTF-8") from error


def _decode(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise WebSocketError(INVALID_DATA, "the text is not UTF-8") from error


def _read_length(data: bytes, position: int, end: int, second: int) -> tuple[int, int]:
    """Bytes of the header with its mask, and of the payload; (0, 0) while the header is not
    whole."""
    length = second & 0x7F
    if length < 126:
        return (6, length) if end - position >= 6 else _UNKNOWN
    size = 2 if length == 126 else 8
    if end - position < 6 + size:
        return _UNKNOWN
    length = int.from_bytes(data[position + 2 : position + 2 + size], "big")
    if length >> 63:
        raise WebSocketError(PROTOCOL_ERROR, "a length has its highest bit set")
    return 6 + size, length


_UNKNOWN: Final = (0, 0)


def _read_close(payload: bytes) -> Close:
    if not payload:
        return Close(NO_CODE, "")
    if len(payload) < 2:
        raise WebSocketError(PROTOCOL_ERROR, "a close code has two bytes")
    code = int.from_bytes(payload[:2], "big")
    if code not in _KNOWN_CODES and not 3000 <= code <= 4999:
        raise WebSocketError(PROTOCOL_ERROR, "this close code does not travel")
    return Close(code, _decode(payload[2:]))


# --------------------------------------------------------------------------------------------------
# To the client
# --------------------------------------------------------------------------------------------------


def frame(opcode: int, payload: bytes) -> bytes:
    """One whole, unmasked frame."""
    length = len(payload)
    if length < 126:
        return _SHORT.pack(0x80 | opcode, length) + payload
    if length < 65536:
        return _MEDIUM.pack(0x80 | opcode, 126, length) + payload
    return _LONG.pack(0x80 | opcode, 127, length) + payload


def frame_message(message: str | bytes) -> bytes:
    """A text or binary message as one frame."""
    if isinstance(message, str):
        return frame(TEXT, message.encode())
    return frame(BINARY, message)


def as_framed(written: bytes) -> Encoded:
    """What is written as it is, in its place among the packets of a connection."""
    encoded = Encoded(written)
    encoded.framed = encoded.deflated = written
    return encoded


def frame_encoded(encoded: Encoded) -> bytes:
    """The frames of a packet, made once and kept in it."""
    framed = encoded.framed
    if framed is None:
        text = encoded.utf8
        framed = encoded.framed = _frame_packet(encoded) if text is None else frame(TEXT, text)
    return framed


def _frame_packet(encoded: Encoded) -> bytes:
    if encoded.batch is not None:
        return b"".join(map(frame_encoded, encoded.batch))
    return b"".join(map(frame_message, encoded.parts))


def frame_deflated(encoded: Encoded) -> bytes:
    """The same for a client with which permessage-deflate was agreed upon."""
    deflated = encoded.deflated
    if deflated is None:
        deflated = encoded.deflated = _deflate_packet(encoded)
    return deflated


def _deflate_packet(encoded: Encoded) -> bytes:
    if encoded.batch is not None:
        return b"".join(map(frame_deflated, encoded.batch))
    if encoded.size < deflate.WORTH_IT:
        return frame_encoded(encoded)
    if encoded.utf8 is not None:
        return _frame_deflated(TEXT, encoded.utf8)
    return b"".join(
        _frame_deflated(TEXT, part.encode())
        if isinstance(part, str)
        else _frame_deflated(BINARY, part)
        for part in encoded.parts
    )


def _frame_deflated(opcode: int, message: bytes) -> bytes:
    return frame(opcode | _COMPRESSED, deflate.compress(message))


def frame_close(code: int, reason: str = "") -> bytes:
    """A close frame; the reason is cut to what fits."""
    if code == NO_CODE:
        return frame(CLOSE, b"")
    text = reason.encode()[: _MAX_CONTROL - 2].decode(errors="ignore").encode()
    return frame(CLOSE, code.to_bytes(2, "big") + text)
