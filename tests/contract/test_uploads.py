"""Uploaded files in a bucket, behind a real S3 endpoint: the same contract as in a folder."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import obstore
import pytest

from parlour.backends.blobs import FolderBlobs, open_blobs
from parlour.backends.blobs.bucket import BucketBlobs
from parlour.backends.bucket import Bucket
from parlour.backends.sql import SqlStore, open_sql
from parlour.errors import NotFound, SettingsError, TooLarge, Unavailable
from parlour.ports import FileStore
from parlour.testing.clock import ManualClock
from parlour.testing.contracts import FileStoreContract
from parlour.testing.contracts.files import body, chunks, record

KEY = ("id", "secret")


@pytest.fixture
def place(s3_endpoint: str, s3_bucket: str) -> Bucket:
    return Bucket(s3_bucket, s3_endpoint, key=KEY)


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock, place: Bucket) -> AsyncIterator[SqlStore]:
    url = f"sqlite:///{tmp_path}/parlour.db"
    opened = await open_sql(url, tmp_path, clock=clock, blobs=BucketBlobs(place, "up/loads"))
    yield opened
    await opened.close()


class TestBucketFiles(FileStoreContract):
    @pytest.fixture
    async def files(self, store: SqlStore) -> FileStore:
        return store.files


def objects(place: Bucket) -> list[str]:
    return [one["path"] for one in obstore.list(place.connect()).collect()]


async def test_a_file_of_several_parts_comes_back(store: SqlStore, place: Bucket) -> None:
    content = os.urandom(11 * 2**20 + 7)

    stored = await store.files.put(record(), chunks(content[:1000], content[1000:]), limit=2**24)

    assert await body(store.files, stored.id) == content
    [path] = objects(place)
    assert path.startswith("up/loads/")


async def test_nothing_is_sent_of_a_file_that_is_refused(store: SqlStore, place: Bucket) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield b"x" * 2**20
        raise ConnectionResetError

    with pytest.raises(TooLarge):
        await store.files.put(record(), chunks(b"x" * 2**20, b"y"), limit=2**20)
    with pytest.raises(ConnectionResetError):
        await store.files.put(record(), breaking(), limit=2**24)

    assert objects(place) == []


async def test_a_deleted_file_leaves_no_object(store: SqlStore, place: Bucket) -> None:
    stored = await store.files.put(record(), chunks(b"abc"), limit=10)

    await store.files.delete(stored.id)

    assert objects(place) == []


async def test_two_nodes_share_a_bucket(
    tmp_path: Path, clock: ManualClock, postgres_url: str, place: Bucket
) -> None:
    here = await open_sql(postgres_url, tmp_path / "a", clock=clock, blobs=BucketBlobs(place))
    there = await open_sql(postgres_url, tmp_path / "b", clock=clock, blobs=BucketBlobs(place))

    stored = await here.files.put(record(), chunks(b"from here"), limit=10)

    assert await body(there.files, stored.id) == b"from here"
    await here.close()
    await there.close()


async def test_a_bucket_that_is_away_is_unavailable_and_nothing_is_kept(
    tmp_path: Path, clock: ManualClock, unused_tcp_port: int
) -> None:
    nowhere = BucketBlobs(Bucket("b", f"http://127.0.0.1:{unused_tcp_port}", key=("id", "hunter2")))
    store = await open_sql(f"sqlite:///{tmp_path}/parlour.db", tmp_path, clock=clock, blobs=nowhere)
    refused = record()

    with pytest.raises(Unavailable) as caught:
        await store.files.put(refused, chunks(b"abc"), limit=10)

    assert "hunter2" not in str(caught.value.to_wire())
    assert await store.files.file(refused.id) is None
    await store.close()


async def test_a_file_whose_object_is_gone_is_not_found(store: SqlStore, place: Bucket) -> None:
    stored = await store.files.put(record(), chunks(b"abc"), limit=10)
    await obstore.delete_async(place.connect(), objects(place))

    with pytest.raises(NotFound):
        await body(store.files, stored.id)


def test_the_place_says_what_it_is(tmp_path: Path) -> None:
    inside = open_blobs("", tmp_path)
    folder = open_blobs(str(tmp_path / "elsewhere"), tmp_path)
    bucket = open_blobs("s3://b/deep", tmp_path, endpoint="http://127.0.0.1:1", key="id:secret")

    assert isinstance(inside, FolderBlobs)
    assert isinstance(folder, FolderBlobs)
    assert isinstance(bucket, BucketBlobs)


def test_half_a_key_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="id:secret"):
        open_blobs("s3://b", tmp_path, key="id")
