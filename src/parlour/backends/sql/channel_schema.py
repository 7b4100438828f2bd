"""The tables of channels, of grants, and of what is published in the database's transaction."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from parlour.backends.sql.schema import Json, metadata

channels = Table(
    "channels",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("name_search", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("data", Json, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("direct_key", Text, unique=True),
    Column("member_count", Integer, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("last_message_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Index("ix_channels_kind", "kind", "id"),
)
"""Every change of a channel locks its row first: numbers (`last_seq`) and announcements are given
in the order of the commits. `direct_key` names a set of users. A deleted channel keeps its row, so
that its id is never used again."""

channel_members = Table(
    "channel_members",
    metadata,
    Column("channel_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("muted", Boolean, nullable=False),
    Column("read_seq", BigInteger, nullable=False),
    Column("joined_at", BigInteger, nullable=False),
    Index("ix_channel_members_user_id", "user_id", "channel_id"),
)

channel_messages = Table(
    "channel_messages",
    metadata,
    Column("id", Text, primary_key=True),
    Column("channel_id", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("author_id", Text, nullable=False),
    Column("author_name", Text, nullable=False),
    Column("content", Json, nullable=False),
    Column("search", Text, nullable=False),
    Column("data", Json),
    Column("files", Json, nullable=False),
    Column("mentions", Json, nullable=False),
    Column("parent_id", Text),
    Column("reply_to_id", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("edited_at", BigInteger),
    Column("deleted_at", BigInteger),
    Column("reply_count", Integer, nullable=False),
    Column("last_reply_at", BigInteger),
    Column("pinned_at", BigInteger),
    Column("pinned_by", Text),
    UniqueConstraint("channel_id", "seq"),
    Index("ix_channel_messages_parent_id", "parent_id", "seq"),
    Index(
        "ix_channel_messages_pinned",
        "channel_id",
        "pinned_at",
        sqlite_where=text("pinned_at IS NOT NULL"),
        postgresql_where=text("pinned_at IS NOT NULL"),
    ),
)
"""`seq` numbers the messages of a channel in the order of their commits, replies included: a page
after or before one can neither skip nor repeat. `search` is the text as it is searched, without
NULs."""

channel_mentions = Table(
    "channel_mentions",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("channel_id", Text, nullable=False, index=True),
)

channel_follows = Table(
    "channel_follows",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("channel_id", Text, nullable=False, index=True),
)
"""Who takes part in the replies of a message: its author and whoever replied."""

channel_reactions = Table(
    "channel_reactions",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("emoji", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("channel_id", Text, nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
)

channel_files = Table(
    "channel_files",
    metadata,
    Column("file_id", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("channel_id", Text, nullable=False, index=True),
)
"""Where a file was attached: whoever reads the channel reads the file."""

grants = Table(
    "grants",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("subject_id", Text, primary_key=True),
    Column("principal", Text, primary_key=True),
    Column("read", Boolean, nullable=False),
    Column("write", Boolean, nullable=False),
    Index("ix_grants_principal", "principal", "kind"),
)
"""What somebody may do with a thing (`kind`: `channel`, `note`, `thread`) without belonging to it. A
principal is `everyone`, `role:{role}` or `user:{id}`."""

announcements = Table(
    "announcements",
    metadata,
    # SQLite numbers rows by itself only where the type is exactly INTEGER.
    Column(
        "id",
        BigInteger().with_variant(Integer(), "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    Column("key", Text, nullable=False, unique=True),
    Column("stream", Text, nullable=False),
    Column("events", Json, nullable=False),
    Column("source", Text, nullable=False),
    Column("cause", Text),
    Column("at", BigInteger, nullable=False),
    Index("ix_announcements_stream", "stream", "id"),
    sqlite_autoincrement=True,
)
"""The outbox: events that were committed with what they tell of, and wait to be appended to
`stream`."""

command_receipts = Table(
    "command_receipts",
    metadata,
    Column("key", Text, primary_key=True),
    Column("answer", Json, nullable=False),
    Column("told", Json, nullable=False),
    Column("at", BigInteger, nullable=False, index=True),
)
"""Answers of commands that were done, for those who ask again within 24 hours."""
