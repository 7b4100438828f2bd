"""`ports.ChannelStore` on a database: one transaction per change, with its events and its
receipt."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, assert_never
from weakref import WeakValueDictionary

from sqlalchemy import Connection

from parlour.backends.sql import channel_changes as changes
from parlour.backends.sql import channel_message_changes as message_changes
from parlour.backends.sql import channel_reads as reads
from parlour.backends.sql.announcements import once
from parlour.backends.sql.channel_work import Work, granted
from parlour.backends.sql.engine import Database
from parlour.backends.sql.postgres import PostgresDatabase
from parlour.core.access import Kind
from parlour.core.channels import (
    AddMembers,
    Change,
    ChannelLimits,
    CreateChannel,
    DeleteChannel,
    DeleteMessage,
    EditMessage,
    MarkRead,
    Mute,
    Pin,
    PostMessage,
    React,
    RemoveMember,
    SetRole,
    Standing,
    UpdateChannel,
)
from parlour.core.users import User
from parlour.ports import Changed, ChannelPage

Wire = dict[str, Any]


class SqlChannelStore:
    """`ports.ChannelStore` on a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._takes_turns = isinstance(database, PostgresDatabase)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def change(
        self,
        change: Change,
        actor: User,
        *,
        at: int,
        limits: ChannelLimits,
        command_id: str | None = None,
    ) -> Changed:
        key = None if command_id is None else f"{actor.id}:{command_id}"

        def unit(connection: Connection) -> Changed:
            def do() -> Changed:
                work = Work(connection, actor, at, limits, command_id)
                answer = _apply(work, change)
                return Changed(answer, work.told)

            return once(connection, key, at, do)

        if not self._takes_turns or isinstance(change, CreateChannel | MarkRead | Mute):
            return await self._database.write(unit)
        async with self._turn(change.channel_id):
            return await self._database.write(unit)

    def _turn(self, channel_id: str) -> asyncio.Lock:
        """Changes of one channel wait for each other here: in PostgreSQL each would wait for the
        channel's row and hold one of the pool's few connections meanwhile."""
        turn = self._turns.get(channel_id)
        if turn is None:
            turn = self._turns[channel_id] = asyncio.Lock()
        return turn

    # -- reading ---------------------------------------------------------------------------------

    async def standing(self, channel_id: str, user: User) -> Standing | None:
        return await self._database.read(lambda c: reads.find_standing(c, channel_id, user))

    async def granted(self, kind: Kind, subject_id: str, user: User) -> tuple[bool, bool]:
        return await self._database.read(lambda c: granted(c, kind, subject_id, user))

    async def channel(self, channel_id: str, user: User) -> Wire | None:
        return await self._database.read(lambda c: reads.channel_of(c, channel_id, user))

    async def channels_of(self, user_id: str) -> Sequence[Wire]:
        return await self._database.read(lambda c: reads.channels_of(c, user_id))

    async def channel_ids_of(self, user_id: str) -> Sequence[str]:
        return await self._database.read(lambda c: reads.ids_of(c, user_id))

    async def members_of_any(self, user_ids: Sequence[str]) -> Sequence[str]:
        return await self._database.read(lambda c: reads.members_of_any(c, user_ids))

    async def open_channels(
        self, user: User, *, after: str | None, limit: int, search: str | None = None
    ) -> ChannelPage:
        return await self._database.read(
            lambda c: reads.open_channels(c, user, after, limit, search)
        )

    async def members(self, channel_id: str, *, after: str | None, limit: int) -> ChannelPage:
        return await self._database.read(lambda c: reads.members(c, channel_id, after, limit))

    async def members_among(self, channel_id: str, user_ids: Sequence[str]) -> Sequence[str]:
        return await self._database.read(lambda c: reads.among(c, channel_id, user_ids))

    async def messages(
        self,
        channel_id: str,
        *,
        parent_id: str | None = None,
        before: int | None = None,
        after: int | None = None,
        limit: int,
    ) -> ChannelPage:
        return await self._database.read(
            lambda c: reads.messages(c, channel_id, parent_id, before, after, limit)
        )

    async def message(self, channel_id: str, message_id: str) -> Wire | None:
        return await self._database.read(lambda c: reads.message(c, channel_id, message_id))

    async def pins(self, channel_id: str, *, before: int | None, limit: int) -> ChannelPage:
        return await self._database.read(lambda c: reads.pins(c, channel_id, before, limit))

    async def search(
        self, channel_id: str, text: str, *, before: int | None, limit: int
    ) -> ChannelPage:
        return await self._database.read(lambda c: reads.search(c, channel_id, text, before, limit))

    async def channel_ids_of_file(self, file_id: str) -> Sequence[str]:
        return await self._database.read(lambda c: reads.channel_ids_of_file(c, file_id))


def _apply(work: Work, change: Change) -> Wire:
    match change:
        case CreateChannel():
            return changes.create(work, change)
        case UpdateChannel():
            return changes.change_channel(work, change)
        case DeleteChannel():
            return changes.remove_channel(work, change)
        case AddMembers():
            return changes.add_members(work, change)
        case RemoveMember():
            return changes.remove_member(work, change)
        case SetRole():
            return changes.set_role(work, change)
        case PostMessage():
            return message_changes.post(work, change)
        case EditMessage():
            return message_changes.edit(work, change)
        case DeleteMessage():
            return message_changes.remove(work, change)
        case React():
            return message_changes.react(work, change)
        case Pin():
            return message_changes.pin(work, change)
        case MarkRead():
            return changes.mark_read(work, change)
        case Mute():
            return changes.mute(work, change)
    assert_never(change)
