"""What waits to be written to one connection: bounded, and forgiving to a slow reader of text.

Below the high-water mark packets wait as they came. Beyond it the deltas of one message are joined:
the newest position wins, the text is concatenated, nothing else is dropped or overtaken. For a client
that reads `message:deltas` so are those of several messages of a stream that come in turns: then what
waits of text takes what the text takes, however many packets it came in. Beyond the
hard limit the outbox refuses, and its owner closes the connection, which resumes by position."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from parlour.wire.packets import Delta, Encoded


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    """Bytes. `chunk` is how much a writer takes at a time, so that what it holds counts only
    once."""

    high_water: int = 64 * 1024
    hard: int = 4 * 1024 * 1024
    chunk: int = 64 * 1024

    def __post_init__(self) -> None:
        if not 0 <= self.high_water <= self.hard:
            raise ValueError("the high-water mark lies between 0 and the hard limit")


DEFAULT_LIMITS: Final = OutboxLimits()


class Outbox:
    """A queue of packets; every method is synchronous. `size` is in bytes, estimated for joined
    deltas by the first packet and the texts that were joined with it. `mixes` says that the client
    reads `message:deltas`."""

    __slots__ = ("_items", "_joining", "_limits", "_mixes", "size")

    def __init__(self, limits: OutboxLimits = DEFAULT_LIMITS, *, mixes: bool = False) -> None:
        self._limits: Final = limits
        self._mixes: Final = mixes
        self._items: list[Encoded | _Joined] = []
        self._joining: dict[Hashable, _Joined] | None = None
        self.size = 0

    def __len__(self) -> int:
        return len(self._items)

    def push(self, encoded: Encoded, *, barrier: bool = False) -> bool:
        """Take a packet. False when that would exceed the hard limit: then nothing changed, except
        that of a batch the first packets may have been taken. An
        empty outbox takes a packet of any size, so that one large answer is not a slow reader.

        A delta never moves in front of a `barrier` (an acknowledgement: what follows it may
        belong to a new subscription)."""
        size = encoded.size
        if self.size + size > self._limits.high_water:
            if encoded.batch is not None:
                # Short-circuits: what follows a refused packet is not taken either.
                return all(self._push_beyond(packet, barrier) for packet in encoded.batch)
            return self._push_beyond(encoded, barrier)
        self._items.append(encoded)
        self.size += size
        return True

    def take(self) -> list[Encoded]:
        """Remove and give back the packets that wait longest, about `chunk` bytes and at least
        one."""
        if self.size <= self._limits.chunk:
            return self._take(len(self._items))
        count, size = 0, 0
        for item in self._items:
            size += item.size
            if count and size > self._limits.chunk:
                break
            count += 1
        return self._take(count)

    def take_all(self) -> list[Encoded]:
        return self._take(len(self._items))

    def clear(self) -> None:
        self._take(len(self._items))

    def _take(self, count: int) -> list[Encoded]:
        taken, self._items = self._items[:count], self._items[count:]
        self.size -= sum(item.size for item in taken)
        # What is taken is on its way; later deltas start a new packet.
        self._joining = None
        return [item.encode() if isinstance(item, _Joined) else item for item in taken]

    def _push_beyond(self, encoded: Encoded, barrier: bool) -> bool:
        delta = encoded.delta
        if delta is not None:
            return self._push_delta(encoded, delta)
        if barrier:
            self._joining = None
        return self._append(encoded, encoded.size)

    def _push_delta(self, encoded: Encoded, delta: Delta) -> bool:
        if self._joining is None:
            self._joining = {}
        key = (delta.namespace, delta.stream, None if self._mixes else delta.message_id)
        joined = self._joining.get(key)
        if joined is None or not joined.continued_by(delta):
            self._joining[key] = joined = _Joined(encoded, delta)
            return self._append(joined, joined.size)
        added = joined.cost(delta)
        if self.size + added > self._limits.hard:
            return False
        joined.add(delta, added)
        self.size += added
        return True

    def _append(self, item: Encoded | _Joined, size: int) -> bool:
        if self._items and self.size + size > self._limits.hard:
            return False
        self._items.append(item)
        self.size += size
        return True


_ENTRY: Final = 32
"""Bytes of a message's entry in a mixed packet, beside its id and text."""


class _Joined:
    """One or more contiguous deltas. The texts are kept as bytes: as many strings as there were tokens
    would take ten times as much as what they say."""

    __slots__ = ("_delta", "_encoded", "_last", "_texts", "size")

    def __init__(self, encoded: Encoded, delta: Delta) -> None:
        self._encoded: Final = encoded
        self._delta: Final = delta
        self._texts: dict[str, bytearray] | None = None
        self._last = delta.last
        self.size = encoded.size

    def continued_by(self, delta: Delta) -> bool:
        return delta.epoch == self._delta.epoch and delta.since == self._last

    def cost(self, delta: Delta) -> int:
        """By how many bytes `add` would make it larger."""
        size = len(_raw(delta.text))
        known = self._texts or (self._delta.message_id,)
        return size if delta.message_id in known else size + len(delta.message_id) + _ENTRY

    def add(self, delta: Delta, added: int) -> None:
        texts = self._texts
        if texts is None:
            texts = self._texts = {self._delta.message_id: bytearray(_raw(self._delta.text))}
        if delta.message_id not in texts:
            texts[delta.message_id] = bytearray()
        texts[delta.message_id] += _raw(delta.text)
        self._last = delta.last
        self.size += added

    def encode(self) -> Encoded:
        if self._texts is None:
            return self._encoded
        texts = {one: raw.decode("utf-8", _HALVES) for one, raw in self._texts.items()}
        return self._delta.encode(self._delta.since, self._last, texts)


_HALVES: Final = "surrogatepass"
"""Half an emoji is kept as it is; what travels is repaired where JSON is made of it."""


def _raw(text: str) -> bytes:
    return text.encode("utf-8", _HALVES)
