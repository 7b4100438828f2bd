"""What is true of documents: their ids, the shape of updates, awareness, when a log is compacted.

Pure functions over bytes. The formats are those of lib0 and Yjs (update format v1) and of
y-protocols (awareness); the content itself is never interpreted here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from parlour.errors import InvalidPayload

# --------------------------------------------------------------------------------------------------
# Names
# --------------------------------------------------------------------------------------------------

_DOCUMENT: Final = re.compile(r"note:([A-Za-z0-9][A-Za-z0-9_-]{7,63})\Z")


def document_of(note_id: str) -> str:
    """The document of a note. Raises `InvalidPayload` for what cannot be a note's id."""
    document_id = f"note:{note_id}"
    note_of(document_id)
    return document_id


def note_of(document_id: str) -> str:
    """The note of a document. There is one spelling of a document's id and no alias: whatever is not
    exactly `note:{id}` raises `InvalidPayload`."""
    found = _DOCUMENT.match(document_id)
    if found is None:
        raise InvalidPayload("A document's id is note:{id of the note}.", field="document_id")
    return found[1]


def room_of(document_id: str) -> str:
    """The room of those who have the document open."""
    return f"doc_{document_id}"


# --------------------------------------------------------------------------------------------------
# Reading bytes
# --------------------------------------------------------------------------------------------------

MAX_ANY_DEPTH: Final = 64


class _Malformed(Exception):
    pass


class _Reader:
    """Reads lib0's encoding; every count is checked against what is left."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.end = len(data)

    def number(self) -> int:
        """An unsigned integer below 2^53."""
        data, at = self.data, self.at
        try:
            byte = data[at]
            at += 1
            if byte < 0x80:
                self.at = at
                return byte
            value, shift = byte & 0x7F, 7
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 0x7F) << shift
                if byte < 0x80:
                    break
                shift += 7
                if shift > 63:
                    raise _Malformed
        except IndexError:
            raise _Malformed from None
        if value >= 2**53:
            raise _Malformed
        self.at = at
        return value

    def count(self) -> int:
        """How many things follow, each of at least one byte."""
        value = self.number()
        if value > self.end - self.at:
            raise _Malformed
        return value

    def byte(self) -> int:
        if self.at >= self.end:
            raise _Malformed
        self.at += 1
        return self.data[self.at - 1]

    def take(self, size: int) -> bytes:
        if size > self.end - self.at:
            raise _Malformed
        self.at += size
        return self.data[self.at - size : self.at]

    def skip(self, size: int) -> None:
        if size > self.end - self.at:
            raise _Malformed
        self.at += size

    def string(self) -> str:
        try:
            return self.take(self.number()).decode()
        except UnicodeDecodeError:
            raise _Malformed from None


# --------------------------------------------------------------------------------------------------
# Updates
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UpdateShape:
    """What an update speaks of: per client the clock after its last struct, and the clock after the
    last range that it deletes."""

    ends: Mapping[int, int]
    deletes: Mapping[int, int]

    @property
    def empty(self) -> bool:
        return not self.ends and not self.deletes

    def covered_by(self, state: Mapping[int, int]) -> bool:
        """Whether a document in this state has everything of the update in it."""
        return all(state.get(client, 0) >= end for client, end in self.ends.items()) and all(
            state.get(client, 0) >= end for client, end in self.deletes.items()
        )


def scan_update(update: bytes) -> UpdateShape:
    """Walk over an update without building anything. Raises `InvalidPayload` unless it is whole and
    well-formed: no count promises more than there is, nothing follows it."""
    reader = _Reader(update)
    try:
        ends: dict[int, int] = {}
        for _ in range(reader.count()):
            client, end = _scan_client(reader)
            ends[client] = max(end, ends.get(client, 0))
        deletes = dict(_deleted(reader))
    except (_Malformed, RecursionError):
        raise InvalidPayload("This is not an update of a document.", field="update") from None
    if reader.at != reader.end:
        raise InvalidPayload("Something follows the update.", field="update")
    return UpdateShape(ends, deletes)


def _scan_client(reader: _Reader) -> tuple[int, int]:
    structs = reader.count()
    client, clock = reader.number(), reader.number()
    for _ in range(structs):
        clock += _scan_struct(reader)
    if clock >= 2**32:
        raise _Malformed
    return client, clock


def _scan_struct(reader: _Reader) -> int:
    """Skip one struct; gives how many clock ticks it takes."""
    info = reader.byte()
    content = info & 0x1F
    if content in (_GC, _SKIP):
        return reader.number()
    if info & 0x80:
        reader.number()
        reader.number()
    if info & 0x40:
        reader.number()
        reader.number()
    if not info & 0xC0:
        if reader.number() == 1:
            reader.string()
        else:
            reader.number()
            reader.number()
        if info & 0x20:
            reader.string()
    scan = _CONTENTS.get(content)
    if scan is None:
        raise _Malformed
    return scan(reader)


_GC, _SKIP = 0, 10


def _scan_deleted(reader: _Reader) -> int:
    return reader.number()


def _scan_json(reader: _Reader) -> int:
    count = reader.count()
    for _ in range(count):
        reader.string()
    return count


def _scan_binary(reader: _Reader) -> int:
    reader.skip(reader.number())
    return 1


def _scan_string(reader: _Reader) -> int:
    size = reader.number()
    raw = reader.take(size)
    if raw.isascii():
        return size
    try:
        # Yjs counts in UTF-16 units.
        return len(raw.decode().encode("utf-16-le")) // 2
    except UnicodeDecodeError:
        raise _Malformed from None


def _scan_embed(reader: _Reader) -> int:
    reader.string()
    return 1


def _scan_format(reader: _Reader) -> int:
    reader.string()
    reader.string()
    return 1


def _scan_type(reader: _Reader) -> int:
    kind = reader.number()
    if kind > 6:
        raise _Malformed
    if kind in (3, 5):  # elements and hooks have a name
        reader.string()
    return 1


def _scan_any_content(reader: _Reader) -> int:
    count = reader.count()
    for _ in range(count):
        _scan_any(reader, 0)
    return count


def _scan_subdocument(reader: _Reader) -> int:
    reader.string()
    _scan_any(reader, 0)
    return 1


_CONTENTS: Final = {
    1: _scan_deleted,
    2: _scan_json,
    3: _scan_binary,
    4: _scan_string,
    5: _scan_embed,
    6: _scan_format,
    7: _scan_type,
    8: _scan_any_content,
    9: _scan_subdocument,
}
_FIXED_ANY: Final = {127: 0, 126: 0, 124: 4, 123: 8, 122: 8, 121: 0, 120: 0}


def _scan_any(reader: _Reader, depth: int) -> None:
    if depth > MAX_ANY_DEPTH:
        raise _Malformed
    kind = reader.byte()
    if kind in _FIXED_ANY:
        reader.skip(_FIXED_ANY[kind])
    elif kind == 125:
        while reader.byte() & 0x80:
            pass
    elif kind == 119:
        reader.string()
    elif kind == 116:
        reader.skip(reader.number())
    elif kind in (117, 118):
        for _ in range(reader.count()):
            if kind == 118:
                reader.string()
            _scan_any(reader, depth + 1)
    else:
        raise _Malformed


def _deleted(reader: _Reader) -> Iterator[tuple[int, int]]:
    """The delete set: `(client, clock after the last range)`."""
    for _ in range(reader.count()):
        client, last = reader.number(), 0
        for _ in range(reader.count()):
            clock = reader.number()
            last = max(last, clock + reader.number())
        if last >= 2**32:
            raise _Malformed
        yield client, last


def read_state_vector(vector: bytes) -> dict[int, int]:
    """`{client: next clock}`. Raises `InvalidPayload`."""
    reader = _Reader(vector)
    try:
        found = {reader.number(): reader.number() for _ in range(reader.count())}
    except _Malformed:
        raise InvalidPayload("This is not a state vector.", field="state_vector") from None
    if reader.at != reader.end:
        raise InvalidPayload("Something follows the state vector.", field="state_vector")
    return found


# --------------------------------------------------------------------------------------------------
# Awareness
# --------------------------------------------------------------------------------------------------

MAX_AWARENESS_BYTES: Final = 16_384
MAX_AWARENESS_CLIENTS: Final = 8
"""States in one awareness update; an editor has one, and may take another after a reload."""


@dataclass(frozen=True, slots=True)
class AwarenessState:
    """What one client says of itself: a JSON object, or None where it is gone. The higher clock wins;
    at the same clock None wins."""

    client: int
    clock: int
    state: Mapping[str, Any] | None


def read_awareness(update: bytes) -> list[AwarenessState]:
    """Raises `InvalidPayload`."""
    if len(update) > MAX_AWARENESS_BYTES:
        raise InvalidPayload(f"An awareness state has at most {MAX_AWARENESS_BYTES} bytes.")
    reader = _Reader(update)
    try:
        count = reader.count()
        if count > MAX_AWARENESS_CLIENTS:
            raise _Malformed
        found = [_awareness_state(reader) for _ in range(count)]
    except (_Malformed, orjson.JSONDecodeError):
        raise InvalidPayload("This is not an awareness update.", field="update") from None
    return found


def _awareness_state(reader: _Reader) -> AwarenessState:
    client, clock = reader.number(), reader.number()
    state = orjson.loads(reader.string())
    if state is not None and not isinstance(state, dict):
        raise _Malformed
    return AwarenessState(client, clock, state)


def write_awareness(states: list[AwarenessState]) -> bytes:
    """As `encodeAwarenessUpdate` of y-protocols does."""
    out = bytearray(_number(len(states)))
    for one in states:
        text = orjson.dumps(one.state)
        out += _number(one.client) + _number(one.clock) + _number(len(text)) + text
    return bytes(out)


def newer(known: AwarenessState | None, told: AwarenessState) -> bool:
    """Whether what was told replaces what is known."""
    if known is None or told.clock > known.clock:
        return True
    return told.clock == known.clock and told.state is None and known.state is not None


def signed(state: AwarenessState, user_id: str, name: str) -> AwarenessState:
    """The state under the verified identity: who somebody is, is not theirs to say."""
    if state.state is None or not isinstance(state.state.get("user"), dict):
        return state
    user = {**state.state["user"], "id": user_id, "name": name}
    return AwarenessState(state.client, state.clock, {**state.state, "user": user})


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    out.append(value)
    return bytes(out)


# --------------------------------------------------------------------------------------------------
# Policy
# --------------------------------------------------------------------------------------------------

COMPACT_UPDATES: Final = 500
"""Updates in the log from which it is compacted …"""

COMPACT_RATIO: Final = 1
"""… or once it holds so many times the bytes of the snapshot, at least `COMPACT_BYTES`."""

COMPACT_BYTES: Final = 64_000

PENDING_UPDATES: Final = 64
PENDING_BYTES: Final = 256_000
"""How much may wait for updates that the server has never seen."""


def wants_compaction(updates: int, log_bytes: int, snapshot_bytes: int) -> bool:
    """Whether the log has grown so much that one snapshot is better. Writing it costs its size, so a
    large document is compacted less often."""
    if updates < 2:
        return False
    if log_bytes >= max(COMPACT_BYTES, COMPACT_RATIO * snapshot_bytes):
        return True
    return updates >= COMPACT_UPDATES and log_bytes * 8 >= snapshot_bytes
