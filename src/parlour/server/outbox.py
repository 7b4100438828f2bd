"""What waits to be written to one connection: bounded, and forgiving to a slow reader of text.

Below the high-water mark packets wait as they came. Beyond it the deltas of one message are joined:
the newest position wins, the text is concatenated, nothing else is dropped or overtaken. Beyond the
hard limit the outbox refuses, and its owner closes the connection, which resumes by position."""

from __future__ import annotations

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
    deltas by the size of the packets that went in."""

    __slots__ = ("_items", "_joining", "_limits", "size")

    def __init__(self, limits: OutboxLimits = DEFAULT_LIMITS) -> None:
        self._limits: Final = limits
        self._items: list[Encoded | _Joined] = []
        self._joining: dict[tuple[str, str, str], _Joined] | None = None
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
        key = (delta.namespace, delta.stream, delta.message_id)
        joined = self._joining.get(key)
        if joined is None or not joined.continued_by(delta):
            self._joining[key] = joined = _Joined(encoded, delta)
            return self._append(joined, joined.size)
        added = len(delta.text.encode("utf-8", "replace"))
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


class _Joined:
    """One or more contiguous deltas of one message."""

    __slots__ = ("_delta", "_encoded", "_last", "_texts", "size")

    def __init__(self, encoded: Encoded, delta: Delta) -> None:
        self._encoded: Final = encoded
        self._delta: Final = delta
        self._texts = [delta.text]
        self._last = delta.last
        self.size = encoded.size

    def continued_by(self, delta: Delta) -> bool:
        return delta.epoch == self._delta.epoch and delta.since == self._last

    def add(self, delta: Delta, added: int) -> None:
        self._texts.append(delta.text)
        self._last = delta.last
        self.size += added

    def encode(self) -> Encoded:
        if len(self._texts) == 1:
            return self._encoded
        return self._delta.encode(self._delta.since, self._last, "".join(self._texts))
