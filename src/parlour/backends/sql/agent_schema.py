"""The tables of agent sessions. Their events are in `events`, like those of every stream."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Table, Text, text

from parlour.backends.sql.schema import Json, metadata

agent_sessions = Table(
    "agent_sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("settings", Json, nullable=False),
    Column("state", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("forked_from", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("checkpoint", Json),
    Column("checkpoint_epoch", Text, nullable=False),
    Column("checkpoint_offset", BigInteger, nullable=False),
    Index("ix_agent_sessions_activity", "user_id", "updated_at", "id"),
    Index(
        "ix_agent_sessions_active",
        "id",
        sqlite_where=text("active"),
        postgresql_where=text("active"),
    ),
)
"""`active`: the agent goes on by itself, so somebody has to own the session."""

agent_members = Table(
    "agent_members",
    metadata,
    Column(
        "session_id",
        Text,
        ForeignKey("agent_sessions.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("user_id", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Index("ix_agent_members_user_id", "user_id", "session_id"),
)
