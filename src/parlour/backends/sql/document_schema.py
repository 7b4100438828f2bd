"""The tables of documents and notes."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text

from parlour.backends.sql.schema import Json, metadata

documents = Table(
    "documents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("epoch", Text, nullable=False),
    Column("head", BigInteger, nullable=False),
    Column("base", BigInteger, nullable=False),
    Column("log_bytes", BigInteger, nullable=False),
    Column("snapshot_bytes", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),
)
"""The updates (base, head] are held one by one. A deleted document keeps its row, so that its id is
never used again. The snapshot has a table of its own: this row changes with every append."""

document_snapshots = Table(
    "document_snapshots",
    metadata,
    Column("document_id", Text, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)
"""Compressed (`backends.packing`)."""

document_updates = Table(
    "document_updates",
    metadata,
    Column("document_id", Text, primary_key=True),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

notes = Table(
    "notes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner_id", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("markdown", Text, nullable=False),
    Column("html", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("search", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("epoch", Text, nullable=False),
    Column("saved_offset", BigInteger, nullable=False),
    Column("access_version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Index("ix_notes_owner_id", "owner_id", "updated_at", "id"),
    Index("ix_notes_updated_at", "updated_at", "id"),
)
"""What the note's document says as of `saved_offset`; `search` is title and text in small letters.
The grants are in `grants`, with kind `note`."""

note_versions = Table(
    "note_versions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("note_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("automatic", Boolean, nullable=False),
    Column("author", Json),
    Column("created_at", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("title", Text, nullable=False),
    Column("preview", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Index("ix_note_versions_note_id", "note_id", "created_at", "id"),
)

note_files = Table(
    "note_files",
    metadata,
    Column("file_id", Text, primary_key=True),
    Column("note_id", Text, primary_key=True),
    Index("ix_note_files_note_id", "note_id"),
)
"""Files that whoever reads the note may read."""
