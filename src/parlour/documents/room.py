"""The connections of this node that have one document open, and what they are sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from parlour.core.documents import AwarenessState, room_of, write_awareness
from parlour.documents.participants import Moved, Participant, Participants
from parlour.documents.replica import Told
from parlour.server.connections import Connection
from parlour.server.hub import Hub
from parlour.wire.documents import in_form
from parlour.wire.packets import Encoded, join_encoded
from parlour.wire.told import (
    ACCESS_UPDATED,
    AWARENESS_UPDATE,
    DOCUMENT_UPDATE,
    USER_JOINED,
    USER_LEFT,
    AwarenessTold,
    DocumentUpdateTold,
)

Wire = dict[str, Any]


@dataclass(slots=True)
class Member:
    """A connection in the document; `listed` says that it takes arrays instead of bytes."""

    connection: Connection
    listed: bool
    writes: bool
    access_version: int


class Room:
    """`left` hears of each connection that is out, for whatever reason."""

    def __init__(
        self, document_id: str, node_id: str, hub: Hub, left: Callable[[Connection], None]
    ) -> None:
        self.document_id = document_id
        self.name = room_of(document_id)
        self.members: dict[Connection, Member] = {}
        self.participants = Participants()
        self._node_id = node_id
        self._hub = hub
        self._left = left

    def __len__(self) -> int:
        return len(self.members)

    # -- coming and going ------------------------------------------------------------------------

    def enter(self, member: Member, participant: Participant) -> Moved:
        """Let a connection in, or renew what it said at its last join. The others are told."""
        connection = member.connection
        if connection not in self.members:
            self.members[connection] = member
            self._hub.join(self.name, connection, lambda: self._out(connection))
        else:
            self.members[connection] = member
            known = self.participants.find(self._node_id, connection.sid)
            participant.states = known.states if known is not None else {}
        moved = self.participants.enter(self._node_id, [participant])
        self.tell_moved(moved, skip=connection)
        return moved

    def expel(self, connection: Connection, reason: str) -> None:
        """Take a connection out, and tell it why."""
        self._hub.leave(self.name, connection)
        connection.send(ACCESS_UPDATED.encode({"room": self.name, "reason": reason}))

    def leave(self, connection: Connection) -> None:
        self._hub.leave(self.name, connection)

    def _out(self, connection: Connection) -> None:
        if self.members.pop(connection, None) is not None:
            self._left(connection)

    def withdraw(self, sid: str) -> Moved:
        """Forget the participant behind a connection of this node; the others are told."""
        moved = self.participants.leave(self._node_id, [sid])
        self.tell_moved(moved)
        return moved

    # -- telling ---------------------------------------------------------------------------------

    def tell(self, changes: Sequence[Told], generation: int) -> None:
        """Updates, each to everybody but the connection that it came from. What was stored together leaves
        together: one write to each member."""
        if not self.members:
            return
        authors = {one.author.sid for one in changes if one.author is not None}
        writers = [one for sid in authors if (one := self._hub.connection(sid or "")) is not None]
        for listed in {member.listed for member in self.members.values()}:
            packets = [self._update(told, generation, listed) for told in changes]
            whole = join_encoded(packets)
            for connection, member in list(self.members.items()):
                if member.listed is listed and connection not in writers:
                    connection.link.send(whole)
            for connection in writers:
                member_of = self.members.get(connection)
                if member_of is not None and member_of.listed is listed:
                    self._tell_writer(connection, changes, packets)

    def _tell_writer(
        self, connection: Connection, changes: Sequence[Told], packets: Sequence[Encoded]
    ) -> None:
        others = [
            packet
            for told, packet in zip(changes, packets, strict=True)
            if told.author is None or told.author.sid != connection.sid
        ]
        if others:
            connection.send(join_encoded(others))

    def _update(self, told: Told, generation: int, listed: bool) -> Encoded:
        author = told.author
        payload: DocumentUpdateTold = {
            "document_id": self.document_id,
            "update": in_form(told.update, listed),
            "user_id": None if author is None else author.user_id,
            "socket_id": None if author is None else author.sid,
            "generation": generation,
            "offset": told.offset,
        }
        return DOCUMENT_UPDATE.encode(payload)

    def tell_states(
        self, states: Sequence[AwarenessState], *, speaker: Participant | None = None
    ) -> None:
        """Awareness, to everybody but who said it."""
        if not states:
            return
        user_id, sid = (None, None) if speaker is None else (speaker.user_id, speaker.sid)
        update = write_awareness(list(states))
        # Encoded once for each of the two forms that somebody uses.
        forms: dict[bool, Encoded] = {}
        for connection, member in list(self.members.items()):
            if sid is not None and connection.sid == sid:
                continue
            encoded = forms.get(member.listed)
            if encoded is None:
                payload: AwarenessTold = {
                    "document_id": self.document_id,
                    "user_id": user_id,
                    "socket_id": sid,
                    "update": in_form(update, member.listed),
                }
                encoded = forms[member.listed] = AWARENESS_UPDATE.encode(payload)
            connection.send(encoded)

    def tell_moved(self, moved: Moved, *, skip: Connection | None = None) -> None:
        """Who came and who left."""
        sid = None if skip is None else skip.sid
        for event, people in ((USER_JOINED, moved.joined), (USER_LEFT, moved.left)):
            for one in people:
                self.tell_encoded(event.encode(one.person(self.document_id)), skip=sid)
        self.tell_states(moved.states)

    def tell_encoded(self, encoded: Encoded, *, skip: str | None = None) -> None:
        """Something without bytes in it."""
        for connection in list(self.members):
            if connection.sid != skip:
                connection.send(encoded)

    def greet(self, member: Member) -> None:
        """Give a newcomer everybody's awareness."""
        states = self.participants.states()
        if states:
            payload: AwarenessTold = {
                "document_id": self.document_id,
                "user_id": None,
                "socket_id": None,
                "update": in_form(write_awareness(states), member.listed),
            }
            member.connection.send(AWARENESS_UPDATE.encode(payload))
