"""One change of a channel: its transaction, who asks, and what will be told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, select

from parlour.backends.sql.announcements import NewData, announce
from parlour.backends.sql.channel_rows import channel_row, message_row
from parlour.backends.sql.channel_schema import channel_members, grants
from parlour.backends.sql.schema import users
from parlour.core.access import Kind, principals_of
from parlour.core.channels import (
    Act,
    ChannelKind,
    ChannelLimits,
    Role,
    Standing,
    permits,
)
from parlour.core.users import User
from parlour.errors import Forbidden, NotFound
from parlour.wire.records import Person

CHANNEL = "channel:"


@dataclass(slots=True)
class Work:
    """The connection of the transaction and what the change says about it."""

    connection: Connection
    actor: User
    at: int
    limits: ChannelLimits
    cause: str | None
    told: list[tuple[str, str]] = field(default_factory=list)

    def tell_channel(self, channel_id: str, *events: tuple[str | None, NewData]) -> None:
        """Announce `(message id, event)` in the channel's stream; they are appended
        together."""
        self._tell(
            CHANNEL + channel_id,
            [
                (type, {"message_id": about, "user": self.actor.author(), "body": body})
                for about, (type, body) in events
            ],
        )

    def tell_user(self, user_id: str, event: NewData) -> None:
        """Announce in a user's own stream, which all of the user's tabs may hear."""
        self._tell(f"user:{user_id}", [event])

    def _tell(self, stream: str, events: Sequence[NewData]) -> None:
        source = f"user:{self.actor.id}"
        told = announce(
            self.connection, stream, events, source=source, cause=self.cause, at=self.at
        )
        self.told.append(told)

    # -- who may ---------------------------------------------------------------------------------

    def lock(self, channel_id: str, act: Act) -> tuple[Row[Any], Standing]:
        """The channel, alone for this transaction, if the actor may do this there. Raises
        `NotFound` for who may not even read it, `Forbidden`."""
        row, found = self.find(channel_id, lock=True)
        self.require(found, act)
        return row, found

    def find(self, channel_id: str, *, lock: bool) -> tuple[Row[Any], Standing]:
        """The channel and where the actor stands there. Raises `NotFound`."""
        row = channel_row(self.connection, channel_id, lock=lock)
        found = None if row is None else standing(self.connection, row, self.actor)
        if row is None or found is None or not found.reads:
            raise NotFound("There is no channel with this id.")
        return row, found

    def require(self, found: Standing, act: Act) -> None:
        if not permits(found, act):
            raise Forbidden("You may not do this in this channel.")

    def message(self, channel_id: str, message_id: str) -> Row[Any]:
        """A message that is not deleted. Raises `NotFound`."""
        row = message_row(self.connection, channel_id, message_id)
        if row is None or row.deleted_at is not None:
            raise NotFound("There is no such message in this channel.")
        return row

    def people(self, user_ids: Sequence[str]) -> dict[str, Person]:
        """Users by id, as others see them. Raises `NotFound` where one does not exist or is
        disabled."""
        query = select(users.c.id, users.c.name).where(
            users.c.id.in_(list(user_ids)), users.c.disabled.is_(False)
        )
        found: dict[str, Person] = {
            row.id: {"id": row.id, "name": row.name} for row in self.connection.execute(query)
        }
        if len(found) != len(set(user_ids)):
            raise NotFound("There is no such user.")
        return found


def standing(connection: Connection, row: Row[Any], user: User) -> Standing:
    """Where a user stands in a channel."""
    role = connection.scalar(
        select(channel_members.c.role).where(
            channel_members.c.channel_id == row.id, channel_members.c.user_id == user.id
        )
    )
    kind = ChannelKind(row.kind)
    read = write = False
    if kind is ChannelKind.STANDARD:  # private channels have no grants
        read, write = granted(connection, Kind.CHANNEL, row.id, user)
    return Standing(
        kind,
        None if role is None else Role(role),
        granted_read=read,
        granted_write=write,
        admin=user.is_admin,
    )


def granted(connection: Connection, kind: Kind, subject_id: str, user: User) -> tuple[bool, bool]:
    """What grants allow a user with a thing: (read, write)."""
    query = select(grants.c.read, grants.c.write).where(
        grants.c.kind == kind.value,
        grants.c.subject_id == subject_id,
        grants.c.principal.in_(principals_of(user)),
    )
    rows = connection.execute(query).all()
    write = any(row.write for row in rows)
    return write or any(row.read for row in rows), write
