"""Events as bytes: they come back as they were, small, and one damaged record stays alone."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from parlour.backends.records import UNREADABLE, decode_record, encode_record
from parlour.backends.redis.records import COMPRESS_FROM, pack, unpack
from parlour.backends.sql import open_sql
from parlour.core.streams import Event, NewEvent, Position
from parlour.errors import TooLarge
from parlour.ports import ProjectionChange
from parlour.testing.clock import ManualClock
from parlour.testing.contracts.archive import entry, message

numbers = st.integers(-(2**53) + 1, 2**53 - 1)
letters = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
values = st.recursive(
    st.none() | st.booleans() | numbers | letters,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(letters, inner, max_size=3),
    max_leaves=8,
)
events = st.builds(
    NewEvent,
    type=letters,
    data=st.dictionaries(letters, values, max_size=4),
    at=st.integers(0, 2**45),
    source=letters,
    cause=st.none() | letters,
)


@given(events)
def test_every_event_comes_back_through_json_and_compression(event: NewEvent) -> None:
    packed = pack(encode_record(event, 10**9))
    back = decode_record("thread:t", "e", 7, packed, unpack)

    assert back == Event(
        "thread:t", "e", 7, event.type, event.data, event.at, event.source, event.cause
    )


@given(st.binary(max_size=300))
def test_no_bytes_at_all_break_a_reader(damaged: bytes) -> None:
    event = decode_record("thread:t", "e", 7, damaged, unpack)

    assert (event.stream, event.offset) == ("thread:t", 7)


def test_a_damaged_record_is_reported_and_keeps_its_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    packed = pack(encode_record(NewEvent("note", {"text": "x" * 500}, 1), 10**9))

    with caplog.at_level(logging.ERROR):
        event = decode_record("thread:t", "e", 7, packed[:-9], unpack)

    assert (event.type, event.offset, event.data) == (UNREADABLE, 7, {})
    assert "thread:t" in caplog.text


def test_repeated_envelopes_and_text_are_stored_smaller() -> None:
    # The dictionary knows the envelope, so that even a short message gains by it.
    data = {"id": "a1", "role": "user", "author": {"id": "u1", "name": "Ann"}, "content": "Hello"}
    record = encode_record(NewEvent("message", data, 1_763_640_000_000, "user:u1"), 10**9)

    assert len(record) >= COMPRESS_FROM
    assert len(pack(record)) < 0.8 * len(record)


def test_records_that_gain_nothing_stay_plain() -> None:
    assert pack(b'["a",{},1,"b",null]') == b'["a",{},1,"b",null]'


def test_the_limit_counts_bytes_and_not_letters() -> None:
    event = NewEvent("note", {"text": "ä" * 60}, 1)

    with pytest.raises(TooLarge):
        encode_record(event, 100)


async def damage(store: Any, table: str, column: str, where: str) -> None:
    await store.database.write(
        lambda c: c.execute(text(f"UPDATE {table} SET {column} = '{{\"torn' WHERE {where}"))
    )


async def test_one_torn_row_of_the_archive_leaves_the_others_readable(tmp_path: Path) -> None:
    store = await open_sql("sqlite://", tmp_path, clock=ManualClock())
    await store.archive.write([entry("thread:t", "e", 1, 3)])
    await damage(store, "events", "data", '"offset" = 2')

    page = await store.archive.read("thread:t", None, 10)

    assert [event.type for event in page.events] == ["note", UNREADABLE, "note"]
    assert [event.offset for event in page.events] == [1, 2, 3]
    await store.close()


async def test_one_torn_message_leaves_the_conversation_readable(tmp_path: Path) -> None:
    store = await open_sql("sqlite://", tmp_path, clock=ManualClock())
    await store.archive.write([entry("thread:t", "e", 1, 3)])
    messages = [message(n) for n in (1, 2, 3)]
    change = ProjectionChange("thread:t", Position("e", 3), 0, {"title": "T"}, messages)
    await store.archive.project(change)
    await damage(store, "messages", "data", "id = 'm2'")
    await damage(store, "streams", "state", "stream = 'thread:t'")

    stored = await store.archive.projection("thread:t", 10)

    assert stored is not None
    assert [one["id"] for one in stored.messages] == ["m1", "m3"]
    assert stored.position == Position("e", 3)
    assert stored.state == {}
    await store.close()
