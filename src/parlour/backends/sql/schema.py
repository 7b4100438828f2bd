"""The tables, as SQLAlchemy Core. A change here needs a migration; a test compares the two.

Values that only the app reads are JSON as text (`Json`): orjson writes and reads them, and the text
never holds a NUL, which PostgreSQL's text and jsonb cannot store. Lengths are limited above, by
the wire. Times are milliseconds since 1970 UTC.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    text,
)

from parlour.errors import InvalidPayload

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Damaged:
    """The type of `DAMAGED`."""


DAMAGED: Final = Damaged()
"""Stands for a JSON text that cannot be read."""


def encode_json(value: Any) -> str:
    """A value as `Json` stores it. Raises `InvalidPayload` for what JSON cannot hold."""
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:
        raise InvalidPayload("the database cannot hold this value") from error


def decode_json(text: str | None) -> Any:
    """What `Json` stores, as a value. One damaged row must not make the others unreadable: it comes back as
    `DAMAGED`."""
    try:
        return None if text is None else orjson.loads(text)
    except ValueError:
        return DAMAGED


class Json(TypeDecorator[Any]):
    """Any JSON value, as text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else orjson.dumps(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return decode_json(value)


users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("email", Text),
    Column("email_key", Text, unique=True),
    Column("password_hash", Text),
    Column("private", Json, nullable=False),
    Column("metadata", Json, nullable=False, key="app_metadata"),
    Column("created_at", BigInteger, nullable=False),
    Column("last_active_at", BigInteger, nullable=False),
    Column("tokens_valid_after", BigInteger, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Index("ix_users_name", "name"),
    Index("ix_users_tokens_valid_after", "tokens_valid_after"),
)

user_settings = Table(
    "user_settings",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("settings", Json, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

revoked_tokens = Table(
    "revoked_tokens",
    metadata,
    Column("jti", Text, primary_key=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("secret", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

threads = Table(
    "threads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("title", Text),
    Column("tags", Json, nullable=False),
    Column("metadata", Json, nullable=False, key="app_metadata"),
    Column("chat_profile", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("preview", Text, nullable=False),
    Column("message_count", Integer, nullable=False),
    Column("person_count", Integer, nullable=False),
    Index("ix_threads_activity", "user_id", "updated_at", "id"),
)
"""`person_count` counts messages of role `user`: a thread without one is not listed."""

deleted_threads = Table(
    "deleted_threads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("deleted_at", BigInteger, nullable=False),
)
"""Tombstones: an id in here is never used again."""

streams = Table(
    "streams",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("epoch", Text, nullable=False),
    Column("head", BigInteger, nullable=False),
    Column("floor", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("sealed", Boolean, nullable=False),
    Column("erased", Boolean, nullable=False),
    Column("projected", BigInteger, nullable=False),
    Column("state", Json),
    Column("active_runs", Integer, nullable=False),
    Index(
        "ix_streams_lagging",
        "stream",
        sqlite_where=text("head > projected OR active_runs > 0"),
        postgresql_where=text("head > projected OR active_runs > 0"),
    ),
)
"""The events (floor, head] are held. `sealed`: nothing is missing after `head`. `erased`: the
thread was deleted; what a hot log still writes is counted and dropped. The epoch belongs to the
stream, not to its events: when it changes, what is held keeps its offsets."""

events = Table(
    "events",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("data", Json, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("cause", Text),
    sqlite_with_rowid=False,
)

messages = Table(
    "messages",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("offset", BigInteger, nullable=False),
    Column("role", Text, nullable=False),
    Column("author_id", Text),
    Column("content", Text, nullable=False),
    Column("data", Json, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_messages_offset", "stream", "offset"),
)
"""`data` is the whole message; `content` is its text for the search, without NULs."""

receipts = Table(
    "receipts",
    metadata,
    Column("stream", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("epoch", Text, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("receipt", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False, index=True),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("client_type", Text, nullable=False),
    Column("thread_id", Text),
    Column("chat_profile", Text),
    Column("language", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False, index=True),
)

session_values = Table(
    "session_values",
    metadata,
    Column(
        "session_id",
        Text,
        ForeignKey("sessions.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("thread_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)
"""A released lease stays as an expired row, so that the generation goes on rising."""

files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("mime", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("thread_id", Text, index=True),
    Column("blob", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
"""`blob` names the file in the folder; it is made here and never comes from a client."""
