"""How much of the streams a hot log holds, and when it stops taking more."""

from __future__ import annotations

from dataclasses import dataclass

from parlour.core.streams import NewEvent

MESSAGE = "message"
"""The event type that counts against `WindowLimits.messages`; token deltas and steps do not."""


@dataclass(frozen=True, slots=True)
class WindowLimits:
    """Bounds of a hot log.

    Per stream the newest part within `messages`, `events` and `bytes` is held; what is older leaves
    as soon as the archive has it. `unsynced_events` and `unsynced_bytes` bound what the archive
    does not have yet: an append beyond them is refused with `Unavailable`. `event_bytes` is the
    largest single event; `expiry_ms` is how long a resting stream is held.
    """

    messages: int = 1000
    events: int = 20_000
    bytes: int = 8_000_000
    unsynced_events: int = 1_000_000
    unsynced_bytes: int = 256_000_000
    event_bytes: int = 2_000_000
    expiry_ms: int = 1_200_000


def counts(event: NewEvent) -> bool:
    """Whether an event counts as a message."""
    return event.type == MESSAGE
