"""The limits of the wire: each bounds what one peer can make a node hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes are counted as they travel; a limit is inclusive (a payload of exactly `max_payload`
    bytes passes). Breaking one is a `ProtocolError`, an oversized payload a `PayloadTooLarge`."""

    max_payload: int = 1_000_000
    """Bytes of one WebSocket message, one long-polling body, or one Socket.IO packet together with
    its attachments. Told to the client as `maxPayload`."""

    max_attachments: int = 64
    """Binary attachments of one packet."""

    max_depth: int = 64
    """Nesting of JSON arrays and objects, the packet's own array included."""

    max_packets: int = 1_000
    """Engine.IO packets in one long-polling body."""

    max_event_name: int = 200
    """Characters of an event's name."""

    max_namespace: int = 128
    """Characters of a namespace's name."""

    max_namespaces: int = 8
    """Namespaces that one connection may be in, or be waiting to enter."""

    max_pending_acks: int = 1_000
    """Unanswered calls to one client in one namespace."""


DEFAULT_LIMITS = Limits()
