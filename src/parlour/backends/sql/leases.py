"""Named leases in a table. On PostgreSQL its clock decides, on SQLite the one process's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    bindparam,
    case,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.engine import Row

from parlour.backends.sql.engine import Database
from parlour.backends.sql.schema import leases as table
from parlour.backends.sql.statements import Statement
from parlour.errors import LeaseLost
from parlour.ports import Clock, Lease

_SERVER_TIME = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)")

_NOW = bindparam("now", type_=BigInteger)


def _acquisition(insert: Any) -> Any:
    """Makes a lease that is new, and takes one that nobody else holds: in one statement, so that of many
    at once one gets it. One's own lease that is still held keeps its generation."""
    statement = insert(table)
    mine = table.c.owner == statement.excluded.owner
    return statement.on_conflict_do_update(
        index_elements=[table.c.name],
        set_={
            "owner": statement.excluded.owner,
            "generation": case(
                ((table.c.expires_at > _NOW) & mine, table.c.generation),
                else_=table.c.generation + literal_column("1"),
            ),
            "expires_at": statement.excluded.expires_at,
        },
        where=or_(table.c.expires_at <= _NOW, mine),
    ).returning(table.c.generation)


_ACQUIRE = Statement(["name", "owner", "generation", "expires_at", "now"], _acquisition)

_HELD = (
    (table.c.name == bindparam("of"))
    & (table.c.owner == bindparam("by"))
    & (table.c.generation == bindparam("since"))
)
_RENEW = Statement(
    ["of", "by", "since", "now", "until"],
    lambda insert: (
        update(table).where(_HELD, table.c.expires_at > _NOW).values(expires_at=bindparam("until"))
    ),
)
_RELEASE = Statement(
    ["of", "by", "since"],
    lambda insert: update(table).where(_HELD).values(expires_at=literal_column("0")),
)


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
        values = (lease.name, lease.owner, lease.generation)
        await self._database.write(lambda c: _RELEASE.change(c, *values))

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
        now = self._now(connection)
        # A new name starts at the time in seconds, as in Redis: generations go on rising where
        # streams outlive the store of their leases.
        found = _ACQUIRE.find(connection, name, owner, now // 1000 + 1, now + ttl_ms, now)
        return None if found is None else Lease(name, owner, found[0], now + ttl_ms)

    def _renew(self, connection: Connection, lease: Lease, ttl_ms: int) -> Lease:
        now = self._now(connection)
        values = (lease.name, lease.owner, lease.generation, now, now + ttl_ms)
        if _RENEW.change(connection, *values) != 1:
            raise LeaseLost(f"the lease {lease.name} is no longer held by {lease.owner}")
        return Lease(lease.name, lease.owner, lease.generation, now + ttl_ms)

    def _holder(self, connection: Connection, name: str) -> Lease | None:
        row = connection.execute(select(table).where(table.c.name == name)).one_or_none()
        if row is None or row.expires_at <= self._now(connection):
            return None
        return _lease(row)


def _lease(row: Row[Any]) -> Lease:
    return Lease(row.name, row.owner, row.generation, row.expires_at)
