"""A document that somebody here has open: its replica, its room, its saving, its talk with other nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from parlour.core.documents import AwarenessState, note_of, read_awareness, write_awareness
from parlour.documents.content import Content, read_content, shown_title, to_text
from parlour.documents.html import to_html
from parlour.documents.markdown_out import to_markdown
from parlour.documents.participants import Participant
from parlour.documents.relay import pack, topic_of, unpack
from parlour.documents.replica import Author, Replica, Stored, Told
from parlour.documents.room import Member, Room
from parlour.documents.saving import Saver
from parlour.errors import NotFound, ParlourError
from parlour.ports import DocumentHead, NoteText
from parlour.server.connections import Connection
from parlour.wire.socketio import encode_event
from parlour.wire.told import NOTE_SAVED, NoteSaved

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

Wire = dict[str, Any]


class OpenDocument:
    """Made by `Documents.acquire`. `saved` hears of each new version of the text, `ended` that the
    document is over here."""

    def __init__(
        self,
        node: Node,
        document_id: str,
        *,
        saved: Callable[[OpenDocument, Content, int], None],
        ended: Callable[[OpenDocument, ParlourError], None],
    ) -> None:
        settings = node.settings
        self.id = document_id
        self.note_id = note_of(document_id)
        self.holds = 0
        self.idle_since = 0.0
        self.room = Room(document_id, node.id, node.hub, self._left)
        self.replica = Replica(
            document_id,
            node.documents,
            node.tasks,
            limit=settings.max_document_bytes,
            tell=self._tell,
            publish=self._publish_stored,
            ended=self._ended,
        )
        self.saver = Saver(
            self._save,
            node.clock,
            node.tasks,
            after=settings.document_save_seconds,
            at_most=settings.document_save_limit_seconds,
        )
        self._node = node
        self._saved = saved
        self._told_ended = ended
        self._unsubscribe: Callable[[], Any] = _nothing
        self._alone = settings.embedded
        self._outgoing: list[bytes] = []
        self._sending: asyncio.Task[None] | None = None

    # -- life ------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Listen first, then read: what is told in between is merged by its offset."""
        if not self._alone:
            self._unsubscribe = await self._node.bus.subscribe(topic_of(self.id), self._hear)
        try:
            await self.replica.open()
        except BaseException:
            self._unsubscribe()
            raise
        self._publish({"t": "who"})

    async def close(self) -> None:
        """Save and store what there is, then let go."""
        try:
            await self.saver.flush()
        except ParlourError as error:
            log.warning("a document was not saved", document=self.id, error=str(error))
        await self.replica.close()
        self._unsubscribe()
        if self._sending is not None:
            await asyncio.wait({self._sending})

    # -- connections -----------------------------------------------------------------------------

    def enter(self, member: Member, color: str) -> None:
        """Let a connection in. Nothing waits: what it gets next is live."""
        connection = member.connection
        user = connection.user
        participant = Participant(
            connection.sid, connection.session.id, user.id, user.name, color or color_of(user.id)
        )
        self.room.enter(member, participant)
        self._publish({"t": "in", "people": [participant.to_wire()]})

    def _left(self, connection: Connection) -> None:
        self.room.withdraw(connection.sid)
        self._publish({"t": "out", "sids": [connection.sid]})
        self.idle_since = self._node.clock.monotonic()
        if not self.room.members and self.saver.waiting and not self._node.tasks.closed:
            self._node.tasks.spawn(self._flush_later(), f"save {self.id}")

    async def _flush_later(self) -> None:
        try:
            await self.replica.settled()
            await self.saver.flush()
        except ParlourError as error:
            log.warning("a document is not saved yet", document=self.id, error=str(error))

    def say(self, connection: Connection, update: bytes) -> None:
        """A connection's awareness. Raises `InvalidPayload`."""
        participants = self.room.participants
        states = read_awareness(update)
        news = participants.tell(self._node.id, connection.sid, states)
        self._tell_states(connection.sid, news)

    def _tell_states(self, sid: str, news: list[AwarenessState]) -> None:
        if news:
            speaker = self.room.participants.find(self._node.id, sid)
            self.room.tell_states(news, speaker=speaker)
            self._publish({"t": "aware", "sid": sid}, write_awareness(news))

    # -- changes ---------------------------------------------------------------------------------

    def _tell(self, changes: Sequence[Told]) -> None:
        self.room.tell(changes, self.replica.generation)

    def _publish_stored(self, stored: Stored) -> None:
        self.saver.touch()
        if self._alone:
            return
        authors = [
            None if one.author is None else [one.author.user_id, one.author.sid]
            for one in stored.changes
        ]
        head = {
            "t": "updates",
            "generation": stored.generation,
            "epoch": stored.epoch,
            "first": stored.first,
            "authors": authors,
        }
        self._publish(head, *(one.update for one in stored.changes))

    def _ended(self, error: ParlourError) -> None:
        reason = "deleted" if isinstance(error, NotFound) else "reset"
        for connection in list(self.room.members):
            self.room.expel(connection, reason)
        self._told_ended(self, error)

    # -- saving ----------------------------------------------------------------------------------

    def content(self) -> Content:
        """What the document says now. Raises what ended the document."""
        if self.replica.over is not None:
            raise self.replica.over
        return read_content(self.replica.live.doc)

    async def _save(self) -> None:
        replica = self.replica
        head, offset = replica.head, replica.known
        content = self.content()
        derive = partial(derive_text, content, head, offset)
        # A large text would hold up everybody else's turn.
        large = head.log_bytes + head.snapshot_bytes > RENDERED_AT_ONCE
        derived = await asyncio.to_thread(derive) if large else derive()
        now = self._node.clock.now_ms()
        version = await self._node.notes.save(self.note_id, derived, now)
        if version is None:
            return
        payload: NoteSaved = {
            "note_id": self.note_id,
            "document_id": self.id,
            "version": version,
            "title": derived.title,
            "offset": offset,
            "at": now,
        }
        self.room.tell_encoded(NOTE_SAVED.encode(payload))
        self._publish({"t": "event", "event": NOTE_SAVED.name, "payload": payload})
        self._saved(self, content, version)

    # -- between nodes ---------------------------------------------------------------------------

    def announce(self) -> None:
        """Tell the other nodes everybody who is here: heals what they missed."""
        if self.room.members:
            self._publish_people()

    def tell_access(self) -> None:
        """What the note grants has changed: every node asks again."""
        self._publish({"t": "access"})

    def _publish_people(self) -> None:
        people = [one.to_wire() for one in self.room.participants.of(self._node.id)]
        self._publish({"t": "people", "people": people})

    def _publish(self, head: Wire, *blobs: bytes) -> None:
        if self._alone or self._node.tasks.closed:
            return
        self._outgoing.append(pack({**head, "from": self._node.id}, blobs))
        if self._sending is None or self._sending.done():
            self._sending = self._node.tasks.spawn(self._send(), f"tell of {self.id}")

    async def _send(self) -> None:
        """What is lost here is read from the store, or told again."""
        while self._outgoing:
            messages, self._outgoing = self._outgoing, []
            for message in messages:
                try:
                    await self._node.bus.publish(topic_of(self.id), message)
                except ParlourError as error:
                    log.warning("other nodes were not told", document=self.id, error=str(error))
                    return

    def _hear(self, message: bytes) -> None:
        head, blobs = unpack(message)
        sender = head["from"]
        if sender == self._node.id:
            return
        participants, room = self.room.participants, self.room
        match head["t"]:
            case "updates":
                authors = [None if one is None else Author(*one) for one in head["authors"]]
                updates = list(zip(blobs, authors, strict=True))
                self.replica.hear(head["generation"], head["epoch"], head["first"], updates)
            case "aware":
                news = participants.tell(sender, head["sid"], read_awareness(blobs[0]))
                room.tell_states(news, speaker=participants.find(sender, head["sid"]))
            case "in":
                people = [Participant.from_wire(one) for one in head["people"]]
                room.tell_moved(participants.enter(sender, people))
            case "out":
                room.tell_moved(participants.leave(sender, head["sids"]))
            case "people":
                people = [Participant.from_wire(one) for one in head["people"]]
                room.tell_moved(participants.replace(sender, people))
            case "who":
                self.announce()
            case "event":
                room.tell_encoded(encode_event(head["event"], [head["payload"]]))
            case "access":
                self.review()

    def review(self) -> None:
        """Ask again who may be here; set by the manager."""

    def departed(self, node_id: str) -> None:
        """Another node died: its people are gone, and what it had not saved is saved here."""
        if self.room.participants.of(node_id):
            self.room.tell_moved(self.room.participants.depart(node_id))
            self.saver.touch()


RENDERED_AT_ONCE = 50_000
"""Bytes of a document up to which its text is derived without a thread."""


def derive_text(content: Content, head: DocumentHead, offset: int) -> NoteText:
    """What is kept of a document beside the document."""
    return NoteText(
        title=shown_title(content),
        markdown=to_markdown(content.body),
        html=to_html(content.body),
        text=to_text(content.body),
        generation=head.generation,
        epoch=head.epoch,
        offset=offset,
    )


COLORS = ("#b4232a", "#1d6f42", "#1f5fbf", "#8a4b08", "#6b3fa0", "#0f766e", "#a21a68", "#4d5b12")


def color_of(user_id: str) -> str:
    """The colour of somebody who chose none: always the same."""
    return COLORS[sum(user_id.encode()) % len(COLORS)]


def _nothing() -> None:
    return None
