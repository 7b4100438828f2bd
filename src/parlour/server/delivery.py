"""From a feed to this node's sockets: each event is encoded once, whoever hears it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from parlour.core.channels import ends_access
from parlour.core.streams import Event
from parlour.core.thread import ACCESS, DELTA
from parlour.server.hub import Hub
from parlour.wire.events import event_name, event_payload
from parlour.wire.packets import Delta, Encoded, join_encoded
from parlour.wire.socketio import encode_event


class Delivery:
    """Broadcasts stream events to the room of the same name."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.renew: Callable[[str], bool] = _nowhere
        """Follows a stream anew on behalf of those whom the server itself put into its room; whether
        there are any."""

        self.shut_out: Callable[[Event], None] = _nobody
        """Takes those out of a channel's room who may no longer read it after this event."""
        self.review: Callable[[str], None] = _unreviewed
        """The same where it is not known what was missed."""
        self.access_changed: Callable[[Event], None] = _nobody
        """Takes those out of a conversation's room who may no longer read it."""

    def events(self, stream: str, events: Sequence[Event]) -> None:
        if not self._hub.occupied(stream):
            return
        if stream.startswith("channel:"):
            events = self._until_shut_out(stream, events)
        elif stream.startswith("thread:") and any(event.type == ACCESS for event in events):
            events = self._until_access_changed(stream, events)
        if events:
            self._broadcast(stream, events)

    def _until_shut_out(self, stream: str, events: Sequence[Event]) -> list[Event]:
        """Whom an event shuts out hears this event and nothing after it; gives back what is left to tell."""
        held: list[Event] = []
        for event in events:
            held.append(event)
            if ends_access(event.type, event.data.get("body", {})):
                self._broadcast(stream, held)
                self.shut_out(event)
                held = []
        return held

    def _until_access_changed(self, stream: str, events: Sequence[Event]) -> list[Event]:
        """What stands before a change of access, and the change itself, leave before anybody is asked for
        again; gives back what is left to tell."""
        held: list[Event] = []
        for event in events:
            held.append(event)
            if event.type == ACCESS:
                self._broadcast(stream, held)
                self.access_changed(event)
                held = []
        return held

    def _broadcast(self, stream: str, events: Sequence[Event]) -> None:
        # What was appended together leaves together: one write to each member.
        self._hub.broadcast(stream, join_encoded([encode_stream_event(event) for event in events]))

    def lost(self, stream: str) -> None:
        """Continuity is broken: everybody is told to subscribe again; who followed by position leaves."""
        notice = encode_event("access:updated", [{"room": stream, "reason": "position_lost"}])
        renewed = self.renew(stream)
        if renewed and stream.startswith("channel:"):
            self.review(stream)
        for connection in self._hub.members(stream):
            if not renewed or connection.rooms[stream] is not None:
                self._hub.leave(stream, connection)
            connection.send(notice)


def _nobody(event: Event) -> None:
    return None


def _unreviewed(stream: str) -> None:
    return None


def _nowhere(stream: str) -> bool:
    return False


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
