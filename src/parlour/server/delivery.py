"""From a feed to this node's sockets: each event is encoded once, whoever hears it."""

from __future__ import annotations

from functools import partial
from typing import Any

from parlour.core.streams import Event
from parlour.core.thread import DELTA
from parlour.server.hub import Hub
from parlour.wire.events import event_name, event_payload
from parlour.wire.packets import Delta, Encoded
from parlour.wire.socketio import encode_event, join_encoded


class Delivery:
    """Broadcasts stream events to the room of the same name."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def events(self, stream: str, events: list[Event]) -> None:
        if not self._hub.occupied(stream):
            return
        # What was appended together leaves together: one write to each member.
        self._hub.broadcast(stream, join_encoded([encode_stream_event(event) for event in events]))

    def lost(self, stream: str) -> None:
        """Continuity is broken: everybody leaves the room and is told to subscribe again."""
        notice = encode_event("access:updated", [{"room": stream, "reason": "position_lost"}])
        for connection in self._hub.members(stream):
            self._hub.leave(stream, connection)
            connection.send(notice)


def encode_stream_event(event: Event) -> Encoded:
    """One event as a packet; a text delta says how a slow reader's outbox may join it with the
    next."""
    name, payload = event_name(event.stream), event_payload(event)
    if event.type != DELTA:
        return encode_event(name, [payload])
    payload["since"] = event.offset - 1
    delta = Delta(
        stream=event.stream,
        message_id=event.data["id"],
        epoch=event.epoch,
        since=event.offset - 1,
        last=event.offset,
        text=event.data["text"],
        encode=partial(_encode_joined, name, payload),
    )
    return encode_event(name, [payload], delta=delta)


def _encode_joined(name: str, first: dict[str, Any], since: int, last: int, text: str) -> Encoded:
    """Several deltas of one message as one event that takes the reader from `since` to `last`."""
    data = {"type": DELTA, "data": {"id": first["message_id"], "text": text}}
    payload = {
        **first,
        "data": data,
        "since": since,
        "offset": last,
        "id": f"{first['epoch']}:{last}",
    }
    return encode_event(name, [payload])
