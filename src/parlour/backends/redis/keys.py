"""How keys are called, so that one atomic step never needs two shards of a Cluster.

On a single server the keys of a stream share the hash tag `{stream}`, and indexes over all streams
are one key each. A Cluster puts every hash tag somewhere else, so there the streams are spread over
a fixed number of partitions, `{p00}` to `{p63}`; a partition's streams and its part of each index
share the tag, and a script still changes both in one step.
"""

from __future__ import annotations

from functools import lru_cache
from zlib import crc32

PARTITIONS = 64
"""Partitions in a Cluster: enough to spread over any number of shards that one would run. Never
changes for data that exist."""

STREAM_PARTS = ("window", "meta", "receipts", "queue", "counted")
STREAM_INDEXES = ("dirty", "active", "totals")


class Keys:
    """Names of keys and channels under a prefix; `partitions` is 0 on a single server."""

    def __init__(self, prefix: str, partitions: int = 0) -> None:
        self.prefix = prefix
        self.partitions = partitions

    def own(self, name: str) -> str:
        """What the keys that belong to one thing begin with."""
        if not self.partitions:
            return f"{self.prefix}:{{{name}}}"
        return f"{self.prefix}:{{{self._partition(name)}}}:{name}"

    def index(self, index: str, name: str) -> str:
        """The part of an index in which `name` stands."""
        if not self.partitions:
            return f"{self.prefix}:{index}"
        return f"{self.prefix}:{{{self._partition(name)}}}:{index}"

    def parts(self, index: str) -> list[str]:
        """All parts of an index."""
        if not self.partitions:
            return [f"{self.prefix}:{index}"]
        return [f"{self.prefix}:{{p{number:02}}}:{index}" for number in range(self.partitions)]

    def stream(self, stream: str) -> tuple[str, ...]:
        """The keys of `lua/stream.lua`."""
        return _stream_keys(self.prefix, self.partitions, stream)

    def _partition(self, name: str) -> str:
        return f"p{crc32(name.encode()) % self.partitions:02}"


@lru_cache(maxsize=8192)
def _stream_keys(prefix: str, partitions: int, stream: str) -> tuple[str, ...]:
    keys = Keys(prefix, partitions)
    return (
        *(f"{keys.own(stream)}:{part}" for part in STREAM_PARTS),
        *(keys.index(index, stream) for index in STREAM_INDEXES),
    )
