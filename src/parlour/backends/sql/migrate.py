"""Alembic, run by the program itself on a connection that it already has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from parlour.backends.sql.engine import Database

Progress = Callable[[int, int, str], None]
"""Hears `(done, total, name)`: once with done 0 when there is something to do, then after each
step. It is called from the thread that migrates."""


async def migrate(database: Database, progress: Progress | None = None) -> int:
    """Bring the tables up to the newest revision, all or nothing; gives how many steps were
    made."""
    return await database.migrate(lambda connection: _upgrade(connection, progress))


def _upgrade(connection: Connection, progress: Progress | None) -> int:
    config = alembic_config()
    pending = _pending(connection, ScriptDirectory.from_config(config))
    if not pending:
        return 0
    report = progress or (lambda done, total, name: None)
    done = 0

    def stepped(**told: Any) -> None:
        nonlocal done
        done += 1
        report(done, len(pending), str(told["step"].up_revision.doc))

    report(0, len(pending), "")
    config.attributes["connection"] = connection
    config.attributes["on_version_apply"] = stepped
    command.upgrade(config, "head")
    return done


def alembic_config() -> Config:
    """Where the migrations are; no ini file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def _pending(connection: Connection, scripts: ScriptDirectory) -> list[str]:
    current = MigrationContext.configure(connection).get_current_revision()
    revisions = scripts.iterate_revisions("head", current or "base")
    return [one.revision for one in revisions if one.revision != current]
