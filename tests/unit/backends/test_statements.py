"""Statements that go to the driver as they are do what SQLAlchemy would have done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    make_url,
    select,
    update,
)

from parlour.backends.sql.engine import Database
from parlour.backends.sql.postgres import PostgresDatabase
from parlour.backends.sql.sqlite import SqliteDatabase
from parlour.backends.sql.statements import ROWS_AT_ONCE, Insertion, Statement
from parlour.errors import Conflict, InvalidPayload
from parlour.testing.servers import PostgresServer

metadata = MetaData()
things = Table(
    "things_of_statements",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("body", LargeBinary),
)

ADD = Insertion(["owner", "offset", "body"], lambda insert: insert(things))


def _keep_largest(insert: Any) -> Any:
    statement = insert(things)
    return statement.on_conflict_do_update(
        index_elements=[things.c.owner, things.c.offset],
        set_={"body": statement.excluded.body},
        where=things.c.body < statement.excluded.body,
    )


KEEP_LARGEST = Insertion(["owner", "offset", "body"], _keep_largest)
MOVE = Statement(
    ["of", "by", "at"],
    lambda insert: (
        update(things)
        .where(things.c.owner == bindparam("of"), things.c.offset >= bindparam("at"))
        .values(offset=things.c.offset + bindparam("by", type_=BigInteger))
    ),
)
FIND = Statement(
    ["of", "at"],
    lambda insert: select(things.c.offset, things.c.body).where(
        things.c.owner == bindparam("of"), things.c.offset == bindparam("at")
    ),
)


@pytest.fixture(params=["sqlite in memory", "postgresql"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    made: Database
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        made = PostgresDatabase(make_url(await server.create_database("statements")))
    else:
        made = SqliteDatabase(None)
        await made.open()
    await made.write(lambda c: metadata.drop_all(c))
    await made.write(lambda c: metadata.create_all(c))
    yield made
    await made.close()


async def everything(database: Database) -> list[tuple[str, int, bytes | None]]:
    query = select(things).order_by(things.c.owner, things.c.offset)
    return await database.read(lambda c: [tuple(row) for row in c.execute(query)])


@pytest.mark.parametrize("count", [0, 1, ROWS_AT_ONCE - 1, ROWS_AT_ONCE, 2 * ROWS_AT_ONCE + 3])
async def test_all_rows_are_inserted(database: Database, count: int) -> None:
    rows = [("ann", number, bytes([number % 256, 0])) for number in range(count)]

    await database.write(lambda c: ADD.run(c, rows))

    assert await everything(database) == rows


async def test_a_row_that_conflicts_with_one_of_the_same_insertion_is_decided_like_any_other(
    database: Database,
) -> None:
    rows = [("ann", number % 10, b"%03d" % number) for number in range(3 * ROWS_AT_ONCE)]

    await database.write(lambda c: KEEP_LARGEST.run(c, rows + rows[:5]))

    newest = {row[:2]: row[2] for row in rows}
    assert await everything(database) == [(*key, newest[key]) for key in sorted(newest)]


async def test_values_are_given_in_the_order_of_the_names(database: Database) -> None:
    await database.write(lambda c: ADD.run(c, [("ann", 1, b"a"), ("ann", 5, b"b")]))

    moved = await database.write(lambda c: MOVE.change(c, "ann", 10, 4))
    found = await database.read(lambda c: (FIND.find(c, "ann", 15), FIND.find(c, "ann", 5)))

    assert moved == 1
    assert found == ((15, b"b"), None)


async def test_a_value_that_is_taken_is_a_conflict_and_nothing_of_the_insertion_stays(
    database: Database,
) -> None:
    rows = [("ann", number, None) for number in range(ROWS_AT_ONCE + 1)]

    with pytest.raises(Conflict):
        await database.write(lambda c: ADD.run(c, [*rows, rows[3]]))

    assert await everything(database) == []


async def test_a_number_that_is_too_big_is_an_invalid_value(database: Database) -> None:
    with pytest.raises(InvalidPayload):
        await database.write(lambda c: ADD.run(c, [("ann", 2**63, None)]))

    assert await everything(database) == []


async def test_a_parameter_that_is_not_named_is_a_defect(database: Database) -> None:
    unnamed = Statement(["of"], lambda insert: select(things.c.body).where(things.c.offset == 3))

    def unit(connection: Connection) -> None:
        unnamed.find(connection, "ann")

    with pytest.raises(ValueError, match="has the parameters"):
        await database.read(unit)
