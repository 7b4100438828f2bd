"""What every `ThreadStore` promises, beside the archive that fills its list."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from parlour.core.streams import Position
from parlour.errors import Conflict, Forbidden, InvalidPayload, NotFound
from parlour.ports import Archive, ProjectionChange, ThreadRecord, ThreadStore
from parlour.testing.contracts.archive import entry, message


def thread(user_id: str, **fields: Any) -> ThreadRecord:
    return ThreadRecord(str(uuid.uuid4()), user_id, **fields)


def somebody() -> str:
    return uuid.uuid4().hex


async def say(
    archive: Archive,
    thread_id: str,
    *messages: dict[str, Any],
    state: dict[str, Any] | None = None,
    deletes: tuple[str, ...] = (),
) -> None:
    """Write one event to a thread's stream and a projection with these messages."""
    stream = f"thread:{thread_id}"
    position = (await archive.origin(writes_through=True).open(stream)).position
    await archive.write([entry(stream, position.epoch, position.offset + 1)])
    moved = await archive.project(
        ProjectionChange(
            stream,
            Position(position.epoch, position.offset + 1),
            position.offset,
            state or {},
            messages,
            deletes,
        )
    )
    assert moved


class ThreadStoreContract:
    """Give it the fixtures `threads` and `archive`, on one database."""

    @pytest.fixture
    async def threads(self) -> ThreadStore:
        raise NotImplementedError

    @pytest.fixture
    async def archive(self) -> Archive:
        raise NotImplementedError

    async def _ids(self, threads: ThreadStore, user_id: str, **how: Any) -> list[str]:
        found, _ = await threads.threads(user_id, cursor=None, limit=100, **how)
        return [one.id for one in found]

    # -- one thread ------------------------------------------------------------------------------

    async def test_a_thread_comes_back_as_created(self, threads: ThreadStore) -> None:
        record = thread(
            somebody(),
            title="T",
            tags=["a"],
            metadata={"k": [1]},
            chat_profile="p",
            created_at=1,
            updated_at=2,
        )

        created = await threads.create_thread(record)

        assert created == record
        assert await threads.thread(record.id) == record

    async def test_creating_it_again_gives_the_one_that_exists(self, threads: ThreadStore) -> None:
        record = await threads.create_thread(thread(somebody(), title="first"))

        again = await threads.create_thread(ThreadRecord(record.id, record.user_id, title="second"))

        assert again == record

    async def test_somebody_else_s_thread_is_forbidden(self, threads: ThreadStore) -> None:
        record = await threads.create_thread(thread(somebody()))

        with pytest.raises(Forbidden):
            await threads.create_thread(ThreadRecord(record.id, somebody()))

    async def test_an_unknown_thread_is_none(self, threads: ThreadStore) -> None:
        assert await threads.thread(str(uuid.uuid4())) is None

    async def test_updating_changes_the_named_fields(self, threads: ThreadStore) -> None:
        record = await threads.create_thread(thread(somebody(), title="old", tags=["a"]))

        updated = await threads.update_thread(record.id, title="new", metadata={"x": 1})

        assert (updated.title, updated.metadata, updated.tags) == ("new", {"x": 1}, ["a"])
        assert await threads.thread(record.id) == updated

    async def test_updating_nothing_known_is_not_found(self, threads: ThreadStore) -> None:
        with pytest.raises(NotFound):
            await threads.update_thread(str(uuid.uuid4()), title="x")

    # -- the list --------------------------------------------------------------------------------

    async def test_a_thread_is_listed_once_a_person_spoke(
        self, threads: ThreadStore, archive: Archive
    ) -> None:
        user = somebody()
        record = await threads.create_thread(thread(user))
        await say(archive, record.id, message(1, role="assistant"))

        before = await self._ids(threads, user)
        await say(archive, record.id, message(2, role="user"))
        after = await self._ids(threads, user)

        assert before == []
        assert after == [record.id]

    async def test_the_row_follows_the_projection(
        self, threads: ThreadStore, archive: Archive
    ) -> None:
        record = await threads.create_thread(thread(somebody(), updated_at=1))

        await say(
            archive,
            record.id,
            message(1, content="a question"),
            message(2, role="assistant", content="an\n answer " + "x" * 500),
            state={"title": "Weather", "tags": ["sun"]},
        )
        found = await threads.thread(record.id)

        assert found is not None
        assert (found.title, found.tags, found.message_count) == ("Weather", ["sun"], 2)
        assert found.preview.startswith("an answer xxx")
        assert len(found.preview) <= 200
        assert found.updated_at == message(2)["created_at"]

    async def test_a_thread_whose_only_message_was_deleted_is_not_listed(
        self, threads: ThreadStore, archive: Archive
    ) -> None:
        user = somebody()
        record = await threads.create_thread(thread(user))
        await say(archive, record.id, message(1))

        await say(archive, record.id, deletes=("m1",))
        found = await threads.thread(record.id)

        assert await self._ids(threads, user) == []
        assert found is not None
        assert (found.message_count, found.preview) == (0, "")

    async def test_counts_follow_edits_repeats_and_deletions(
        self, threads: ThreadStore, archive: Archive
    ) -> None:
        record = await threads.create_thread(thread(somebody()))
        await say(archive, record.id, *(message(n) for n in range(1, 6)))
        await say(archive, record.id, message(2, content="edited"), message(6))
        await say(archive, record.id, deletes=("m1", "m3", "never there"))
        await say(archive, record.id, message(4, content="written anew"), deletes=("m4",))

        found = await threads.thread(record.id)
        stored = await archive.messages(f"thread:{record.id}", before=None, limit=100)

        assert found is not None
        assert found.message_count == len(stored) == 4

    async def test_a_row_made_after_the_projection_catches_up(
        self, threads: ThreadStore, archive: Archive
    ) -> None:
        user, record = somebody(), thread("")
        record.user_id = user
        await say(archive, record.id, message(1, content="early"))

        created = await threads.create_thread(record)

        assert (created.message_count, created.preview) == (1, "early")
        assert await self._ids(threads, user) == [record.id]

    async def test_newest_activity_comes_first(
        self, threads: ThreadStore, archive: Archive
    ) -> None:
        user = somebody()
        records = [await threads.create_thread(thread(user)) for _ in range(3)]
        for record, number in zip(records, (5, 9, 7), strict=True):
            await say(archive, record.id, message(number))

        listed = await self._ids(threads, user)

        assert listed == [records[1].id, records[2].id, records[0].id]

    async def test_pages_never_repeat_though_the_list_lives(
        self, threads: ThreadStore, archive: Archive
    ) -> None:
        user = somebody()
        records = [await threads.create_thread(thread(user)) for _ in range(7)]
        for record in records:
            await say(archive, record.id, message(1))

        seen: list[str] = []
        cursor = None
        while True:
            page, cursor = await threads.threads(user, cursor=cursor, limit=3)
            seen += [one.id for one in page]
            if cursor is None:
                break
            # Somebody writes in a thread of the next pages: it moves to the top, and is not given
            # twice.
            await say(archive, seen[0], message(50 + len(seen)))

        assert len(seen) == len(set(seen)) == 7

    async def test_others_threads_are_not_listed(
        self, threads: ThreadStore, archive: Archive
    ) -> None:
        record = await threads.create_thread(thread(somebody()))
        await say(archive, record.id, message(1))

        assert await self._ids(threads, somebody()) == []

    async def test_a_foreign_cursor_is_refused(self, threads: ThreadStore) -> None:
        for cursor in ("", "not ours", "AAAA", "WzEsMl0", "WzFlOTksICJ4Il0"):
            with pytest.raises(InvalidPayload):
                await threads.threads(somebody(), cursor=cursor, limit=3)

    # -- search ----------------------------------------------------------------------------------

    async def test_search_finds_titles_and_texts_in_any_case(
        self, threads: ThreadStore, archive: Archive
    ) -> None:
        user = somebody()
        titled, spoken, neither = [await threads.create_thread(thread(user)) for _ in range(3)]
        await say(archive, titled.id, message(1), state={"title": "Über Äpfel"})
        await say(archive, spoken.id, message(2, content="I like ÄPFEL."))
        await say(archive, neither.id, message(3, content="pears"))

        found = await self._ids(threads, user, search="äpfel")

        assert found == [spoken.id, titled.id]

    @pytest.mark.parametrize("hostile", ["%", "_", "\\", "100%", "a_b", "'; --", "\u0000"])
    async def test_search_takes_every_letter_literally(
        self, threads: ThreadStore, archive: Archive, hostile: str
    ) -> None:
        user = somebody()
        plain, exact = [await threads.create_thread(thread(user)) for _ in range(2)]
        await say(archive, plain.id, message(1, content="100 axb"))
        await say(archive, exact.id, message(2, content=f"it is {hostile} here"))

        found = await self._ids(threads, user, search=hostile)

        assert exact.id in found
        assert (plain.id in found) == (hostile == "\u0000")  # nothing is left of a NUL

    # -- deleting --------------------------------------------------------------------------------

    async def test_a_deleted_thread_is_gone_with_everything(
        self, threads: ThreadStore, archive: Archive
    ) -> None:
        user = somebody()
        record = await threads.create_thread(thread(user))
        await say(archive, record.id, message(1))
        stream = f"thread:{record.id}"

        await threads.delete_thread(record.id)
        await threads.delete_thread(record.id)

        assert await threads.thread(record.id) is None
        assert await self._ids(threads, user) == []
        assert await archive.projection(stream, 10) is None
        assert list(await archive.messages(stream, before=None, limit=10)) == []
        assert list((await archive.read(stream, None, 10)).events) == []

    async def test_a_deleted_id_can_never_be_used_again(self, threads: ThreadStore) -> None:
        record = await threads.create_thread(thread(somebody()))
        await threads.delete_thread(record.id)

        with pytest.raises(Conflict):
            await threads.create_thread(ThreadRecord(record.id, record.user_id))

        assert await threads.thread(record.id) is None

    async def test_an_id_that_never_existed_can_be_deleted_for_good(
        self, threads: ThreadStore
    ) -> None:
        record = thread(somebody())
        await threads.delete_thread(record.id)

        with pytest.raises(Conflict):
            await threads.create_thread(record)

    async def test_what_is_written_after_the_deletion_does_not_come_back(
        self, threads: ThreadStore, archive: Archive
    ) -> None:
        record = await threads.create_thread(thread(somebody()))
        await say(archive, record.id, message(1))
        stream = f"thread:{record.id}"
        head = await archive.head(stream)
        await threads.delete_thread(record.id)
        assert head is not None

        await archive.write([entry(stream, head.epoch, head.offset + 1, 2)])
        late = ProjectionChange(
            stream, Position(head.epoch, head.offset + 2), head.offset + 2, {}, [message(9)]
        )

        assert not await archive.project(late)
        assert list((await archive.read(stream, None, 10)).events) == []
        assert list(await archive.messages(stream, before=None, limit=10)) == []
        assert stream not in await archive.lagging(100_000)
