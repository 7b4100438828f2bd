"""Engine.IO protocol 4: packets, and the payloads that carry several of them over HTTP.

A packet is one character for its type and the data behind it; a binary message has no type
character: it is the bytes themselves on a WebSocket, `b` and base64 on HTTP. A payload joins
packets with U+001E."""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

from parlour.errors import PayloadTooLarge, ProtocolError
from parlour.wire.limits import DEFAULT_LIMITS, Limits
from parlour.wire.packets import Encoded

PROTOCOL: Final = "4"
SEPARATOR: Final = "\x1e"


class PacketType(StrEnum):
    OPEN = "0"
    CLOSE = "1"
    PING = "2"
    PONG = "3"
    MESSAGE = "4"
    UPGRADE = "5"
    NOOP = "6"


class Packet(NamedTuple):
    """`data` is text, or bytes for a binary message."""

    type: PacketType
    data: str | bytes = ""


PING: Final = Encoded(("2",))
PONG_PROBE: Final = Encoded(("3probe",))
NOOP: Final = Encoded(("6",))
CLOSE: Final = Encoded(("1",))

_TYPES: Final = {member.value: member for member in PacketType}


def decode_packet(raw: str | bytes) -> Packet:
    """Read one WebSocket message. Raises ProtocolError."""
    if not isinstance(raw, str):
        return Packet(PacketType.MESSAGE, bytes(raw))
    kind = _TYPES.get(raw[:1])
    if kind is None:
        raise ProtocolError("unknown Engine.IO packet type")
    return Packet(kind, raw[1:])


def encode_packet(packet: Packet) -> str | bytes:
    """Write one WebSocket message."""
    if isinstance(packet.data, bytes):
        return packet.data
    return packet.type.value + packet.data


def decode_payload(body: bytes, limits: Limits = DEFAULT_LIMITS) -> list[Packet]:
    """Read a long-polling body. Raises ProtocolError; then none of it counts."""
    if len(body) > limits.max_payload:
        raise PayloadTooLarge()
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError("the body is not UTF-8") from error
    if text.count(SEPARATOR) >= limits.max_packets:
        raise ProtocolError("too many packets in one body")
    return [_decode_part(part) for part in text.split(SEPARATOR)]


def encode_payload(parts: Iterable[str | bytes]) -> bytes:
    """Join WebSocket messages into a long-polling body."""
    return SEPARATOR.join(map(_encode_part, parts)).encode()


def _decode_part(part: str) -> Packet:
    if not part.startswith("b"):
        return decode_packet(part)
    try:
        return Packet(PacketType.MESSAGE, binascii.a2b_base64(part[1:], strict_mode=True))
    except ValueError as error:
        raise ProtocolError("a binary packet is not base64") from error


def _encode_part(part: str | bytes) -> str:
    if isinstance(part, str):
        return part
    return "b" + binascii.b2a_base64(part, newline=False).decode("ascii")
