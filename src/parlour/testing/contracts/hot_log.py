"""What every `HotLog` promises, over an archive."""

from __future__ import annotations

import asyncio
import random
import string
from collections.abc import Awaitable, Callable

import pytest

from parlour.backends.window import WindowLimits
from parlour.core.streams import Dedupe, NewEvent, Position
from parlour.errors import LeaseLost, PositionLost, Unavailable
from parlour.ports import Archive, HotLog
from parlour.testing.contracts.event_log import Ear
from parlour.testing.contracts.making import fresh, note, notes, offsets, read_all, texts

Rest = Callable[[], Awaitable[None]]
Crash = Callable[[], Awaitable[HotLog]]

LIMITS = WindowLimits(
    messages=10,
    events=30,
    bytes=20_000,
    unsynced_events=60,
    unsynced_bytes=200_000,
    expiry_ms=300,
)
"""What the fixture `hot` must be made with: small, so that the bounds are met."""


def said(*words: str) -> list[NewEvent]:
    """Messages, as opposed to other events."""
    return [NewEvent("message", {"text": word}, at=1_700_000_000_000) for word in words]


async def synchronise(hot: HotLog, archive: Archive, limit: int = 1000) -> None:
    """Write everything behind, as the synchroniser does."""
    while names := await hot.dirty(100):
        for name in names:
            entries = await hot.unsynced(name, limit)
            await archive.write(entries)
            last = entries[-1].events[-1].position
            await hot.mark_synced(name, last)


class HotLogContract:
    """Give it the fixtures `archive`, `hot` (over `archive.origin(writes_through=False)`, made with
    `LIMITS`), `rest` (lets the expiry pass) and `crash` (ends the hot log with the loss of
    everything that it holds and gives one that comes back)."""

    @pytest.fixture
    async def archive(self) -> Archive:
        raise NotImplementedError

    @pytest.fixture
    async def hot(self, archive: Archive) -> HotLog:
        raise NotImplementedError

    @pytest.fixture
    async def rest(self) -> Rest:
        raise NotImplementedError

    @pytest.fixture
    async def crash(self, hot: HotLog, archive: Archive) -> Crash:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    async def nothing_left_behind(self, hot: HotLog, archive: Archive) -> None:
        """The bound on unsynchronised data is shared by all streams of a store."""
        await synchronise(hot, archive)

    # -- writing behind --------------------------------------------------------------------------

    async def test_what_was_appended_is_dirty_until_it_is_marked(
        self, hot: HotLog, archive: Archive
    ) -> None:
        stream = fresh()
        await hot.append(stream, notes("a", "b"))

        before = await hot.dirty(10)
        await synchronise(hot, archive)
        after = await hot.dirty(10)

        assert list(before) == [stream]
        assert list(after) == []
        assert await archive.head(stream) == await hot.head(stream)

    async def test_unsynced_gives_whole_appends_in_order(self, hot: HotLog) -> None:
        stream = fresh()
        await hot.append(stream, notes("a", "b"), fence=4)
        await hot.append(stream, notes("c"), dedupe=Dedupe("key", b"\x00r"))
        await hot.append(stream, notes("d"))

        entries = await hot.unsynced(stream, 100)

        assert [texts(one.events) for one in entries] == [["a", "b"], ["c"], ["d"]]
        assert [one.fence for one in entries] == [4, None, None]
        assert entries[0].receipt is None
        assert entries[1].receipt is not None
        key, first = entries[1].receipt
        assert (key, first.first, first.last, first.receipt) == ("key", 3, 3, b"\x00r")

    async def test_unsynced_never_cuts_an_append(self, hot: HotLog) -> None:
        stream = fresh()
        await hot.append(stream, notes(*"abcdefgh"))
        await hot.append(stream, notes("i"))

        entries = await hot.unsynced(stream, 3)

        assert [offsets(one.events) for one in entries] == [list(range(1, 9))]

    async def test_marking_a_part_leaves_the_rest(self, hot: HotLog, archive: Archive) -> None:
        stream = fresh()
        for word in "abc":
            await hot.append(stream, notes(word))
        epoch = (await hot.head(stream)).epoch

        await hot.mark_synced(stream, Position(epoch, 2))
        await hot.mark_synced(stream, Position(epoch, 1))

        assert list(await hot.dirty(10)) == [stream]
        assert [texts(one.events) for one in await hot.unsynced(stream, 100)] == [["c"]]

    async def test_a_mark_of_another_epoch_is_ignored(self, hot: HotLog) -> None:
        stream = fresh()
        await hot.append(stream, notes("a"))

        await hot.mark_synced(stream, Position("other", 1))

        assert list(await hot.dirty(10)) == [stream]

    async def test_streams_that_waited_longest_come_first(self, hot: HotLog) -> None:
        streams = [fresh() for _ in range(3)]
        for stream in streams:
            await hot.append(stream, notes("a"))
            await asyncio.sleep(0.002)  # the order is by time, and a store counts in milliseconds
        await hot.append(streams[0], notes("b"))

        assert list(await hot.dirty(2)) == streams[:2]

    async def test_nothing_to_synchronise_is_empty(self, hot: HotLog) -> None:
        assert list(await hot.unsynced(fresh(), 10)) == []

    # -- the window ------------------------------------------------------------------------------

    async def test_the_window_keeps_exactly_the_newest_messages(
        self, hot: HotLog, archive: Archive
    ) -> None:
        stream = fresh()
        for n in range(25):
            await hot.append(stream, said(str(n)))
        await synchronise(hot, archive)

        page = await hot.read(stream, None, 100)

        assert texts(page.events) == [str(n) for n in range(15, 25)]
        assert await hot.window(stream) == (15, 25)
        assert texts(await read_all(archive, stream)) == [str(n) for n in range(25)]

    async def test_other_events_do_not_count_as_messages(
        self, hot: HotLog, archive: Archive
    ) -> None:
        stream = fresh()
        await hot.append(stream, said("first"))
        await hot.append(stream, notes(*(str(n) for n in range(28))))
        await synchronise(hot, archive)

        assert (await hot.window(stream))[0] == 0

    async def test_the_window_is_bounded_in_events(self, hot: HotLog, archive: Archive) -> None:
        stream = fresh()
        await hot.append(stream, notes(*(str(n) for n in range(40))))
        await synchronise(hot, archive)

        assert await hot.window(stream) == (10, 40)

    async def test_the_window_is_bounded_in_bytes(self, hot: HotLog, archive: Archive) -> None:
        stream, chance = fresh(), random.Random(1)
        for _ in range(10):
            # Hardly compressible, whatever the store does with records.
            await hot.append(stream, notes("".join(chance.choices(string.printable, k=5_000))))
        await synchronise(hot, archive)

        base, head = await hot.window(stream)

        assert head == 10
        assert 1 <= base <= 9

    async def test_what_the_archive_lacks_never_leaves_the_window(self, hot: HotLog) -> None:
        stream = fresh()
        for n in range(45):
            await hot.append(stream, said(str(n)))

        assert texts(await read_all(hot, stream)) == [str(n) for n in range(45)]

    async def test_what_left_the_window_is_lost_here(self, hot: HotLog, archive: Archive) -> None:
        stream = fresh()
        for n in range(15):
            await hot.append(stream, said(str(n)))
        await synchronise(hot, archive)
        epoch = (await hot.head(stream)).epoch

        with pytest.raises(PositionLost):
            await hot.read(stream, Position(epoch, 4), 10)

        assert texts((await hot.read(stream, Position(epoch, 5), 1)).events) == ["5"]

    async def test_trimmed_events_still_reach_the_archive(
        self, hot: HotLog, archive: Archive
    ) -> None:
        stream = fresh()
        await hot.append(stream, notes("a", "b", "c"))

        await hot.trim(stream, 2)
        seen = texts((await hot.read(stream, None, 10)).events)
        await synchronise(hot, archive)

        assert seen == ["c"]
        assert texts(await read_all(archive, stream)) == ["a", "b", "c"]

    # -- the bound -------------------------------------------------------------------------------

    async def test_beyond_the_bound_appends_are_refused_and_nothing_is_dropped(
        self, hot: HotLog, archive: Archive
    ) -> None:
        stream, other = fresh(), fresh()
        await hot.append(stream, notes(*(str(n) for n in range(59))), dedupe=Dedupe("k"))

        with pytest.raises(Unavailable):
            await hot.append(other, notes("a", "b"))
        known = await hot.append(stream, notes("x"), dedupe=Dedupe("k"))
        await synchronise(hot, archive)
        after = await hot.append(other, notes("a", "b"))

        assert known.duplicate
        assert after.last == 2
        assert texts(await read_all(archive, stream)) == [str(n) for n in range(59)]

    async def test_the_bound_counts_bytes_too(self, hot: HotLog, archive: Archive) -> None:
        stream = fresh()
        chance = random.Random(1)
        wide = "".join(chance.choices(string.printable, k=60_000))  # hardly compressible
        refused = 0
        for _ in range(10):
            try:
                await hot.append(stream, notes(wide))
            except Unavailable:
                refused += 1

        await synchronise(hot, archive)
        after = await hot.append(stream, notes(wide))

        assert 5 <= refused <= 8
        assert after.last == 11 - refused

    # -- resting streams -------------------------------------------------------------------------

    async def test_an_unsynchronised_stream_never_leaves(
        self, hot: HotLog, archive: Archive, rest: Rest
    ) -> None:
        stream = fresh()
        await hot.append(stream, notes("a"))
        await rest()

        gone = await hot.evict(stream, lambda head: archive.seal(stream, head))

        assert not gone
        assert texts(await read_all(hot, stream)) == ["a"]

    async def test_an_active_stream_stays(self, hot: HotLog, archive: Archive, rest: Rest) -> None:
        stream = fresh()
        await hot.append(stream, notes("a"))
        await synchronise(hot, archive)
        await rest()
        await hot.touch(stream)

        gone = await hot.evict(stream, lambda head: archive.seal(stream, head))

        assert not gone
        assert stream not in await hot.idle(1000)

    async def test_a_resting_stream_leaves_and_comes_back_in_its_epoch(
        self, hot: HotLog, archive: Archive, rest: Rest
    ) -> None:
        stream = fresh()
        first = await hot.append(stream, notes("a"), fence=3, dedupe=Dedupe("k", b"receipt"))
        await synchronise(hot, archive)
        await rest()

        idle = await hot.idle(1000)
        gone = await hot.evict(stream, lambda head: archive.seal(stream, head))
        window = await hot.window(stream)
        again = await hot.append(stream, notes("a"), dedupe=Dedupe("k"))
        with pytest.raises(LeaseLost):
            await hot.append(stream, notes("stale"), fence=2)
        second = await hot.append(stream, notes("b"))

        assert stream in idle
        assert gone
        assert window == (1, 1)
        assert again.duplicate
        assert again.receipt == b"receipt"
        assert (second.epoch, second.first) == (first.epoch, 2)

    async def test_a_stream_that_cannot_be_sealed_stays(
        self, hot: HotLog, archive: Archive, rest: Rest
    ) -> None:
        stream = fresh()
        await hot.append(stream, notes("a"))
        await synchronise(hot, archive)
        await rest()

        async def refuse(head: Position) -> bool:
            return False

        gone = await hot.evict(stream, refuse)
        await hot.append(stream, notes("b"))

        assert not gone
        assert texts(await read_all(hot, stream)) == ["a", "b"]

    async def test_an_append_amid_an_eviction_waits_and_is_not_lost(
        self, hot: HotLog, archive: Archive, rest: Rest
    ) -> None:
        stream = fresh()
        before = await hot.append(stream, notes("a"))
        await synchronise(hot, archive)
        await rest()
        appending: list[asyncio.Task[object]] = []

        async def seal(head: Position) -> bool:
            appending.append(asyncio.create_task(hot.append(stream, notes("b"))))
            for _ in range(20):
                await asyncio.sleep(0)
            return await archive.seal(stream, head)

        gone = await hot.evict(stream, seal)
        await appending[0]
        await synchronise(hot, archive)

        assert gone
        assert texts(await read_all(archive, stream)) == ["a", "b"]
        assert (await hot.head(stream)).epoch == before.epoch

    async def test_evicting_what_is_not_held_is_harmless(
        self, hot: HotLog, archive: Archive
    ) -> None:
        stream = fresh()

        assert not await hot.evict(stream, lambda head: archive.seal(stream, head))

    # -- losing the window -----------------------------------------------------------------------

    async def test_after_a_crash_the_epoch_is_new_and_what_is_archived_keeps_its_offsets(
        self, hot: HotLog, archive: Archive, crash: Crash
    ) -> None:
        stream = fresh()
        old = await hot.append(stream, notes("kept"), dedupe=Dedupe("k", b"r"), fence=5)
        await synchronise(hot, archive)
        await hot.append(stream, notes("lost"))

        back = await crash()
        head = await back.head(stream)
        again = await back.append(stream, notes("kept"), dedupe=Dedupe("k"))
        after = await back.append(stream, notes("after"))
        await synchronise(back, archive)

        assert head.epoch != old.epoch
        assert head.offset == 1
        assert again.duplicate
        assert (after.epoch, after.first) == (head.epoch, 2)
        assert texts(await read_all(archive, stream)) == ["kept", "after"]
        with pytest.raises(LeaseLost):
            await back.append(stream, notes("stale"), fence=4)

    async def test_a_reader_of_the_lost_epoch_is_told(
        self, hot: HotLog, archive: Archive, crash: Crash
    ) -> None:
        stream = fresh()
        await hot.append(stream, notes("kept"))
        await synchronise(hot, archive)
        seen = (await hot.append(stream, notes("lost"))).position

        back = await crash()
        await back.append(stream, notes("another"))

        with pytest.raises(PositionLost):
            await back.read(stream, seen, 10)

    async def test_a_sealed_stream_survives_a_crash_in_its_epoch(
        self, hot: HotLog, archive: Archive, rest: Rest, crash: Crash
    ) -> None:
        stream = fresh()
        before = await hot.append(stream, notes("a"))
        await synchronise(hot, archive)
        await rest()
        await hot.evict(stream, lambda head: archive.seal(stream, head))

        back = await crash()

        assert await back.head(stream) == before.position

    async def test_concurrent_first_uses_open_a_stream_once(
        self, hot: HotLog, archive: Archive
    ) -> None:
        stream, ear = fresh(), Ear()
        attachment = await hot.attach(stream, ear)

        await asyncio.gather(*(hot.append(stream, [note(str(n))]) for n in range(10)))
        heard = await ear.heard(10)
        await attachment.detach()

        assert sorted(heard) == [str(n) for n in range(10)]
        assert all(batch.epoch == attachment.position.epoch for batch in ear.batches)
