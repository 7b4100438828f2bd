"""Agent sessions: their rows, who takes part, and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Connection, delete, or_, select, update
from sqlalchemy.engine import Row

from parlour.backends.sql.agent_schema import agent_members as members
from parlour.backends.sql.agent_schema import agent_sessions as table
from parlour.backends.sql.cursors import decode_cursor, encode_cursor
from parlour.backends.sql.engine import Database, upsert
from parlour.backends.sql.projections import plain
from parlour.backends.sql.schema import Damaged
from parlour.core.streams import Position
from parlour.errors import Forbidden, NotFound
from parlour.ports import AgentRecord, Checkpoint

_NAMES = [one.name for one in fields(AgentRecord)]
_FIXED = {"id", "user_id", "created_at"}


class SqlAgentStore:
    """`ports.AgentStore` on a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_agent(self, record: AgentRecord) -> tuple[AgentRecord, bool]:
        return await self._database.write(lambda c: _create(c, record))

    async def agent(self, session_id: str) -> AgentRecord | None:
        return await self._database.read(lambda c: _one(c, session_id))

    async def update_agent(self, session_id: str, **fields: Any) -> AgentRecord:
        if unknown := fields.keys() - (set(_NAMES) - _FIXED):
            raise TypeError(f"not a field that can be changed: {', '.join(sorted(unknown))}")
        return await self._database.write(lambda c: _update(c, session_id, fields))

    async def agents(
        self, user_id: str, *, cursor: str | None, limit: int
    ) -> tuple[Sequence[AgentRecord], str | None]:
        before = decode_cursor(cursor)
        return await self._database.read(lambda c: _page(c, user_id, before, limit))

    async def active_agents(self, *, after: str, limit: int) -> Sequence[str]:
        found = (
            select(table.c.id)
            .where(table.c.active, table.c.id > after)
            .order_by(table.c.id)
            .limit(limit)
        )
        return await self._database.read(lambda c: list(c.scalars(found)))

    async def set_agent_role(self, session_id: str, user_id: str, role: str | None) -> None:
        await self._database.write(lambda c: _set_role(c, session_id, user_id, role))

    async def agent_role(self, session_id: str, user_id: str) -> str | None:
        wanted = select(members.c.role).where(
            members.c.session_id == session_id, members.c.user_id == user_id
        )
        return await self._database.read(lambda c: c.scalar(wanted))

    async def agent_roles(self, session_id: str) -> Mapping[str, str]:
        wanted = (
            select(members.c.user_id, members.c.role)
            .where(members.c.session_id == session_id)
            .order_by(members.c.user_id)
        )
        return await self._database.read(
            lambda c: {row.user_id: row.role for row in c.execute(wanted)}
        )

    async def checkpoint(self, session_id: str) -> Checkpoint | None:
        return await self._database.read(lambda c: _checkpoint(c, session_id))

    async def write_checkpoint(self, session_id: str, checkpoint: Checkpoint) -> None:
        epoch, offset = checkpoint.position
        newer = or_(table.c.checkpoint_epoch != epoch, table.c.checkpoint_offset < offset)
        written = (
            update(table)
            .where(table.c.id == session_id, newer)
            .values(
                checkpoint=dict(checkpoint.state), checkpoint_epoch=epoch, checkpoint_offset=offset
            )
        )
        await self._database.write(lambda c: c.execute(written))

    async def delete_agent(self, session_id: str) -> None:
        await self._database.write(lambda c: _delete(c, session_id))


def _select() -> Any:
    return select(*(table.c[name] for name in _NAMES))


def _record(row: Row[Any]) -> AgentRecord:
    values = dict(row._mapping)
    if isinstance(values["settings"], Damaged):
        values["settings"] = {}
    return AgentRecord(**values)


def _one(connection: Connection, session_id: str) -> AgentRecord | None:
    row = connection.execute(_select().where(table.c.id == session_id)).one_or_none()
    return None if row is None else _record(row)


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain(v) if name == "title" else v for name, v in values.items()}


def _create(connection: Connection, record: AgentRecord) -> tuple[AgentRecord, bool]:
    made = connection.execute(
        upsert(connection, table).on_conflict_do_nothing().returning(table.c.id),
        {
            **_columns(asdict(record)),
            "checkpoint": None,
            "checkpoint_epoch": "",
            "checkpoint_offset": 0,
        },
    ).one_or_none()
    found = _one(connection, record.id)
    if found is None or found.user_id != record.user_id:
        raise Forbidden("this agent session belongs to somebody else")
    return found, made is not None


def _update(connection: Connection, session_id: str, values: dict[str, Any]) -> AgentRecord:
    if values:
        connection.execute(update(table).where(table.c.id == session_id).values(**_columns(values)))
    found = _one(connection, session_id)
    if found is None:
        raise NotFound("there is no such agent session")
    return found


def _page(
    connection: Connection, user_id: str, before: tuple[int, str] | None, limit: int
) -> tuple[list[AgentRecord], str | None]:
    shared = select(members.c.session_id).where(members.c.user_id == user_id)
    query = (
        _select()
        .where(or_(table.c.user_id == user_id, table.c.id.in_(shared)))
        .order_by(table.c.updated_at.desc(), table.c.id.desc())
        .limit(limit + 1)
    )
    if before is not None:
        at, last_id = before
        older = (table.c.updated_at == at) & (table.c.id < last_id)
        query = query.where(or_(table.c.updated_at < at, older))
    rows = [_record(row) for row in connection.execute(query)]
    last = rows[limit - 1] if len(rows) > limit else None
    return rows[:limit], None if last is None else encode_cursor(last.updated_at, last.id)


def _set_role(connection: Connection, session_id: str, user_id: str, role: str | None) -> None:
    if _one(connection, session_id) is None:
        raise NotFound("there is no such agent session")
    mine = (members.c.session_id == session_id) & (members.c.user_id == user_id)
    if role is None:
        connection.execute(delete(members).where(mine))
        return
    inserted = upsert(connection, members)
    connection.execute(
        inserted.on_conflict_do_update(
            index_elements=["session_id", "user_id"], set_={"role": inserted.excluded.role}
        ),
        {"session_id": session_id, "user_id": user_id, "role": role},
    )


def _checkpoint(connection: Connection, session_id: str) -> Checkpoint | None:
    columns = (table.c.checkpoint, table.c.checkpoint_epoch, table.c.checkpoint_offset)
    row = connection.execute(select(*columns).where(table.c.id == session_id)).one_or_none()
    if row is None or not isinstance(row.checkpoint, dict):
        return None
    return Checkpoint(Position(row.checkpoint_epoch, row.checkpoint_offset), row.checkpoint)


def _delete(connection: Connection, session_id: str) -> None:
    connection.execute(delete(members).where(members.c.session_id == session_id))
    connection.execute(delete(table).where(table.c.id == session_id))
