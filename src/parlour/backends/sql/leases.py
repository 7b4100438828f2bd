"""Named leases in a table. On PostgreSQL its clock decides, on SQLite the one process's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select, text, update
from sqlalchemy.engine import Row

from parlour.backends.sql.engine import Database, upsert
from parlour.backends.sql.schema import leases as table
from parlour.errors import LeaseLost
from parlour.ports import Clock, Lease

_SERVER_TIME = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)")


class SqlLeases:
    """`ports.Leases` on a database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def acquire(self, name: str, owner: str, ttl_ms: int) -> Lease | None:
        return await self._database.write(lambda c: self._acquire(c, name, owner, ttl_ms))

    async def renew(self, lease: Lease, ttl_ms: int) -> Lease:
        return await self._database.write(lambda c: self._renew(c, lease, ttl_ms))

    async def release(self, lease: Lease) -> None:
        ended = update(table).where(_held_by(lease)).values(expires_at=0)
        await self._database.write(lambda c: c.execute(ended))

    async def holder(self, name: str) -> Lease | None:
        return await self._database.read(lambda c: self._holder(c, name))

    async def abandoned(
        self, prefix: str, limit: int, *, owner: str | None = None
    ) -> Sequence[Lease]:
        return await self._database.read(lambda c: self._abandoned(c, prefix, limit, owner))

    def _abandoned(
        self, connection: Connection, prefix: str, limit: int, owner: str | None
    ) -> list[Lease]:
        # A released lease has no time of expiry.
        over = (table.c.expires_at > 0) & (table.c.expires_at <= self._now(connection))
        if owner is not None:
            over |= (table.c.expires_at > 0) & (table.c.owner == owner)
        found = connection.execute(
            select(table)
            .where(table.c.name.startswith(prefix, autoescape=True), over)
            .order_by(table.c.expires_at)
            .limit(limit)
        )
        return [_lease(row) for row in found]

    def _now(self, connection: Connection) -> int:
        if connection.dialect.name == "postgresql":
            return int(connection.scalar(_SERVER_TIME) or 0)
        return self._clock.now_ms()

    def _acquire(self, connection: Connection, name: str, owner: str, ttl_ms: int) -> Lease | None:
        connection.execute(
            upsert(connection, table).on_conflict_do_nothing(),
            {"name": name, "owner": "", "generation": 0, "expires_at": 0},
        )
        row = connection.execute(select(table).where(table.c.name == name).with_for_update()).one()
        now = self._now(connection)
        held = row.expires_at > now
        if held and row.owner != owner:
            return None
        # A new name starts at the time in seconds, as in Redis: generations go on rising where
        # streams outlive the store of their leases.
        generation = row.generation if held else (row.generation or now // 1000) + 1
        lease = Lease(name, owner, generation, now + ttl_ms)
        connection.execute(
            update(table)
            .where(table.c.name == name)
            .values(owner=owner, generation=generation, expires_at=lease.expires_at)
        )
        return lease

    def _renew(self, connection: Connection, lease: Lease, ttl_ms: int) -> Lease:
        now = self._now(connection)
        renewed = update(table).where(_held_by(lease), table.c.expires_at > now)
        if connection.execute(renewed.values(expires_at=now + ttl_ms)).rowcount != 1:
            raise LeaseLost(f"the lease {lease.name} is no longer held by {lease.owner}")
        return Lease(lease.name, lease.owner, lease.generation, now + ttl_ms)

    def _holder(self, connection: Connection, name: str) -> Lease | None:
        row = connection.execute(select(table).where(table.c.name == name)).one_or_none()
        if row is None or row.expires_at <= self._now(connection):
            return None
        return _lease(row)


def _held_by(lease: Lease) -> Any:
    return (
        (table.c.name == lease.name)
        & (table.c.owner == lease.owner)
        & (table.c.generation == lease.generation)
    )


def _lease(row: Row[Any]) -> Lease:
    return Lease(row.name, row.owner, row.generation, row.expires_at)
