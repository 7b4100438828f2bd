"""What every `EventLog` promises."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

import pytest

from parlour.core.streams import Batch, Dedupe, NewEvent, Position
from parlour.errors import (
    ExpectationFailed,
    InvalidPayload,
    Lagged,
    LeaseLost,
    PositionLost,
    TooLarge,
)
from parlour.ports import EventLog, Follower, Lost
from parlour.testing.contracts.making import (
    LIMIT_S,
    fresh,
    note,
    notes,
    offsets,
    read_all,
    texts,
)


class Ear:
    """A sink that remembers, and can be waited for."""

    def __init__(self) -> None:
        self.items: list[Batch | Lost] = []
        self._changed = asyncio.Event()

    def __call__(self, item: Batch | Lost) -> None:
        self.items.append(item)
        self._changed.set()

    @property
    def batches(self) -> list[Batch]:
        return [item for item in self.items if isinstance(item, Batch)]

    @property
    def texts(self) -> list[str]:
        return [text for batch in self.batches for text in texts(batch.events)]

    async def heard(self, count: int) -> list[str]:
        """Wait until `count` events were heard; gives their texts."""
        await self._until(lambda: len(self.texts) >= count)
        return self.texts

    async def lost(self) -> None:
        """Wait for `Lost`."""
        await self._until(lambda: bool(self.items) and isinstance(self.items[-1], Lost))

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


async def _drain(follower: Follower, into: list[str]) -> None:
    """Read until the follower ends."""
    async for batch in follower:
        into += texts(batch.events)


class EventLogContract:
    """Give it a fixture `log`. A second fixture `other`, by default the same log, is the log as
    another node sees it."""

    @pytest.fixture
    async def log(self) -> EventLog:
        raise NotImplementedError

    @pytest.fixture
    async def other(self, log: EventLog) -> EventLog:
        return log

    # -- append ----------------------------------------------------------------------------------

    async def test_offsets_are_contiguous_from_one(self, log: EventLog) -> None:
        stream = fresh()

        first = await log.append(stream, notes("a"))
        second = await log.append(stream, notes("b", "c"))

        assert (first.first, first.last) == (1, 1)
        assert (second.first, second.last) == (2, 3)
        assert first.epoch == second.epoch
        assert not first.duplicate
        assert second.position == await log.head(stream)

    async def test_an_event_comes_back_as_it_was_given(self, log: EventLog) -> None:
        stream = fresh()
        data = {"text": "ä\u0000\U0001f600", "deep": [1, 2.5, None, True, {"x": 2**53 - 1}], "": ""}
        given = NewEvent("message:delta", data, 123, source="user:ann", cause="command-1")

        await log.append(stream, [given])
        event = (await log.read(stream, None, 10)).events[0]

        assert event.data == data
        assert (event.stream, event.type, event.at) == (stream, "message:delta", 123)
        assert (event.source, event.cause) == ("user:ann", "command-1")
        assert event.id == f"{event.epoch}:1"

    async def test_an_event_may_have_no_cause(self, log: EventLog) -> None:
        stream = fresh()

        await log.append(stream, notes("a"))

        assert (await log.read(stream, None, 1)).events[0].cause is None

    async def test_the_events_of_one_append_stay_together(
        self, log: EventLog, other: EventLog
    ) -> None:
        stream = fresh()

        await asyncio.gather(
            *(
                (log if n % 2 else other).append(
                    stream, [note(str(n), part=part) for part in range(5)]
                )
                for n in range(20)
            )
        )
        events = await read_all(log, stream)

        assert offsets(events) == list(range(1, 101))
        for start in range(0, 100, 5):
            run = events[start : start + 5]
            assert len(set(texts(run))) == 1
            assert [event.data["part"] for event in run] == [0, 1, 2, 3, 4]

    async def test_twenty_concurrent_appends_keep_twenty(
        self, log: EventLog, other: EventLog
    ) -> None:
        stream = fresh()

        await asyncio.gather(
            *((log if n % 2 else other).append(stream, notes(str(n))) for n in range(20))
        )
        events = await read_all(log, stream)

        assert sorted(texts(events), key=int) == [str(n) for n in range(20)]

    async def test_an_append_needs_an_event(self, log: EventLog) -> None:
        with pytest.raises(ValueError, match="at least one"):
            await log.append(fresh(), [])

    async def test_data_that_is_not_json_is_refused(self, log: EventLog) -> None:
        stream = fresh()

        with pytest.raises(InvalidPayload):
            await log.append(stream, [note("fine"), note("bad", thing=object())])

        assert (await log.head(stream)).offset == 0

    async def test_lone_surrogates_are_refused(self, log: EventLog) -> None:
        with pytest.raises(InvalidPayload):
            await log.append(fresh(), notes("\ud800"))

    async def test_an_oversized_event_is_refused_before_it_is_stored(self, log: EventLog) -> None:
        stream = fresh()

        with pytest.raises(TooLarge):
            await log.append(stream, notes("x" * 33_000_000))

        assert (await log.head(stream)).offset == 0

    async def test_what_the_writer_changes_later_does_not_change_the_log(
        self, log: EventLog
    ) -> None:
        stream = fresh()
        data = {"text": "before"}
        await log.append(stream, [NewEvent("note", data, 1)])

        data["text"] = "after"

        assert texts(await read_all(log, stream)) == ["before"]

    async def test_a_cancelled_append_happens_whole_or_not_at_all(self, log: EventLog) -> None:
        stream = fresh()
        await log.append(stream, notes("a", "b"))
        for turns in range(12):
            task = asyncio.create_task(log.append(stream, notes("a", "b")))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await log.append(stream, notes("a", "b"))

        events = await read_all(log, stream)

        assert offsets(events) == list(range(1, len(events) + 1))
        assert texts(events) == ["a", "b"] * (len(events) // 2)

    # -- expected --------------------------------------------------------------------------------

    async def test_expected_lets_one_of_two_writers_win(
        self, log: EventLog, other: EventLog
    ) -> None:
        stream = fresh()
        await log.append(stream, notes("a"))

        results = await asyncio.gather(
            log.append(stream, notes("b"), expected=1),
            other.append(stream, notes("c"), expected=1),
            return_exceptions=True,
        )

        assert sum(isinstance(result, ExpectationFailed) for result in results) == 1
        assert (await log.head(stream)).offset == 2

    async def test_expected_zero_means_the_first_event(self, log: EventLog) -> None:
        stream = fresh()
        await log.append(stream, notes("a"), expected=0)

        with pytest.raises(ExpectationFailed):
            await log.append(stream, notes("b"), expected=0)

        assert texts(await read_all(log, stream)) == ["a"]

    # -- fence -----------------------------------------------------------------------------------

    async def test_a_stale_owner_is_refused(self, log: EventLog, other: EventLog) -> None:
        stream = fresh()
        await log.append(stream, notes("first owner"), fence=1)
        await other.append(stream, notes("second owner"), fence=2)

        with pytest.raises(LeaseLost):
            await log.append(stream, notes("late"), fence=1)

        assert texts(await read_all(log, stream)) == ["first owner", "second owner"]

    async def test_writers_without_a_fence_are_not_held_up(self, log: EventLog) -> None:
        stream = fresh()
        await log.append(stream, notes("owner"), fence=5)

        await log.append(stream, notes("a person"))
        await log.append(stream, notes("owner again"), fence=5)

        assert (await log.head(stream)).offset == 3

    # -- dedupe ----------------------------------------------------------------------------------

    async def test_a_repeated_key_appends_nothing_and_gives_the_first_receipt(
        self, log: EventLog, other: EventLog
    ) -> None:
        stream = fresh()
        first = await log.append(stream, notes("a", "b"), dedupe=Dedupe("key", b"\x00one\xff"))
        await log.append(stream, notes("between"))

        again = await other.append(stream, notes("c"), dedupe=Dedupe("key", b"two"))

        assert again.duplicate
        assert not first.duplicate
        assert (again.epoch, again.first, again.last) == (first.epoch, first.first, first.last)
        assert again.receipt == b"\x00one\xff"
        assert texts(await read_all(log, stream)) == ["a", "b", "between"]

    async def test_concurrent_retries_append_once(self, log: EventLog, other: EventLog) -> None:
        stream = fresh()

        results = await asyncio.gather(
            *(
                (log if n % 2 else other).append(stream, notes("x"), dedupe=Dedupe("k"))
                for n in range(10)
            )
        )

        assert sum(not result.duplicate for result in results) == 1
        assert {result.last for result in results} == {1}
        assert (await log.head(stream)).offset == 1

    async def test_a_known_key_is_checked_before_expected_and_fence(self, log: EventLog) -> None:
        stream = fresh()
        await log.append(stream, notes("a"), expected=0, fence=1, dedupe=Dedupe("k", b"r"))
        await log.append(stream, notes("b"), fence=2)

        again = await log.append(stream, notes("a"), expected=0, fence=1, dedupe=Dedupe("k"))

        assert again.duplicate
        assert again.receipt == b"r"

    async def test_a_key_belongs_to_its_stream(self, log: EventLog) -> None:
        one, two = fresh(), fresh()
        await log.append(one, notes("a"), dedupe=Dedupe("k"))

        there = await log.append(two, notes("a"), dedupe=Dedupe("k"))

        assert not there.duplicate

    async def test_a_refused_append_does_not_use_up_its_key(self, log: EventLog) -> None:
        stream = fresh()
        with pytest.raises(ExpectationFailed):
            await log.append(stream, notes("a"), expected=7, dedupe=Dedupe("k"))

        done = await log.append(stream, notes("a"), dedupe=Dedupe("k"))

        assert not done.duplicate

    # -- read ------------------------------------------------------------------------------------

    async def test_an_unwritten_stream_is_empty_at_zero(self, log: EventLog) -> None:
        stream = fresh()

        page = await log.read(stream, None, 10)

        assert list(page.events) == []
        assert page.position.offset == page.head.offset == 0
        assert page.head == await log.head(stream)

    async def test_the_epoch_of_an_unwritten_stream_is_the_one_it_gets(self, log: EventLog) -> None:
        stream = fresh()
        before = await log.head(stream)

        await log.append(stream, notes("a"))
        page = await log.read(stream, before, 10)

        assert texts(page.events) == ["a"]

    async def test_pages_never_skip_or_repeat(self, log: EventLog) -> None:
        stream = fresh()
        await log.append(stream, notes(*(str(n) for n in range(50))))

        events = await read_all(log, stream)

        assert texts(events) == [str(n) for n in range(50)]
        assert offsets(events) == list(range(1, 51))

    async def test_a_read_gives_at_most_its_limit(self, log: EventLog) -> None:
        stream = fresh()
        await log.append(stream, notes("a", "b", "c"))

        page = await log.read(stream, None, 2)

        assert texts(page.events) == ["a", "b"]
        assert page.position.offset == 2
        assert page.head.offset == 3

    async def test_a_current_reader_gets_nothing(self, log: EventLog) -> None:
        stream = fresh()
        appended = await log.append(stream, notes("a"))

        page = await log.read(stream, appended.position, 10)

        assert list(page.events) == []
        assert page.position == page.head == appended.position

    async def test_a_foreign_epoch_is_lost(self, log: EventLog) -> None:
        stream = fresh()
        await log.append(stream, notes("a"))

        with pytest.raises(PositionLost):
            await log.read(stream, Position("nobody", 1), 10)

    async def test_a_position_of_the_future_is_lost(self, log: EventLog) -> None:
        stream = fresh()
        head = (await log.append(stream, notes("a"))).position

        with pytest.raises(PositionLost):
            await log.read(stream, Position(head.epoch, 2), 10)

    # -- trim ------------------------------------------------------------------------------------

    async def test_a_trimmed_position_is_lost_and_the_head_stays(self, log: EventLog) -> None:
        stream = fresh()
        head = (await log.append(stream, notes("a", "b", "c"))).position

        await log.trim(stream, 2)

        with pytest.raises(PositionLost):
            await log.read(stream, Position(head.epoch, 1), 10)
        assert texts((await log.read(stream, Position(head.epoch, 2), 10)).events) == ["c"]
        assert texts((await log.read(stream, None, 10)).events) == ["c"]
        assert await log.head(stream) == head

    async def test_offsets_go_on_after_everything_was_trimmed(self, log: EventLog) -> None:
        stream = fresh()
        await log.append(stream, notes("a", "b"))

        await log.trim(stream, 2)
        appended = await log.append(stream, notes("c"))

        assert appended.first == 3
        assert texts((await log.read(stream, None, 10)).events) == ["c"]

    async def test_trimming_past_the_head_or_twice_is_harmless(self, log: EventLog) -> None:
        stream = fresh()
        await log.append(stream, notes("a", "b"))

        await log.trim(stream, 99)
        await log.trim(stream, 1)

        assert (await log.head(stream)).offset == 2
        assert list((await log.read(stream, None, 10)).events) == []

    # -- attach and follow -----------------------------------------------------------------------

    async def test_a_sink_hears_everything_after_its_position(
        self, log: EventLog, other: EventLog
    ) -> None:
        stream = fresh()
        ear = Ear()
        await log.append(stream, notes("before"))

        attachment = await log.attach(stream, ear)
        for n in range(30):
            await (log if n % 2 else other).append(stream, notes(str(n)))
        heard = await ear.heard(30)
        await attachment.detach()

        assert attachment.position.offset == 1
        assert heard == [str(n) for n in range(30)]
        assert [batch.since for batch in ear.batches] == sorted(
            batch.since for batch in ear.batches
        )

    async def test_batches_continue_each_other_under_concurrency(
        self, log: EventLog, other: EventLog
    ) -> None:
        stream = fresh()
        ear = Ear()
        attachment = await log.attach(stream, ear)

        await asyncio.gather(
            *((log if n % 2 else other).append(stream, notes("x", "y")) for n in range(40))
        )
        await ear.heard(80)
        await attachment.detach()

        position = attachment.position
        for batch in ear.batches:
            assert (batch.epoch, batch.since) == position
            position = batch.position
        assert position.offset == 80

    async def test_attaching_amid_appends_misses_and_repeats_nothing(
        self, log: EventLog, other: EventLog
    ) -> None:
        stream = fresh()
        ears = [Ear() for _ in range(10)]

        async def write() -> None:
            for n in range(60):
                await other.append(stream, notes(str(n)))

        writing = asyncio.create_task(write())
        attachments = []
        for ear in ears:
            await log.append(stream, notes("tick"))
            attachments.append(await log.attach(stream, ear))
        await writing
        head = await log.head(stream)
        everything = texts(await read_all(log, stream))

        for ear, attachment in zip(ears, attachments, strict=True):
            start = attachment.position.offset
            assert await ear.heard(head.offset - start) == everything[start:]
            await attachment.detach()

    async def test_a_detached_sink_is_silent(self, log: EventLog) -> None:
        stream = fresh()
        gone, stays = Ear(), Ear()
        attachment = await log.attach(stream, gone)
        kept = await log.attach(stream, stays)

        await attachment.detach()
        await attachment.detach()
        await log.append(stream, notes("a"))
        await stays.heard(1)
        await kept.detach()

        assert gone.items == []

    async def test_a_sink_may_detach_itself_while_it_hears(self, log: EventLog) -> None:
        stream = fresh()
        stays = Ear()
        ending: list[asyncio.Task[None]] = []

        def once(item: Batch | Lost) -> None:
            ending.append(asyncio.create_task(attachment.detach()))

        attachment = await log.attach(stream, once)
        kept = await log.attach(stream, stays)
        await log.append(stream, notes("a"))
        await stays.heard(1)
        await ending[0]
        await log.append(stream, notes("b"))
        await stays.heard(2)
        await kept.detach()

        assert len(ending) == 1

    async def test_a_failing_sink_does_not_hurt_the_others(self, log: EventLog) -> None:
        stream = fresh()
        ear = Ear()

        def broken(item: Batch | Lost) -> None:
            raise RuntimeError("a follower's defect")

        first = await log.attach(stream, broken)
        second = await log.attach(stream, ear)
        appended = await log.append(stream, notes("a"))

        assert await ear.heard(1) == ["a"]
        assert appended.last == 1
        await first.detach()
        await second.detach()

    async def test_streams_do_not_hear_each_other(self, log: EventLog) -> None:
        one, two = fresh(), fresh()
        ear, there = Ear(), Ear()
        attachments = [await log.attach(one, ear), await log.attach(two, there)]

        await log.append(two, notes("elsewhere"))
        await log.append(one, notes("here"))
        await there.heard(1)

        assert await ear.heard(1) == ["here"]
        for attachment in attachments:
            await attachment.detach()

    async def test_a_duplicate_is_not_announced(self, log: EventLog) -> None:
        stream = fresh()
        ear = Ear()
        attachment = await log.attach(stream, ear)

        await log.append(stream, notes("a"), dedupe=Dedupe("k"))
        await log.append(stream, notes("a"), dedupe=Dedupe("k"))
        await log.append(stream, notes("b"))

        assert await ear.heard(2) == ["a", "b"]
        await attachment.detach()

    async def test_an_announced_event_can_be_read(self, log: EventLog, other: EventLog) -> None:
        stream = fresh()
        ear = Ear()
        attachment = await log.attach(stream, ear)

        await other.append(stream, notes("a"))
        await ear.heard(1)

        assert texts(await read_all(log, stream)) == ["a"]
        await attachment.detach()

    async def test_following_gives_batches_in_order(self, log: EventLog) -> None:
        stream = fresh()

        async with log.follow(stream) as follower, asyncio.timeout(LIMIT_S):
            await log.append(stream, notes("a", "b"))
            await log.append(stream, notes("c"))
            heard = texts((await anext(follower)).events)
            while len(heard) < 3:
                heard += texts((await anext(follower)).events)

        assert heard == ["a", "b", "c"]

    async def test_a_follower_that_falls_behind_ends_as_lagged(self, log: EventLog) -> None:
        stream = fresh()
        ear = Ear()
        watching = await log.attach(stream, ear)
        heard: list[str] = []

        async with log.follow(stream, limit=3) as follower, asyncio.timeout(LIMIT_S):
            for n in range(5):
                await log.append(stream, notes(str(n)))
            await ear.heard(5)
            with pytest.raises(Lagged) as ended:
                await _drain(follower, heard)

        reached = Position.parse(ended.value.details["position"])
        assert heard == ["0", "1", "2"]
        assert texts((await log.read(stream, reached, 10)).events) == ["3", "4"]
        await watching.detach()

    async def test_random_traffic_equals_a_plain_list(self, log: EventLog, other: EventLog) -> None:
        stream = fresh()
        chance = random.Random(7)
        plain: list[str] = []
        ear = Ear()
        attachment = await log.attach(stream, ear)

        for n in range(60):
            run = [f"{n}.{part}" for part in range(chance.randint(1, 4))]
            key = Dedupe(f"k{n}")
            for _ in range(chance.randint(1, 3)):
                await chance.choice((log, other)).append(stream, notes(*run), dedupe=key)
            plain += run

        assert texts(await read_all(other, stream)) == plain
        assert await ear.heard(len(plain)) == plain
        await attachment.detach()

    # -- close -----------------------------------------------------------------------------------

    async def test_closing_twice_is_harmless(self, log: EventLog) -> None:
        await log.append(fresh(), notes("a"))

        await log.close()
        await log.close()
