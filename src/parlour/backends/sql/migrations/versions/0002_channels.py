"""Channels, grants and announcements"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = (
    "announcements",
    "channel_files",
    "channel_follows",
    "channel_members",
    "channel_mentions",
    "channel_messages",
    "channel_reactions",
    "channels",
    "command_receipts",
    "grants",
)


def upgrade() -> None:
    _channels()
    _messages()
    _marks()
    _outbox()


def _channels() -> None:
    op.create_table(
        "channels",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_search", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("direct_key", sa.Text(), nullable=True),
        sa.Column("member_count", sa.Integer(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_message_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channels")),
        sa.UniqueConstraint("direct_key", name=op.f("uq_channels_direct_key")),
    )
    op.create_index("ix_channels_kind", "channels", ["kind", "id"], unique=False)
    op.create_table(
        "channel_members",
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("muted", sa.Boolean(), nullable=False),
        sa.Column("read_seq", sa.BigInteger(), nullable=False),
        sa.Column("joined_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("channel_id", "user_id", name=op.f("pk_channel_members")),
    )
    op.create_index(
        "ix_channel_members_user_id", "channel_members", ["user_id", "channel_id"], unique=False
    )
    op.create_table(
        "grants",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("read", sa.Boolean(), nullable=False),
        sa.Column("write", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject_id", "principal", name=op.f("pk_grants")),
    )


def _messages() -> None:
    op.create_table(
        "channel_messages",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("author_id", sa.Text(), nullable=False),
        sa.Column("author_name", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("search", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=True),
        sa.Column("files", sa.Text(), nullable=False),
        sa.Column("mentions", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Text(), nullable=True),
        sa.Column("reply_to_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("edited_at", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.Column("reply_count", sa.Integer(), nullable=False),
        sa.Column("last_reply_at", sa.BigInteger(), nullable=True),
        sa.Column("pinned_at", sa.BigInteger(), nullable=True),
        sa.Column("pinned_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channel_messages")),
        sa.UniqueConstraint("channel_id", "seq", name=op.f("uq_channel_messages_channel_id")),
    )
    op.create_index(
        "ix_channel_messages_parent_id", "channel_messages", ["parent_id", "seq"], unique=False
    )
    op.create_index(
        "ix_channel_messages_pinned",
        "channel_messages",
        ["channel_id", "pinned_at"],
        unique=False,
        sqlite_where=sa.text("pinned_at IS NOT NULL"),
        postgresql_where=sa.text("pinned_at IS NOT NULL"),
    )


def _marks() -> None:
    for name, first, more in (
        ("channel_mentions", "message_id", ("user_id",)),
        ("channel_follows", "message_id", ("user_id",)),
        ("channel_files", "file_id", ("message_id",)),
    ):
        op.create_table(
            name,
            sa.Column(first, sa.Text(), nullable=False),
            *(sa.Column(column, sa.Text(), nullable=False) for column in more),
            sa.Column("channel_id", sa.Text(), nullable=False),
            sa.PrimaryKeyConstraint(first, *more, name=op.f(f"pk_{name}")),
        )
        op.create_index(op.f(f"ix_{name}_channel_id"), name, ["channel_id"], unique=False)
    op.create_table(
        "channel_reactions",
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("emoji", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "message_id", "emoji", "user_id", name=op.f("pk_channel_reactions")
        ),
    )
    op.create_index(
        op.f("ix_channel_reactions_channel_id"), "channel_reactions", ["channel_id"], unique=False
    )


def _outbox() -> None:
    op.create_table(
        "announcements",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_announcements")),
        sa.UniqueConstraint("key", name=op.f("uq_announcements_key")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_announcements_stream", "announcements", ["stream", "id"], unique=False)
    op.create_table(
        "command_receipts",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_command_receipts")),
    )
    op.create_index(op.f("ix_command_receipts_at"), "command_receipts", ["at"], unique=False)


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
