"""What every `FileStore` promises."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from parlour.errors import Conflict, NotFound, TooLarge
from parlour.ports import FileRecord, FileStore


def record(**fields: object) -> FileRecord:
    base = {"id": uuid.uuid4().hex, "user_id": "ann", "name": "a.txt", "mime": "text/plain"}
    return FileRecord(**{**base, "size": 0, **fields})  # type: ignore[arg-type]


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def body(files: FileStore, file_id: str) -> bytes:
    return b"".join([chunk async for chunk in files.open(file_id)])


class FileStoreContract:
    """Give it a fixture `files`."""

    @pytest.fixture
    async def files(self) -> FileStore:
        raise NotImplementedError

    async def test_bytes_come_back(self, files: FileStore) -> None:
        content = bytes(range(256)) * 5000

        stored = await files.put(
            record(thread_id="t", created_at=3),
            chunks(content[:99], b"", content[99:]),
            limit=2**21,
        )

        assert stored.size == len(content)
        assert await files.file(stored.id) == stored
        assert await body(files, stored.id) == content

    @pytest.mark.parametrize(
        ("start", "size"),
        [(0, 1), (5, 300_000), (299_990, 10), (299_990, 50), (300_000, 5), (7, 0)],
    )
    async def test_a_part_comes_back(self, files: FileStore, start: int, size: int) -> None:
        content = bytes(range(250)) * 1200
        stored = await files.put(record(), chunks(content), limit=2**21)

        part = b"".join([chunk async for chunk in files.open(stored.id, start, size)])
        rest = b"".join([chunk async for chunk in files.open(stored.id, start)])

        assert part == content[start : start + size]
        assert rest == content[start:]

    async def test_only_files_of_no_thread_are_placed_in_one(self, files: FileStore) -> None:
        loose = await files.put(record(), chunks(b"a"), limit=10)
        placed = await files.put(record(thread_id="t1"), chunks(b"b"), limit=10)

        await files.place([loose.id, placed.id, "unknown"], "t2")

        found = [await files.file(one.id) for one in (loose, placed)]
        assert [one and one.thread_id for one in found] == ["t2", "t1"]

    async def test_an_empty_file_is_a_file(self, files: FileStore) -> None:
        stored = await files.put(record(), chunks(), limit=10)

        assert stored.size == 0
        assert await body(files, stored.id) == b""

    async def test_the_claimed_size_does_not_count(self, files: FileStore) -> None:
        stored = await files.put(record(size=999), chunks(b"abc"), limit=10)

        assert stored.size == 3

    async def test_a_file_of_exactly_the_limit_is_kept(self, files: FileStore) -> None:
        stored = await files.put(record(), chunks(b"12345", b"67890"), limit=10)

        assert stored.size == 10

    async def test_nothing_is_kept_of_a_file_past_the_limit(self, files: FileStore) -> None:
        too_big = record()

        with pytest.raises(TooLarge):
            await files.put(too_big, chunks(b"12345", b"678901"), limit=10)

        assert await files.file(too_big.id) is None
        with pytest.raises(NotFound):
            await body(files, too_big.id)

    async def test_reading_stops_at_the_limit(self, files: FileStore) -> None:
        given = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal given
            while True:
                given += 1
                yield b"x" * 1000

        with pytest.raises(TooLarge):
            await files.put(record(), endless(), limit=10_000)

        assert given == 11

    async def test_an_upload_that_breaks_off_leaves_nothing(self, files: FileStore) -> None:
        broken = record()

        async def breaking() -> AsyncIterator[bytes]:
            yield b"half"
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            await files.put(broken, breaking(), limit=10)

        assert await files.file(broken.id) is None

    async def test_a_cancelled_upload_leaves_nothing(self, files: FileStore) -> None:
        cut, started = record(), asyncio.Event()

        async def stuck() -> AsyncIterator[bytes]:
            yield b"half"
            started.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(files.put(cut, stuck(), limit=10))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert await files.file(cut.id) is None

    @pytest.mark.parametrize(
        "name",
        ["../../etc/passwd", "/etc/passwd", "a\u0000b", "..", "x" * 3000, "нет/файл.txt", ""],
    )
    async def test_a_hostile_name_is_only_a_name(self, files: FileStore, name: str) -> None:
        stored = await files.put(record(name=name), chunks(b"abc"), limit=10)

        found = await files.file(stored.id)

        assert found is not None
        assert found.name == name.replace("\u0000", "")
        assert await body(files, stored.id) == b"abc"

    async def test_a_hostile_id_is_only_an_id(self, files: FileStore) -> None:
        stored = await files.put(record(id=f"../../{uuid.uuid4()}"), chunks(b"abc"), limit=10)

        assert await body(files, stored.id) == b"abc"

    async def test_a_taken_id_conflicts_and_the_first_file_stays(self, files: FileStore) -> None:
        first = await files.put(record(), chunks(b"first"), limit=10)

        with pytest.raises(Conflict):
            await files.put(record(id=first.id), chunks(b"second"), limit=10)

        assert await body(files, first.id) == b"first"

    async def test_a_deleted_file_is_gone(self, files: FileStore) -> None:
        stored = await files.put(record(), chunks(b"abc"), limit=10)

        await files.delete(stored.id)
        await files.delete(stored.id)

        assert await files.file(stored.id) is None
        with pytest.raises(NotFound):
            await body(files, stored.id)

    async def test_an_unknown_file_is_not_found_at_the_first_chunk(self, files: FileStore) -> None:
        reading = files.open(uuid.uuid4().hex)

        with pytest.raises(NotFound):
            await anext(reading)
