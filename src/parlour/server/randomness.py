"""Random ids without a system call for each.

A connection needs three; asking the kernel for 15 bytes costs more than the rest of opening it on
some machines. So its bytes are taken in blocks. They are as unpredictable as single ones; a forked
process starts with an empty block, so that two never hand out the same."""

from __future__ import annotations

import binascii
import os
from typing import Final

_BLOCK: Final = 4096
_TOKEN: Final = 15
"""Bytes of a connection's id: 120 bits, 20 characters without padding."""


class RandomBytes:
    """The kernel's random bytes, fetched in blocks; no byte is given twice."""

    __slots__ = ("_at", "_block")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Throw away what was fetched."""
        self._block = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        """`count` bytes, at most a block."""
        at = self._at
        end = at + count
        if end > len(self._block):
            self._block = os.urandom(max(_BLOCK, count))
            at, end = 0, count
        self._at = end
        return self._block[at:end]


_random: Final = RandomBytes()
os.register_at_fork(after_in_child=_random.forget)


def random_bytes(count: int) -> bytes:
    return _random.take(count)


def connection_id() -> str:
    """An id that nobody can guess, safe in an URL."""
    text = binascii.b2a_base64(_random.take(_TOKEN), newline=False)
    return text.decode("ascii").replace("+", "-").replace("/", "_")
