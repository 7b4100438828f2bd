"""What every `Bus` promises."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from parlour.ports import Bus
from parlour.testing.contracts.making import LIMIT_S


class Inbox:
    """A subscriber that remembers."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._changed = asyncio.Event()

    def __call__(self, payload: bytes) -> None:
        self.heard.append(payload)
        self._changed.set()

    async def got(self, count: int) -> list[bytes]:
        async with asyncio.timeout(LIMIT_S):
            while len(self.heard) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.heard


def topic() -> str:
    return f"room:{uuid.uuid4()}"


class BusContract:
    """Give it a fixture `bus`, and `other`: the bus as another node sees it (by default the
    same)."""

    @pytest.fixture
    async def bus(self) -> Bus:
        raise NotImplementedError

    @pytest.fixture
    async def other(self, bus: Bus) -> Bus:
        return bus

    async def test_every_node_hears_the_publisher_included(self, bus: Bus, other: Bus) -> None:
        room, here, there = topic(), Inbox(), Inbox()
        await bus.subscribe(room, here)
        await other.subscribe(room, there)

        await bus.publish(room, b"\x00hello\xff")

        assert await here.got(1) == [b"\x00hello\xff"]
        assert await there.got(1) == [b"\x00hello\xff"]

    async def test_a_publisher_s_messages_keep_their_order(self, bus: Bus, other: Bus) -> None:
        room, inbox = topic(), Inbox()
        await other.subscribe(room, inbox)
        sent = [str(n).encode() for n in range(100)]

        for payload in sent:
            await bus.publish(room, payload)

        assert await inbox.got(100) == sent

    async def test_topics_are_apart(self, bus: Bus) -> None:
        one, two, inbox, elsewhere = topic(), topic(), Inbox(), Inbox()
        await bus.subscribe(one, inbox)
        await bus.subscribe(two, elsewhere)

        await bus.publish(two, b"two")
        await bus.publish(one, b"one")
        await elsewhere.got(1)

        assert await inbox.got(1) == [b"one"]

    async def test_a_subscription_is_confirmed_before_it_returns(
        self, bus: Bus, other: Bus
    ) -> None:
        for _ in range(10):
            room, inbox = topic(), Inbox()
            await bus.subscribe(room, inbox)

            await other.publish(room, b"at once")

            assert await inbox.got(1) == [b"at once"]

    async def test_an_ended_subscription_is_silent_and_leaves_the_others(self, bus: Bus) -> None:
        room, gone, stays = topic(), Inbox(), Inbox()
        end = await bus.subscribe(room, gone)
        await bus.subscribe(room, stays)

        end()
        end()
        await bus.publish(room, b"x")

        assert await stays.got(1) == [b"x"]
        assert gone.heard == []

    async def test_a_topic_can_be_taken_up_again(self, bus: Bus, other: Bus) -> None:
        room, first, second = topic(), Inbox(), Inbox()
        (await bus.subscribe(room, first))()

        await bus.subscribe(room, second)
        await other.publish(room, b"x")

        assert await second.got(1) == [b"x"]
        assert first.heard == []

    async def test_concurrent_subscribers_of_a_topic_all_hear(self, bus: Bus, other: Bus) -> None:
        room, inboxes = topic(), [Inbox() for _ in range(10)]

        await asyncio.gather(*(bus.subscribe(room, inbox) for inbox in inboxes))
        await other.publish(room, b"x")

        assert [await inbox.got(1) for inbox in inboxes] == [[b"x"]] * 10

    async def test_a_failing_subscriber_does_not_hurt_the_others(self, bus: Bus) -> None:
        room, inbox = topic(), Inbox()

        def broken(payload: bytes) -> None:
            raise RuntimeError("a subscriber's defect")

        await bus.subscribe(room, broken)
        await bus.subscribe(room, inbox)
        await bus.publish(room, b"x")

        assert await inbox.got(1) == [b"x"]

    async def test_nobody_has_to_listen(self, bus: Bus) -> None:
        await bus.publish(topic(), b"into the void")
