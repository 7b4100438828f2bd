"""What every `Archive` promises."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from parlour.core.streams import Appended, Event, Position
from parlour.errors import ExpectationFailed, LeaseLost, PositionLost
from parlour.ports import Archive, Entry, Opening, ProjectionChange
from parlour.testing.contracts.making import fresh, offsets, texts


def entry(
    stream: str,
    epoch: str,
    first: int,
    count: int = 1,
    *,
    fence: int | None = None,
    receipt: tuple[str, Appended] | None = None,
    text: str = "",
) -> Entry:
    """One append of `count` events from offset `first`, each with its offset as text."""
    events = [
        Event(stream, epoch, offset, "note", {"text": text or str(offset)}, 1_700_000_000_000)
        for offset in range(first, first + count)
    ]
    return Entry(stream, epoch, events, fence, receipt)


def message(number: int, role: str = "user", content: str = "hello", **more: Any) -> dict[str, Any]:
    return {
        "id": f"m{number}",
        "offset": number,
        "role": role,
        "content": content,
        "author": {"id": "ann", "name": "Ann"},
        "created_at": 1_700_000_000_000 + number,
        **more,
    }


class ArchiveContract:
    """Give it a fixture `archive`."""

    @pytest.fixture
    async def archive(self) -> Archive:
        raise NotImplementedError

    async def _written(self, archive: Archive, stream: str, count: int) -> str:
        """A stream with `count` events that a log has written through; gives its epoch."""
        opening = await archive.origin(writes_through=True).open(stream)
        await archive.write([entry(stream, opening.position.epoch, 1, count)])
        return opening.position.epoch

    # -- writing and reading ---------------------------------------------------------------------

    async def test_what_was_written_is_read_as_it_was(self, archive: Archive) -> None:
        stream, data = fresh(), {"text": "ä\u0000\U0001f600", "deep": [1, None, {"x": 2**53 - 1}]}
        epoch = (await archive.origin(writes_through=True).open(stream)).position.epoch
        event = Event(stream, epoch, 1, "message", data, 5, "user:ann", "command-1")

        await archive.write([Entry(stream, epoch, [event])])
        page = await archive.read(stream, None, 10)

        assert list(page.events) == [event]
        assert page.position == page.head == await archive.head(stream)

    async def test_one_write_may_hold_many_streams(self, archive: Archive) -> None:
        one, two = fresh(), fresh()

        await archive.write([entry(one, "e", 1, 2), entry(two, "e", 1), entry(one, "e", 3)])

        assert await archive.head(one) == Position("e", 3)
        assert await archive.head(two) == Position("e", 1)

    async def test_offsets_that_are_held_are_skipped(self, archive: Archive) -> None:
        stream = fresh()
        await archive.write([entry(stream, "e", 1, 3, text="first")])

        await archive.write([entry(stream, "e", 1, 3, text="again")])
        await archive.write([entry(stream, "e", 2, 3, text="more")])

        page = await archive.read(stream, None, 10)
        assert texts(page.events) == ["first", "first", "first", "more"]

    async def test_a_gap_is_refused_and_nothing_of_the_write_is_kept(
        self, archive: Archive
    ) -> None:
        stream, other = fresh(), fresh()
        await archive.write([entry(stream, "e", 1)])

        with pytest.raises(ExpectationFailed):
            await archive.write([entry(other, "e", 1), entry(stream, "e", 3)])

        assert await archive.head(stream) == Position("e", 1)
        assert await archive.head(other) is None

    async def test_a_foreign_epoch_is_refused(self, archive: Archive) -> None:
        stream = fresh()
        await archive.write([entry(stream, "e", 1)])

        with pytest.raises(ExpectationFailed):
            await archive.write([entry(stream, "other", 2)])

    async def test_a_stale_fence_is_refused_and_nothing_of_the_write_is_kept(
        self, archive: Archive
    ) -> None:
        stream, other = fresh(), fresh()
        await archive.write([entry(stream, "e", 1, fence=7)])

        with pytest.raises(LeaseLost):
            await archive.write([entry(other, "e", 1), entry(stream, "e", 2, fence=6)])

        assert await archive.head(stream) == Position("e", 1)
        assert await archive.head(other) is None

    async def test_a_repeated_write_passes_though_the_fence_has_risen(
        self, archive: Archive
    ) -> None:
        stream = fresh()
        write = [entry(stream, "e", 1, fence=1), entry(stream, "e", 2, fence=2)]
        await archive.write(write)

        await archive.write(write)

        assert await archive.head(stream) == Position("e", 2)

    async def test_concurrent_writers_of_one_stream_leave_no_double(self, archive: Archive) -> None:
        stream = fresh()
        writes = [entry(stream, "e", 1, count) for count in range(1, 11)]

        await asyncio.gather(*(archive.write([one]) for one in writes))
        page = await archive.read(stream, None, 100)

        assert offsets(page.events) == list(range(1, 11))

    async def test_an_empty_write_does_nothing(self, archive: Archive) -> None:
        await archive.write([])

    async def test_pages_are_contiguous(self, archive: Archive) -> None:
        stream = fresh()
        await archive.write([entry(stream, "e", 1, 10)])

        first = await archive.read(stream, None, 4)
        second = await archive.read(stream, first.position, 4)

        assert offsets(first.events) == [1, 2, 3, 4]
        assert offsets(second.events) == [5, 6, 7, 8]
        assert second.position == Position("e", 8)
        assert second.head == Position("e", 10)

    @pytest.mark.parametrize("after", [Position("e", 3), Position("other", 1)])
    async def test_the_future_and_foreign_epochs_are_lost(
        self, archive: Archive, after: Position
    ) -> None:
        stream = fresh()
        await archive.write([entry(stream, "e", 1, 2)])

        with pytest.raises(PositionLost):
            await archive.read(stream, after, 10)

    async def test_an_unknown_stream_has_no_head_and_nothing_to_read(
        self, archive: Archive
    ) -> None:
        stream = fresh()

        page = await archive.read(stream, None, 10)

        assert await archive.head(stream) is None
        assert list(page.events) == []
        assert page.position == page.head
        assert page.head.offset == 0

    # -- origin ----------------------------------------------------------------------------------

    async def test_a_new_stream_opens_at_zero(self, archive: Archive) -> None:
        stream = fresh()

        opening = await archive.origin(writes_through=False).open(stream)

        assert opening.position.offset == 0
        assert opening.fence == 0
        assert dict(opening.receipts) == {}

    async def test_written_through_keeps_the_epoch_for_ever(self, archive: Archive) -> None:
        stream, origin = fresh(), archive.origin(writes_through=True)
        epoch = await self._written(archive, stream, 2)

        again = await origin.open(stream)
        and_again = await origin.open(stream)

        assert again.position == and_again.position == Position(epoch, 2)

    async def test_an_unsealed_stream_gets_a_new_epoch_and_keeps_its_offsets(
        self, archive: Archive
    ) -> None:
        stream, origin = fresh(), archive.origin(writes_through=False)
        before = await origin.open(stream)
        await archive.write([entry(stream, before.position.epoch, 1, 2)])

        after = await origin.open(stream)
        page = await archive.read(stream, None, 10)

        assert after.position.epoch != before.position.epoch
        assert after.position.offset == 2
        assert offsets(page.events) == [1, 2]
        assert {event.epoch for event in page.events} == {after.position.epoch}
        with pytest.raises(PositionLost):
            await archive.read(stream, Position(before.position.epoch, 1), 10)

    async def test_a_sealed_stream_keeps_its_epoch_once(self, archive: Archive) -> None:
        stream, origin = fresh(), archive.origin(writes_through=False)
        opened = (await origin.open(stream)).position
        await archive.write([entry(stream, opened.epoch, 1, 2)])
        sealed = await archive.seal(stream, Position(opened.epoch, 2))

        again = await origin.open(stream)
        crashed = await origin.open(stream)

        assert sealed
        assert again.position == Position(opened.epoch, 2)
        assert crashed.position.epoch != opened.epoch

    async def test_sealing_elsewhere_than_at_the_head_is_refused(self, archive: Archive) -> None:
        stream, origin = fresh(), archive.origin(writes_through=False)
        opened = (await origin.open(stream)).position
        await archive.write([entry(stream, opened.epoch, 1, 2)])

        behind = await archive.seal(stream, Position(opened.epoch, 1))
        ahead = await archive.seal(stream, Position(opened.epoch, 3))
        foreign = await archive.seal(stream, Position("other", 2))

        assert (behind, ahead, foreign) == (False, False, False)
        assert (await origin.open(stream)).position.epoch != opened.epoch

    async def test_a_hot_window_that_died_is_noticed_by_a_log_that_writes_through(
        self, archive: Archive
    ) -> None:
        stream = fresh()
        hot = await archive.origin(writes_through=False).open(stream)

        through = await archive.origin(writes_through=True).open(stream)

        assert through.position.epoch != hot.position.epoch

    async def test_opening_restores_fence_and_receipts(self, archive: Archive) -> None:
        stream, origin = fresh(), archive.origin(writes_through=True)
        epoch = (await origin.open(stream)).position.epoch
        first = Appended(epoch, 1, 2, receipt=b"\x00answer\xff")
        await archive.write([entry(stream, epoch, 1, 2, fence=9, receipt=("key", first))])

        opening = await origin.open(stream)

        assert opening == Opening(Position(epoch, 2), 9, {"key": first})

    async def test_the_first_receipt_of_a_key_stands(self, archive: Archive) -> None:
        stream, origin = fresh(), archive.origin(writes_through=True)
        epoch = (await origin.open(stream)).position.epoch
        first, second = Appended(epoch, 1, 1, receipt=b"1"), Appended(epoch, 2, 2, receipt=b"2")
        await archive.write([entry(stream, epoch, 1, receipt=("key", first))])

        await archive.write([entry(stream, epoch, 2, receipt=("key", second))])

        assert (await origin.open(stream)).receipts == {"key": first}

    # -- compacting ------------------------------------------------------------------------------

    async def test_compacting_raises_the_floor_and_keeps_the_head(self, archive: Archive) -> None:
        stream = fresh()
        await archive.write([entry(stream, "e", 1, 5)])

        await archive.compact(stream, 3)
        page = await archive.read(stream, None, 10)

        assert offsets(page.events) == [4, 5]
        assert page.head == Position("e", 5)
        with pytest.raises(PositionLost):
            await archive.read(stream, Position("e", 2), 10)

    async def test_compacted_events_do_not_come_back(self, archive: Archive) -> None:
        stream = fresh()
        await archive.write([entry(stream, "e", 1, 5)])
        await archive.compact(stream, 99)

        await archive.write([entry(stream, "e", 1, 6)])

        assert offsets((await archive.read(stream, None, 10)).events) == [6]

    async def test_compacting_an_unknown_stream_is_harmless(self, archive: Archive) -> None:
        await archive.compact(fresh(), 3)

    # -- projections -----------------------------------------------------------------------------

    async def test_a_stream_without_projection_has_none(self, archive: Archive) -> None:
        stream = fresh()
        await self._written(archive, stream, 1)

        assert await archive.projection(stream, 10) is None
        assert await archive.projection(fresh(), 10) is None

    async def test_a_projection_comes_back_with_its_newest_messages(self, archive: Archive) -> None:
        stream = fresh()
        epoch = await self._written(archive, stream, 5)
        messages = [message(n, extra="\u0000") for n in (1, 2, 3)]
        change = ProjectionChange(stream, Position(epoch, 5), 0, {"title": "T"}, messages)

        moved = await archive.project(change)
        stored = await archive.projection(stream, 2)

        assert moved
        assert stored is not None
        assert stored.position == Position(epoch, 5)
        assert stored.state == {"title": "T"}
        assert list(stored.messages) == messages[1:]

    async def test_of_two_projectors_one_moves_it(self, archive: Archive) -> None:
        stream = fresh()
        epoch = await self._written(archive, stream, 2)
        changes = [
            ProjectionChange(stream, Position(epoch, 2), 0, {"by": n}, [message(n)]) for n in (1, 2)
        ]

        moved = await asyncio.gather(*(archive.project(change) for change in changes))
        stored = await archive.projection(stream, 10)

        assert sorted(moved) == [False, True]
        assert stored is not None
        assert [one["id"] for one in stored.messages] == [f"m{stored.state['by']}"]

    async def test_a_projection_of_an_old_epoch_is_refused(self, archive: Archive) -> None:
        stream, origin = fresh(), archive.origin(writes_through=False)
        old = (await origin.open(stream)).position.epoch
        await archive.write([entry(stream, old, 1)])
        await origin.open(stream)

        assert not await archive.project(ProjectionChange(stream, Position(old, 1), 0, {}))

    async def test_a_projection_cannot_be_ahead_of_the_events(self, archive: Archive) -> None:
        stream = fresh()
        epoch = await self._written(archive, stream, 1)

        with pytest.raises(ExpectationFailed):
            await archive.project(ProjectionChange(stream, Position(epoch, 2), 0, {}))

        assert await archive.projection(stream, 1) is None

    async def test_messages_are_changed_and_deleted(self, archive: Archive) -> None:
        stream = fresh()
        epoch = await self._written(archive, stream, 5)
        await archive.project(
            ProjectionChange(stream, Position(epoch, 3), 0, {}, [message(n) for n in (1, 2, 3)])
        )

        await archive.project(
            ProjectionChange(
                stream, Position(epoch, 5), 3, {}, [message(1, content="edited")], deletes=["m2"]
            )
        )
        stored = await archive.messages(stream, before=None, limit=10)

        assert [(one["id"], one["content"]) for one in stored] == [
            ("m3", "hello"),
            ("m1", "edited"),
        ]

    async def test_a_renewed_epoch_keeps_the_projection(self, archive: Archive) -> None:
        stream, origin = fresh(), archive.origin(writes_through=False)
        old = (await origin.open(stream)).position.epoch
        await archive.write([entry(stream, old, 1)])
        await archive.project(ProjectionChange(stream, Position(old, 1), 0, {"a": 1}, [message(1)]))

        new = (await origin.open(stream)).position
        stored = await archive.projection(stream, 10)

        assert stored is not None
        assert stored.position == new
        assert stored.state == {"a": 1}

    async def test_older_messages_are_paged_by_offset(self, archive: Archive) -> None:
        stream = fresh()
        epoch = await self._written(archive, stream, 9)
        await archive.project(
            ProjectionChange(stream, Position(epoch, 9), 0, {}, [message(n) for n in range(1, 10)])
        )

        newest = await archive.messages(stream, before=None, limit=3)
        older = await archive.messages(stream, before=newest[-1]["offset"], limit=3)

        assert [one["offset"] for one in newest] == [9, 8, 7]
        assert [one["offset"] for one in older] == [6, 5, 4]

    async def test_lagging_names_streams_behind_and_streams_with_runs(
        self, archive: Archive
    ) -> None:
        behind, running, current = fresh(), fresh(), fresh()
        await self._written(archive, behind, 1)
        for stream, runs in ((running, 1), (current, 0)):
            epoch = await self._written(archive, stream, 1)
            change = ProjectionChange(stream, Position(epoch, 1), 0, {}, active_runs=runs)
            await archive.project(change)

        lagging = await archive.lagging(100_000)

        assert behind in lagging
        assert running in lagging
        assert current not in lagging
        assert len(await archive.lagging(1)) == 1
