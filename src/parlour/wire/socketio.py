"""Socket.IO protocol 5: the packets inside Engine.IO messages.

    <type>[<attachments>-][<namespace>,][<ack id>][<JSON>]

Type 0 CONNECT, 1 DISCONNECT, 2 EVENT, 3 ACK, 4 CONNECT_ERROR, 5 BINARY_EVENT, 6 BINARY_ACK. Binary
values stand in the JSON as `{"_placeholder": true, "num": n}` and follow as n binary messages.

Encoding makes an `Encoded` that is written to any number of connections; decoding is incremental
because attachments come later."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

from parlour.errors import PayloadTooLarge, ProtocolError
from parlour.wire import json
from parlour.wire.limits import DEFAULT_LIMITS, Limits
from parlour.wire.packets import Delta, Encoded

PROTOCOL: Final = 5
MAIN: Final = "/"
MAX_ACK_ID: Final = 2**53 - 1
RESERVED_EVENTS: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)

_HEADER: Final = re.compile(
    r"([0-6])(?:([0-9]{1,6})-)?(?:(/[^,]*)(?:,|\Z))?([0-9]{1,16})?", re.ASCII | re.DOTALL
)


_plain_event: Final = re.compile(r"2([0-9]{0,15})(?=\[)", re.ASCII).match


class PacketType(IntEnum):
    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4
    BINARY_EVENT = 5
    BINARY_ACK = 6


_KINDS: Final = {str(int(kind)): kind for kind in PacketType}
_BINARY: Final = {
    PacketType.BINARY_EVENT: PacketType.EVENT,
    PacketType.BINARY_ACK: PacketType.ACK,
}


EVENT: Final = PacketType.EVENT
"""Looked up once: a member of an enumeration costs ten times as much as a name."""


class Packet(NamedTuple):
    """A whole packet. The binary types are folded into EVENT and ACK; `data` is the JSON value with
    bytes in place, None where there was no JSON; `id` asks for an acknowledgement (EVENT) or gives
    it (ACK)."""

    type: PacketType
    namespace: str
    data: Any = None
    id: int | None = None


_tuple: Final = tuple.__new__
"""Makes a `Packet` without the named tuple's own constructor, which costs three times as much."""


# --------------------------------------------------------------------------------------------------
# Encoding
# --------------------------------------------------------------------------------------------------


def encode_event(
    event: str,
    args: Sequence[Any] = (),
    *,
    namespace: str = MAIN,
    ack_id: int | None = None,
    delta: Delta | None = None,
) -> Encoded:
    """An EVENT. Raises TypeError for an argument that is neither JSON nor bytes-like."""
    if ack_id is None and namespace is MAIN:
        # Nearly every packet; what is not plain JSON is tried again below.
        try:
            return Encoded(b"42" + json.dumps([event, *args]), delta)
        except TypeError:
            pass
    return _encode(b"42", "45", namespace, ack_id, [event, *args], delta)


def encode_plain(event: str, payload: Mapping[str, Any], delta: Delta | None = None) -> Encoded:
    """An EVENT of the main namespace whose payload was JSON before. Raises TypeError for anything else."""
    return Encoded(b"42" + json.dumps([event, payload]), delta)


def encode_ack(ack_id: int, args: Sequence[Any] = (), *, namespace: str = MAIN) -> Encoded:
    """The answer to an EVENT that had this id."""
    if namespace is MAIN:
        # Nearly every answer; what is not plain JSON is tried again below.
        try:
            return Encoded(b"43%d%b" % (ack_id, json.dumps(list(args))))
        except TypeError:
            pass
    return _encode(b"43", "46", namespace, ack_id, list(args))


def encode_connect(payload: Mapping[str, Any] | None = None, *, namespace: str = MAIN) -> Encoded:
    """CONNECT: from a client with its `auth`, from a server with at least `sid`."""
    text = "" if payload is None else json.dumps(payload).decode()
    return Encoded((f"40{_prefix(namespace)}{text}",))


def encode_connect_error(message: str, data: Any = None, *, namespace: str = MAIN) -> Encoded:
    """The refusal of a CONNECT. `data` is left out when None."""
    payload = {"message": message} if data is None else {"message": message, "data": data}
    return Encoded((f"44{_prefix(namespace)}{json.dumps(payload).decode()}",))


def encode_disconnect(*, namespace: str = MAIN) -> Encoded:
    return Encoded((f"41{_prefix(namespace)}",))


def _encode(
    plain: bytes,
    binary: str,
    namespace: str,
    ident: int | None,
    value: list[Any],
    delta: Delta | None = None,
) -> Encoded:
    head = plain if namespace == MAIN else plain + _prefix(namespace).encode()
    if ident is not None:
        head += b"%d" % ident
    try:
        return Encoded(head + json.dumps(value), delta)
    except TypeError:
        # Most likely binary values; whatever else it is comes out of the second attempt.
        body, attachments = _dumps(value)
    number = "" if ident is None else str(ident)
    text = f"{binary}{len(attachments)}-{_prefix(namespace)}{number}{body.decode()}"
    return Encoded((text, *attachments), delta)


def _dumps(value: list[Any]) -> tuple[bytes, list[bytes]]:
    """The JSON of the value and the bytes that were taken out of it."""
    attachments: list[bytes] = []

    def take_out(item: Any) -> dict[str, Any]:
        if not isinstance(item, bytes | bytearray | memoryview):
            raise TypeError(f"{type(item).__name__} cannot travel in a packet")
        attachments.append(bytes(item))
        return {"_placeholder": True, "num": len(attachments) - 1}

    return json.dumps(value, take_out, attachments.clear), attachments


def _prefix(namespace: str) -> str:
    return "" if namespace == MAIN else f"{namespace},"


# --------------------------------------------------------------------------------------------------
# Decoding
# --------------------------------------------------------------------------------------------------


class Decoder:
    """Turns the Engine.IO messages of one connection into packets.

    `feed` gives back a packet when one is whole, else None. It raises only ProtocolError; after
    that the connection is to be closed, the decoder is not used again."""

    __slots__ = ("_limits", "_waiting")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits: Final = limits
        self._waiting: _Waiting | None = None

    def feed(self, message: str | bytes, start: int = 0) -> Packet | None:
        """`start` skips what stands in front of a text (the Engine.IO type), without a copy."""
        if not isinstance(message, str):
            return self._feed_attachment(message)
        if self._waiting is not None:
            raise ProtocolError("text where an attachment was due")
        limits = self._limits
        if len(message) - start > limits.max_payload:
            raise PayloadTooLarge()
        plain = _plain_event(message, start)
        if plain is None:
            return self._feed_text(message, start)
        # Nearly every packet: an event of the main namespace without attachments.
        body = message[plain.end() :]
        data = json.loads(body)
        # What `_decode_body` and `_check_event` look at, without the calls.
        if len(body) > 2 * limits.max_depth:
            _check_depth(body, data, limits)
        if (
            type(data) is not list
            or not data
            or type(name := data[0]) is not str
            or name in RESERVED_EVENTS
            or len(name) > limits.max_event_name
        ):
            _check_event(data, limits)
        ident = plain[1]
        return _tuple(Packet, (EVENT, MAIN, data, int(ident) if ident else None))

    def _feed_text(self, text: str, start: int) -> Packet | None:
        limits = self._limits
        kind, count, packet = _decode_text(text, start, limits)
        if kind not in _BINARY:
            if count is not None:
                raise ProtocolError("attachments on a packet that has none")
            _check(packet, limits)
            return packet
        return self._begin(packet._replace(type=_BINARY[kind]), count, len(text))

    def _begin(self, packet: Packet, count: int | None, size: int) -> Packet | None:
        if count is None:
            raise ProtocolError("a binary packet without a number of attachments")
        if count > self._limits.max_attachments:
            raise ProtocolError("too many attachments")
        _check(packet, self._limits)
        if count == 0:
            return packet
        self._waiting = _Waiting(packet, count, size)
        return None

    def _feed_attachment(self, data: bytes) -> Packet | None:
        waiting = self._waiting
        if waiting is None:
            raise ProtocolError("an attachment that no packet announced")
        waiting.size += len(data)
        if waiting.size > self._limits.max_payload:
            raise PayloadTooLarge()
        waiting.attachments.append(data)
        if len(waiting.attachments) < waiting.count:
            return None
        self._waiting = None
        packet = waiting.packet
        return packet._replace(data=_put_in(packet.data, waiting.attachments))


class _Waiting:
    """A packet whose attachments are not all here."""

    __slots__ = ("attachments", "count", "packet", "size")

    def __init__(self, packet: Packet, count: int, size: int) -> None:
        self.packet: Final = packet
        self.count: Final = count
        self.size = size
        self.attachments: list[bytes] = []


def _decode_text(text: str, start: int, limits: Limits) -> tuple[PacketType, int | None, Packet]:
    found = _HEADER.match(text, start)
    if found is None:
        raise ProtocolError("unknown Socket.IO packet type")
    digit, count, namespace, ident = found.groups()
    if namespace is not None and len(namespace) > limits.max_namespace:
        raise ProtocolError("a namespace's name is too long")
    kind = _KINDS[digit]
    number = None if ident is None else int(ident)
    if number is not None and number > MAX_ACK_ID:
        raise ProtocolError("an acknowledgement's id is too large")
    data = _decode_json(text, found.end(), limits)
    packet = Packet(kind, namespace or MAIN, data, number)
    return kind, None if count is None else int(count), packet


def _decode_json(text: str, start: int, limits: Limits) -> Any:
    if start == len(text):
        return None
    return _decode_body(text[start:], limits)


def _decode_body(body: str, limits: Limits) -> Any:
    value = json.loads(body)
    # Each level takes two characters at least: short texts need no look.
    if len(body) > 2 * limits.max_depth:
        _check_depth(body, value, limits)
    return value


def _check_depth(body: str, value: Any, limits: Limits) -> None:
    if json.depth_exceeds(body, value, limits.max_depth):
        raise ProtocolError("nested too deeply")


def _check(packet: Packet, limits: Limits) -> None:
    """Raise ProtocolError where the packet's parts do not fit its type."""
    kind, _, data, ident = packet
    if kind is PacketType.EVENT:
        _check_event(data, limits)
        return
    if kind is PacketType.ACK:
        if ident is None or type(data) is not list:
            raise ProtocolError("an acknowledgement without id or arguments")
        return
    if ident is not None:
        raise ProtocolError("an id on a packet that has none")
    if kind is PacketType.CONNECT and not (data is None or type(data) is dict):
        raise ProtocolError("the payload of CONNECT is an object")
    if kind is PacketType.DISCONNECT and data is not None:
        raise ProtocolError("DISCONNECT has no payload")
    if kind is PacketType.CONNECT_ERROR and type(data) not in (dict, str):
        raise ProtocolError("CONNECT_ERROR has a payload")


def _check_event(data: Any, limits: Limits) -> None:
    if type(data) is not list or not data or type(data[0]) is not str:
        raise ProtocolError("an event is an array that begins with its name")
    name = data[0]
    if name in RESERVED_EVENTS:
        raise ProtocolError("this event's name is reserved")
    if len(name) > limits.max_event_name:
        raise ProtocolError("an event's name is too long")


def _put_in(value: Any, attachments: list[bytes]) -> Any:
    """The value with its placeholders replaced. Its depth was checked, so recursion is bounded."""
    if isinstance(value, list):
        return [_put_in(item, attachments) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("_placeholder") is not True:
        return {key: _put_in(item, attachments) for key, item in value.items()}
    number = value.get("num")
    if type(number) is not int or not 0 <= number < len(attachments):
        raise ProtocolError("a placeholder for an attachment that is not there")
    return attachments[number]
