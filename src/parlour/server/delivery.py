"""From a feed to this node's sockets: each event is encoded once, whoever hears it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from parlour.core.channels import ends_access
from parlour.core.streams import Event
from parlour.core.thread import ACCESS, DELTA, DELTAS
from parlour.native import tell
from parlour.server.hub import Hub
from parlour.server.large_rooms import LARGE, LargeRooms
from parlour.wire.events import event_name, event_payload
from parlour.wire.packets import Encoded, join_encoded
from parlour.wire.socketio import MAIN, encode_event, encode_plain
from parlour.wire.told import ACCESS_UPDATED


class Delivery:
    """Broadcasts stream events to the room of the same name."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._large_rooms = LargeRooms(hub, _encode)
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
        audience = self._hub.audience(stream)
        if not audience:
            return
        if stream.startswith("channel:"):
            events = self._until_shut_out(stream, events)
            audience = self._hub.audience(stream)
        elif (len(events) > 1 or events[0].type == ACCESS) and _changes_access(stream, events):
            events = self._until_access_changed(stream, events)
            audience = self._hub.audience(stream)
        if not events:
            return
        large = self._large_rooms
        if (len(audience) > LARGE or large.telling) and large.take(stream, audience, events):
            return
        tell(audience, _encode(events))

    def _until_shut_out(self, stream: str, events: Sequence[Event]) -> list[Event]:
        """Whom an event shuts out hears this event and nothing after it; gives back what is left to tell."""
        held: list[Event] = []
        for event in events:
            held.append(event)
            if ends_access(event.type, event.data.get("body", {})):
                try:
                    self._tell_at_once(stream, held)
                finally:
                    # Also where a connection failed: access ends for the others all the same.
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
                try:
                    self._tell_at_once(stream, held)
                finally:
                    self.access_changed(event)  # as above
                held = []
        return held

    def _tell_at_once(self, stream: str, events: Sequence[Event]) -> None:
        try:
            self._large_rooms.finish(stream)
        finally:
            tell(self._hub.audience(stream), _encode(events))

    def lost(self, stream: str) -> None:
        """Continuity is broken: everybody is told to subscribe again; who followed by position leaves."""
        notice = ACCESS_UPDATED.encode({"room": stream, "reason": "position_lost"})
        self._large_rooms.drop(stream)
        renewed = self.renew(stream)
        if renewed and stream.startswith("channel:"):
            self.review(stream)
        for connection in self._hub.members(stream):
            if not renewed or connection.rooms[stream] is not None:
                self._hub.leave(stream, connection)
            connection.send(notice)


def _changes_access(stream: str, events: Sequence[Event]) -> bool:
    return stream.startswith("thread:") and any(event.type == ACCESS for event in events)


def _encode(events: Sequence[Event]) -> Encoded:
    if len(events) == 1:
        return encode_stream_event(events[0])
    # What was appended together leaves together: one write to each member.
    return join_encoded([_encode_run(run) for run in _runs(events)])


def _runs(events: Sequence[Event]) -> list[list[Event]]:
    """The events in order, deltas of one message that follow each other together: they leave as one."""
    runs: list[list[Event]] = []
    last: tuple[str, str | None, str] | None = None
    for event in events:
        text = (event.data["id"], event.cause, event.source) if _is_delta(event) else None
        if text is not None and text == last:
            runs[-1].append(event)
        else:
            runs.append([event])
        last = text
    return runs


def _encode_run(run: list[Event]) -> Encoded:
    first = run[0]
    if len(run) == 1:
        return encode_stream_event(first)
    data = {"id": first.data["id"], "text": "".join([event.data["text"] for event in run])}
    whole = replace(first, offset=run[-1].offset, data=data)
    return _encode_delta(whole, first.offset - 1)


def _nobody(event: Event) -> None:
    return None


def _unreviewed(stream: str) -> None:
    return None


def _nowhere(stream: str) -> bool:
    return False


def encode_stream_event(event: Event) -> Encoded:
    """One event as a packet; a text delta says how a slow reader's outbox may join it with the
    next."""
    if event.type == DELTA and _is_delta(event):
        return _encode_delta(event, event.offset - 1)
    return encode_event(event_name(event.stream), [event_payload(event)])


def _is_delta(event: Event) -> bool:
    """Whether it can be joined with others: apps may write what they like under this type."""
    data = event.data
    return event.type == DELTA and type(data.get("text")) is str and type(data.get("id")) is str


def _encode_delta(event: Event, since: int) -> Encoded:
    """A delta that takes the reader from `since` to the event's offset."""
    payload = event_payload(event)
    payload["since"] = since
    return encode_plain(event_name(event.stream), payload, _Delta(event, since))


class _Delta:
    """`wire.packets.Delta`; nobody asks for it but the outbox of a slow reader."""

    __slots__ = ("_event", "since")

    namespace: ClassVar[str] = MAIN

    def __init__(self, event: Event, since: int) -> None:
        self._event = event
        self.since = since

    @property
    def stream(self) -> str:
        return self._event.stream

    @property
    def message_id(self) -> str:
        message_id: str = self._event.data["id"]
        return message_id

    @property
    def epoch(self) -> str:
        return self._event.epoch

    @property
    def last(self) -> int:
        return self._event.offset

    @property
    def text(self) -> str:
        text: str = self._event.data["text"]
        return text

    def encode(self, since: int, last: int, texts: Mapping[str, str]) -> Encoded:
        """One event that takes the reader from `since` to `last`."""
        first = self._event
        parts = [{"id": message_id, "text": text} for message_id, text in texts.items()]
        one = len(parts) == 1
        data = parts[0] if one else {"deltas": parts}
        event = replace(first, type=DELTA if one else DELTAS, offset=last, data=data)
        return encode_event(event_name(first.stream), [{**event_payload(event), "since": since}])
