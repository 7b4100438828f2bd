"""SQLite and PostgreSQL: the archive and everything else that outlives a process."""

from parlour.backends.sql.store import SqlStore, open_sql

__all__ = ["SqlStore", "open_sql"]
