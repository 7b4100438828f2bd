"""The migrations and the tables in the code say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect

from parlour.backends.sql import open_sql
from parlour.backends.sql.migrate import alembic_config
from parlour.backends.sql.schema import metadata
from parlour.testing.clock import ManualClock


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": False})
    return list(compare_metadata(context, metadata))


async def test_migrating_gives_the_tables_of_the_code(tmp_path: Path) -> None:
    store = await open_sql("sqlite://", tmp_path, clock=ManualClock())

    found = await store.database.read(differences)

    assert found == []
    await store.close()


async def test_progress_is_told_and_a_second_start_has_nothing_to_do(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []

    def heard(done: int, total: int, name: str) -> None:
        steps.append((done, total))

    for _ in range(2):
        store = await open_sql(
            f"sqlite:///{tmp_path}/parlour.db", tmp_path, clock=ManualClock(), progress=heard
        )
        await store.close()

    total = steps[0][1]
    assert steps == [(done, total) for done in range(total + 1)]


def test_every_migration_can_be_undone(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/x.db")
    config = alembic_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        command.downgrade(config, "base")

        assert inspect(connection).get_table_names() == ["alembic_version"]
