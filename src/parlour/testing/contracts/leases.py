"""What every `Leases` promises."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import pytest

from parlour.errors import LeaseLost
from parlour.ports import Leases

PassTime = Callable[[int], Awaitable[None]]

TTL_MS = 60_000
SHORT_MS = 40


def name() -> str:
    return f"agent:{uuid.uuid4()}"


class LeasesContract:
    """Give it the fixtures `leases` and `pass_time`: an async function that lets milliseconds pass
    on the clock that decides."""

    @pytest.fixture
    async def leases(self) -> Leases:
        raise NotImplementedError

    @pytest.fixture
    async def pass_time(self) -> PassTime:
        raise NotImplementedError

    async def test_a_free_lease_is_taken(self, leases: Leases) -> None:
        one = name()

        lease = await leases.acquire(one, "node-a", TTL_MS)

        assert lease is not None
        assert (lease.name, lease.owner) == (one, "node-a")
        assert lease.generation >= 1
        assert await leases.holder(one) == lease

    async def test_a_held_lease_is_not_given_away(self, leases: Leases) -> None:
        one = name()
        held = await leases.acquire(one, "node-a", TTL_MS)

        assert await leases.acquire(one, "node-b", TTL_MS) is None
        assert await leases.holder(one) == held

    async def test_of_many_at_once_one_gets_it(self, leases: Leases) -> None:
        one = name()

        results = await asyncio.gather(
            *(leases.acquire(one, f"node-{n}", TTL_MS) for n in range(10))
        )

        assert sum(lease is not None for lease in results) == 1

    async def test_one_s_own_lease_is_renewed_in_its_generation(self, leases: Leases) -> None:
        one = name()
        first = await leases.acquire(one, "node-a", TTL_MS)

        again = await leases.acquire(one, "node-a", 2 * TTL_MS)

        assert first is not None
        assert again is not None
        assert again.generation == first.generation
        assert again.expires_at > first.expires_at

    async def test_an_expired_lease_goes_to_the_next_with_a_higher_generation(
        self, leases: Leases, pass_time: PassTime
    ) -> None:
        one = name()
        first = await leases.acquire(one, "node-a", SHORT_MS)
        await pass_time(SHORT_MS + 1)

        nobody = await leases.holder(one)
        second = await leases.acquire(one, "node-b", TTL_MS)

        assert nobody is None
        assert first is not None
        assert second is not None
        assert second.generation == first.generation + 1

    async def test_taking_one_s_own_expired_lease_is_a_new_holding(
        self, leases: Leases, pass_time: PassTime
    ) -> None:
        one = name()
        first = await leases.acquire(one, "node-a", SHORT_MS)
        await pass_time(SHORT_MS + 1)

        again = await leases.acquire(one, "node-a", TTL_MS)

        assert first is not None
        assert again is not None
        assert again.generation == first.generation + 1

    async def test_a_stale_holder_cannot_renew(self, leases: Leases, pass_time: PassTime) -> None:
        one = name()
        stale = await leases.acquire(one, "node-a", SHORT_MS)
        await pass_time(SHORT_MS + 1)
        current = await leases.acquire(one, "node-b", TTL_MS)

        assert stale is not None
        with pytest.raises(LeaseLost):
            await leases.renew(stale, TTL_MS)
        assert await leases.holder(one) == current

    async def test_an_expired_lease_cannot_be_renewed(
        self, leases: Leases, pass_time: PassTime
    ) -> None:
        lease = await leases.acquire(name(), "node-a", SHORT_MS)
        await pass_time(SHORT_MS + 1)

        assert lease is not None
        with pytest.raises(LeaseLost):
            await leases.renew(lease, TTL_MS)

    async def test_renewing_extends(self, leases: Leases, pass_time: PassTime) -> None:
        one = name()
        lease = await leases.acquire(one, "node-a", 5_000)
        assert lease is not None

        renewed = await leases.renew(lease, TTL_MS)
        await pass_time(SHORT_MS)

        assert renewed.generation == lease.generation
        assert renewed.expires_at > lease.expires_at
        assert await leases.holder(one) == renewed

    async def test_a_released_lease_is_free_at_once(self, leases: Leases) -> None:
        one = name()
        first = await leases.acquire(one, "node-a", TTL_MS)
        assert first is not None

        await leases.release(first)
        second = await leases.acquire(one, "node-b", TTL_MS)

        assert second is not None
        assert second.generation == first.generation + 1

    async def test_a_stale_holder_s_release_changes_nothing(
        self, leases: Leases, pass_time: PassTime
    ) -> None:
        one = name()
        stale = await leases.acquire(one, "node-a", SHORT_MS)
        await pass_time(SHORT_MS + 1)
        current = await leases.acquire(one, "node-b", TTL_MS)
        assert stale is not None

        await leases.release(stale)

        assert await leases.holder(one) == current

    async def test_nobody_holds_what_nobody_took(self, leases: Leases) -> None:
        assert await leases.holder(name()) is None

    # -- abandoned -------------------------------------------------------------------------------

    async def _abandoned(self, leases: Leases, owner: str | None = None) -> set[str]:
        return {one.name for one in await leases.abandoned("run:", 1000, owner=owner)}

    async def test_a_lease_that_ran_out_is_abandoned_and_a_released_one_is_not(
        self, leases: Leases, pass_time: PassTime
    ) -> None:
        died, released, alive = (f"run:{uuid.uuid4()}" for _ in range(3))
        await leases.acquire(died, "node-a", SHORT_MS)
        ended = await leases.acquire(released, "node-a", SHORT_MS)
        await leases.acquire(alive, "node-a", TTL_MS)
        assert ended is not None
        await leases.release(ended)
        await pass_time(SHORT_MS + 1)

        found = await self._abandoned(leases)

        assert died in found
        assert released not in found
        assert alive not in found

    async def test_an_owner_finds_what_its_former_life_held(self, leases: Leases) -> None:
        mine, theirs = f"run:{uuid.uuid4()}", f"run:{uuid.uuid4()}"
        owner = f"node-{uuid.uuid4()}"
        await leases.acquire(mine, owner, TTL_MS)
        await leases.acquire(theirs, "node-b", TTL_MS)

        found = await self._abandoned(leases, owner)

        assert mine in found
        assert theirs not in found

    async def test_a_renewed_or_taken_over_lease_is_not_abandoned(
        self, leases: Leases, pass_time: PassTime
    ) -> None:
        renewed, taken = f"run:{uuid.uuid4()}", f"run:{uuid.uuid4()}"
        first = await leases.acquire(renewed, "node-a", 5_000)
        await leases.acquire(taken, "node-a", SHORT_MS)
        assert first is not None
        await leases.renew(first, TTL_MS)
        await pass_time(SHORT_MS + 1)
        await self._abandoned(leases)
        await leases.acquire(taken, "node-b", TTL_MS)

        found = await self._abandoned(leases)

        assert renewed not in found
        assert taken not in found

    async def test_abandoned_gives_at_most_its_limit_and_only_its_prefix(
        self, leases: Leases, pass_time: PassTime
    ) -> None:
        for _ in range(3):
            await leases.acquire(f"run:{uuid.uuid4()}", "node-a", SHORT_MS)
        await leases.acquire(f"sync:{uuid.uuid4()}", "node-a", SHORT_MS)
        await pass_time(SHORT_MS + 1)

        found = await leases.abandoned("run:", 2)

        assert len(found) == 2
        assert all(one.name.startswith("run:") for one in found)
