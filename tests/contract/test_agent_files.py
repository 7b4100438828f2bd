"""Both stores of agents' files keep their contract: a folder, and a bucket behind a real S3 endpoint."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from parlour.agents.files import LocalFileStore, file_store_of
from parlour.agents.files.s3 import S3FileStore
from parlour.agents.ports import FileStore
from parlour.backends.bucket import Bucket
from parlour.config import Settings
from parlour.errors import SettingsError, Unavailable
from parlour.testing.contracts.agent_files import AgentFilesContract

KEY = ("id", "secret")


class TestFolder(AgentFilesContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> FileStore:
        return LocalFileStore(tmp_path / "files")

    async def test_a_link_leads_nowhere(self, store: FileStore, tmp_path: Path) -> None:
        await store.write("a/b", b"x")
        os.symlink("/etc", tmp_path / "files" / "link")

        listed = await store.list("")

        assert [path for path in listed if path.startswith("link/")] == []

    async def test_a_write_that_was_cut_off_is_not_listed(
        self, store: FileStore, tmp_path: Path
    ) -> None:
        await store.write("a/b", b"x")
        (tmp_path / "files" / "a" / ".parlour-0123").write_bytes(b"half")

        assert list(await store.list("")) == ["a/b"]


class TestBucket(AgentFilesContract):
    @pytest.fixture
    async def store(self, s3_endpoint: str, s3_bucket: str) -> FileStore:
        return S3FileStore(Bucket(s3_bucket, s3_endpoint, key=KEY))


async def test_a_folder_of_a_bucket_is_a_store_of_its_own(s3_endpoint: str, s3_bucket: str) -> None:
    whole = S3FileStore(Bucket(s3_bucket, s3_endpoint, key=KEY))
    part = S3FileStore(Bucket(s3_bucket, s3_endpoint, key=KEY), "/deep/er/")
    await whole.write("other", b"x")

    await part.write("mine", b"x")

    assert list(await part.list("")) == ["mine"]
    assert list(await whole.list("")) == ["deep/er/mine", "other"]


async def test_a_bucket_that_is_not_there_is_unavailable(s3_endpoint: str) -> None:
    store = S3FileStore(Bucket("no-such-bucket", s3_endpoint, key=KEY))

    with pytest.raises(Unavailable):
        await store.write("a", b"x")
    with pytest.raises(Unavailable):
        await store.read("a")


async def test_a_service_that_is_away_is_unavailable(unused_tcp_port: int) -> None:
    store = S3FileStore(Bucket("b", f"http://127.0.0.1:{unused_tcp_port}", key=KEY))

    for attempt in (store.write("a", b"x"), store.read("a"), store.list(""), store.delete("a")):
        with pytest.raises(Unavailable):
            await attempt


async def test_a_wrong_address_tells_no_secret(unused_tcp_port: int) -> None:
    store = S3FileStore(Bucket("b", f"http://127.0.0.1:{unused_tcp_port}", key=("id", "hunter2")))

    with pytest.raises(Unavailable) as caught:
        await store.read("a")

    assert "hunter2" not in str(caught.value.to_wire())


async def test_the_settings_name_the_store(
    tmp_path: Path, s3_endpoint: str, s3_bucket: str
) -> None:
    settings = Settings(
        data_folder=tmp_path,
        agent_files=f"s3://{s3_bucket}/sessions",
        agent_files_endpoint=s3_endpoint,
        agent_files_key="id:secret",
    )

    await file_store_of(settings).write("a", b"x")

    assert await S3FileStore(Bucket(s3_bucket, s3_endpoint, key=KEY)).read("sessions/a") == b"x"


async def test_without_a_bucket_files_are_in_the_data_folder(tmp_path: Path) -> None:
    await file_store_of(Settings(data_folder=tmp_path)).write("a/b", b"x")

    assert (tmp_path / "agents" / "a" / "b").read_bytes() == b"x"


def test_half_a_key_is_told(tmp_path: Path) -> None:
    settings = Settings(data_folder=tmp_path, agent_files="s3://b", agent_files_key="id")

    with pytest.raises(SettingsError, match="id:secret"):
        file_store_of(settings)
