"""Epoch names: a counter that orders them, and randomness that keeps strangers apart.

`2-9fk3c1x0ab` is the second renewal. Where two nodes re-open one stream at the same moment the
higher counter wins, in the archive and in Redis alike; without an order they could disagree for
good. The name is opaque to everybody else.
"""

from __future__ import annotations

import secrets


def first_epoch() -> str:
    return _name(1)


def next_epoch(epoch: str) -> str:
    """An epoch that is newer than `epoch`."""
    return _name(epoch_order(epoch) + 1)


def epoch_order(epoch: str) -> int:
    """How often the stream's epoch was renewed; 0 for names that are not ours."""
    counter, dash, _ = epoch.partition("-")
    return int(counter) if dash and counter.isdecimal() else 0


def _name(counter: int) -> str:
    return f"{counter}-{secrets.token_hex(5)}"
