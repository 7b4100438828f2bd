"""What every `UsagePool` promises."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from parlour.ports import UsagePool
from parlour.testing.contracts.leases import PassTime

TTL_MS = 60_000
SHORT_MS = 100


def model() -> str:
    return f"model {uuid.uuid4().hex}"


async def users_of(usage: UsagePool, name: str) -> int:
    return (await usage.in_use()).get(name, 0)


class UsagePoolContract:
    """Give it the fixtures `usage`, `pass_time` (as for `LeasesContract`), and `other`: the pool as
    another node sees it (by default the same)."""

    @pytest.fixture
    async def usage(self) -> UsagePool:
        raise NotImplementedError

    @pytest.fixture
    async def other(self, usage: UsagePool) -> UsagePool:
        return usage

    @pytest.fixture
    async def pass_time(self) -> PassTime:
        raise NotImplementedError

    async def test_each_session_counts_once(self, usage: UsagePool) -> None:
        name = model()
        for session in ("s1", "s2", "s1"):
            await usage.renew(name, session, TTL_MS)

        assert await users_of(usage, name) == 2

    async def test_a_model_that_nobody_uses_is_not_there(self, usage: UsagePool) -> None:
        assert model() not in await usage.in_use()

    async def test_an_entry_runs_out_unless_it_is_renewed(
        self, usage: UsagePool, pass_time: PassTime
    ) -> None:
        name = model()
        await usage.renew(name, "s1", SHORT_MS)
        await usage.renew(name, "s2", SHORT_MS)
        await usage.renew(name, "s2", TTL_MS)

        await pass_time(SHORT_MS + 1)

        assert await users_of(usage, name) == 1

    async def test_a_renewal_never_shortens(self, usage: UsagePool, pass_time: PassTime) -> None:
        name = model()
        await usage.renew(name, "s1", TTL_MS)
        await usage.renew(name, "s1", SHORT_MS)

        await pass_time(SHORT_MS + 1)

        assert await users_of(usage, name) == 1

    async def test_a_released_entry_is_gone(self, usage: UsagePool) -> None:
        name = model()
        await usage.renew(name, "s1", TTL_MS)
        await usage.renew(name, "s2", TTL_MS)

        await usage.release(name, "s1")
        await usage.release(name, "s1")

        assert await users_of(usage, name) == 1
        await usage.release(name, "s2")
        assert name not in await usage.in_use()

    async def test_two_writers_at_once_lose_no_entry(
        self, usage: UsagePool, other: UsagePool
    ) -> None:
        name = model()

        await asyncio.gather(
            *(usage.renew(name, f"a{n}", TTL_MS) for n in range(100)),
            *(other.renew(name, f"b{n}", TTL_MS) for n in range(100)),
        )

        assert await users_of(usage, name) == await users_of(other, name) == 200

    async def test_sweeping_forgets_what_ran_out_and_nothing_else(
        self, usage: UsagePool, pass_time: PassTime
    ) -> None:
        over, mixed = model(), model()
        await usage.renew(over, "s1", SHORT_MS)
        await usage.renew(mixed, "s1", SHORT_MS)
        await usage.renew(mixed, "s2", TTL_MS)
        await pass_time(SHORT_MS + 1)

        swept = await usage.sweep(1000)

        assert swept >= 2
        assert over not in await usage.in_use()
        assert await users_of(usage, mixed) == 1

    async def test_a_renewal_during_a_sweep_is_kept(
        self, usage: UsagePool, other: UsagePool, pass_time: PassTime
    ) -> None:
        name = model()
        await usage.renew(name, "s1", SHORT_MS)
        await pass_time(SHORT_MS + 1)

        await asyncio.gather(usage.sweep(1000), other.renew(name, "s1", TTL_MS))

        assert await users_of(usage, name) == 1
