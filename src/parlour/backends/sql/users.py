"""Users, revoked tokens and signing keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields as fields_of
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError

from parlour.backends.sql.cursors import decode_cursor, encode_cursor
from parlour.backends.sql.engine import Database, upsert
from parlour.backends.sql.schema import revoked_tokens, signing_keys
from parlour.backends.sql.schema import users as table
from parlour.backends.sql.user_settings import change_settings, read_settings
from parlour.errors import Conflict, NotFound
from parlour.ports import Clock, UserRecord, UserSettings

_FIELDS = {one.name for one in fields_of(UserRecord)}


class SqlUserStore:
    """`ports.UserStore` on a database. Pages are ordered by creation."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add_user(self, user: UserRecord) -> UserRecord:
        values = {name: getattr(user, name) for name in _FIELDS}
        await self._database.write(lambda c: _add(c, _columns(values)))
        return user

    async def user(self, user_id: str) -> UserRecord | None:
        return await self._database.read(lambda c: _first(c, table.c.id == user_id))

    async def user_by_login(self, login: str) -> UserRecord | None:
        return await self._database.read(lambda c: _by_login(c, login))

    async def update_user(self, user_id: str, **fields: Any) -> UserRecord:
        if unknown := fields.keys() - _FIELDS | fields.keys() & {"id"}:
            raise TypeError(f"not a field that can be changed: {', '.join(sorted(unknown))}")
        return await self._database.write(lambda c: _update(c, user_id, _columns(fields)))

    async def users(
        self, *, cursor: str | None, limit: int
    ) -> tuple[Sequence[UserRecord], str | None]:
        after = decode_cursor(cursor)
        return await self._database.read(lambda c: _page(c, after, limit))

    async def count_users(self) -> int:
        return await self._database.read(
            lambda c: c.scalar(select(func.count()).select_from(table)) or 0
        )

    async def settings(self, user_id: str) -> UserSettings:
        return await self._database.read(lambda c: read_settings(c, user_id))

    async def change_settings(
        self, user_id: str, changes: Mapping[str, Any], *, replace: bool, at: int
    ) -> tuple[UserSettings, tuple[str, str] | None]:
        return await self._database.write(
            lambda c: change_settings(c, user_id, changes, replace=replace, at=at)
        )

    async def touch_user(self, user_id: str, at: int) -> None:
        later = (table.c.id == user_id) & (table.c.last_active_at < at)
        await self._database.write(
            lambda c: c.execute(update(table).where(later).values(last_active_at=at))
        )

    async def revoke_token(self, jti: str, expires_at: int) -> None:
        """Expired ones are forgotten at the same time: their tokens are refused anyway."""
        now = self._clock.now_ms()
        await self._database.write(lambda c: _revoke(c, jti, expires_at, now))

    async def standing(
        self, tokens: Sequence[tuple[str, str]]
    ) -> Sequence[tuple[UserRecord | None, bool]]:
        return await self._database.read(lambda c: _standing(c, tokens))

    async def revoked_since(self, at: int) -> Sequence[tuple[str, int]]:
        query = select(table.c.id, table.c.tokens_valid_after).where(
            table.c.tokens_valid_after >= at
        )
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [(row.id, row.tokens_valid_after) for row in rows]

    async def signing_keys(self) -> Sequence[tuple[str, bytes, int]]:
        query = select(signing_keys).order_by(
            signing_keys.c.created_at.desc(), signing_keys.c.kid.desc()
        )
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [(row.kid, bytes(row.secret), row.created_at) for row in rows]

    async def add_signing_key(self, kid: str, secret: bytes, created_at: int) -> None:
        row = {"kid": kid, "secret": secret, "created_at": created_at}
        await self._database.write(lambda c: c.execute(insert(signing_keys), row))


def _columns(fields: dict[str, Any]) -> dict[str, Any]:
    """A record's fields as columns; `email_key` is what e-mails are compared by."""
    columns = dict(fields)
    if "metadata" in columns:
        columns["app_metadata"] = columns.pop("metadata")
    if "email" in columns:
        columns["email_key"] = columns["email"] and columns["email"].casefold()
    return columns


def _record(row: Row[Any]) -> UserRecord:
    values = dict(row._mapping)
    values["metadata"] = values.pop("app_metadata")
    del values["email_key"]
    return UserRecord(**values)


def _select() -> Any:
    # By key, so that a row names `app_metadata` and not the column's `metadata`.
    return select(*(column.label(column.key) for column in table.c))


def _first(connection: Connection, condition: Any) -> UserRecord | None:
    query = _select().where(condition).order_by(table.c.created_at, table.c.id).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else _record(row)


_NAMED = _select().where(table.c.id.in_(bindparam("ids", expanding=True)))
_REVOKED = select(revoked_tokens.c.jti).where(
    revoked_tokens.c.jti.in_(bindparam("jtis", expanding=True))
)


def _standing(
    connection: Connection, tokens: Sequence[tuple[str, str]]
) -> list[tuple[UserRecord | None, bool]]:
    ids = list(dict.fromkeys(user_id for user_id, _ in tokens))
    records = {row.id: _record(row) for row in connection.execute(_NAMED, {"ids": ids})}
    revoked = set(connection.scalars(_REVOKED, {"jtis": [jti for _, jti in tokens]}))
    return [(records.get(user_id), jti in revoked) for user_id, jti in tokens]


def _by_login(connection: Connection, login: str) -> UserRecord | None:
    """The e-mail decides; of several people with one name the first one who signed up."""
    found = _first(connection, table.c.email_key == login.casefold())
    return found or _first(connection, table.c.name == login)


def _add(connection: Connection, columns: dict[str, Any]) -> None:
    try:
        with connection.begin_nested():
            connection.execute(insert(table), columns)
    except IntegrityError as error:
        raise Conflict("a user with this id or e-mail exists already") from error


def _update(connection: Connection, user_id: str, columns: dict[str, Any]) -> UserRecord:
    try:
        with connection.begin_nested():
            if columns:
                connection.execute(update(table).where(table.c.id == user_id).values(columns))
    except IntegrityError as error:
        raise Conflict("another user has this e-mail") from error
    found = _first(connection, table.c.id == user_id)
    if found is None:
        raise NotFound("there is no such user")
    return found


def _page(
    connection: Connection, after: tuple[int, str] | None, limit: int
) -> tuple[list[UserRecord], str | None]:
    query = _select().order_by(table.c.created_at, table.c.id).limit(limit + 1)
    if after is not None:
        at, user_id = after
        query = query.where(
            or_(
                table.c.created_at > at,
                (table.c.created_at == at) & (table.c.id > user_id),
            )
        )
    rows = [_record(row) for row in connection.execute(query)]
    last = rows[limit - 1] if len(rows) > limit else None
    return rows[:limit], None if last is None else encode_cursor(last.created_at, last.id)


def _revoke(connection: Connection, jti: str, expires_at: int, now: int) -> None:
    connection.execute(delete(revoked_tokens).where(revoked_tokens.c.expires_at < now))
    connection.execute(
        upsert(connection, revoked_tokens).on_conflict_do_nothing(),
        {"jti": jti, "expires_at": expires_at},
    )
