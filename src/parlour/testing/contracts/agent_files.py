"""What every `parlour.agents.ports.FileStore` promises."""

from __future__ import annotations

import asyncio

import pytest

from parlour.agents.errors import WorkspaceEscape
from parlour.agents.ports import FileStore
from parlour.errors import InvalidPayload, NotFound


class AgentFilesContract:
    """Give it a fixture `store`, empty."""

    @pytest.fixture
    async def store(self) -> FileStore:
        raise NotImplementedError

    async def test_bytes_come_back(self, store: FileStore) -> None:
        content = bytes(range(256)) * 5_000

        await store.write("sessions/a/trajectory.json", content)

        assert await store.read("sessions/a/trajectory.json") == content

    async def test_an_empty_file_is_a_file(self, store: FileStore) -> None:
        await store.write("empty", b"")

        assert await store.read("empty") == b""
        assert list(await store.list("")) == ["empty"]

    async def test_a_second_write_replaces_the_first(self, store: FileStore) -> None:
        await store.write("a/b", b"first, and longer")

        await store.write("a/b", b"second")

        assert await store.read("a/b") == b"second"
        assert list(await store.list("a")) == ["a/b"]

    async def test_a_reader_sees_one_write_whole(self, store: FileStore) -> None:
        size = 300_000
        await store.write("file", b"0" * size)
        writing = [
            asyncio.create_task(store.write("file", bytes([48 + n]) * size)) for n in range(8)
        ]

        seen = [await store.read("file") for _ in range(8)]

        await asyncio.gather(*writing)
        assert all(len(content) == size and len(set(content)) == 1 for content in seen)

    async def test_paths_are_listed_by_prefix_in_order(self, store: FileStore) -> None:
        for path in ("b/2", "b/1", "a", "b/sub/3", "bc/4", "c"):
            await store.write(path, b"x")

        assert list(await store.list("")) == ["a", "b/1", "b/2", "b/sub/3", "bc/4", "c"]
        assert list(await store.list("b")) == ["b/1", "b/2", "b/sub/3", "bc/4"]
        assert list(await store.list("b/")) == ["b/1", "b/2", "b/sub/3"]
        assert list(await store.list("b/su")) == ["b/sub/3"]
        assert list(await store.list("absent/")) == []

    async def test_a_deleted_file_is_gone(self, store: FileStore) -> None:
        await store.write("a/b", b"x")

        await store.delete("a/b")
        await store.delete("a/b")
        await store.delete("never/was")

        with pytest.raises(NotFound):
            await store.read("a/b")
        assert list(await store.list("")) == []

    async def test_what_is_not_there_is_not_found(self, store: FileStore) -> None:
        await store.write("a", b"x")

        with pytest.raises(NotFound):
            await store.read("absent")
        with pytest.raises(NotFound):
            await store.read("absent/below")

    @pytest.mark.parametrize(
        "name", ["ünï/cödé 🎈.txt", "a b/c+d=e&f", "100%/x%2Fy", "q?#[x]*.txt"]
    )
    async def test_any_name_is_only_a_name(self, store: FileStore, name: str) -> None:
        await store.write(name, b"x")

        assert await store.read(name) == b"x"
        assert list(await store.list(name[:2])) == [name]

    @pytest.mark.parametrize("path", ["../x", "a/../../x", "..", "/etc/passwd", "~/x"])
    async def test_no_path_leads_out_of_the_store(self, store: FileStore, path: str) -> None:
        for attempt in (
            lambda: store.read(path),
            lambda: store.write(path, b"x"),
            lambda: store.delete(path),
        ):
            with pytest.raises(WorkspaceEscape):
                await attempt()

    @pytest.mark.parametrize("prefix", ["../", "/", "a/../../"])
    async def test_no_listing_leads_out_of_the_store(self, store: FileStore, prefix: str) -> None:
        with pytest.raises(WorkspaceEscape):
            await store.list(prefix)

    @pytest.mark.parametrize("path", ["", ".", "./", "a\0b"])
    async def test_what_is_no_path_is_refused(self, store: FileStore, path: str) -> None:
        with pytest.raises(InvalidPayload):
            await store.write(path, b"x")

    async def test_a_path_has_one_form(self, store: FileStore) -> None:
        await store.write("a//b/./c", b"x")

        assert await store.read("a/b/c") == b"x"
        assert list(await store.list("")) == ["a/b/c"]
