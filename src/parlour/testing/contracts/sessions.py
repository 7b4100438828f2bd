"""What every `SessionStore` promises."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from parlour.errors import Forbidden, NotFound
from parlour.ports import SessionRecord, SessionStore


def session(user_id: str = "ann", **fields: object) -> SessionRecord:
    return SessionRecord(str(uuid.uuid4()), user_id, **fields)  # type: ignore[arg-type]


class SessionStoreContract:
    """Give it a fixture `sessions`."""

    @pytest.fixture
    async def sessions(self) -> SessionStore:
        raise NotImplementedError

    async def test_a_bound_session_can_be_loaded(self, sessions: SessionStore) -> None:
        record = session(thread_id="t", chat_profile="p", language="de", created_at=1, last_seen=2)

        bound = await sessions.bind(record)

        assert bound == record
        assert await sessions.load(record.id) == record

    async def test_user_env_comes_back_to_the_client_that_sent_it(
        self, sessions: SessionStore
    ) -> None:
        record = session(user_env={"KEY": "secret"})

        bound = await sessions.bind(record)

        assert bound.user_env == {"KEY": "secret"}

    async def test_taking_up_keeps_what_is_stored_and_sets_what_is_new(
        self, sessions: SessionStore
    ) -> None:
        first = session(thread_id="t1", chat_profile="p", language="de", created_at=1, last_seen=5)
        await sessions.bind(first)

        bound = await sessions.bind(
            SessionRecord(first.id, "ann", thread_id="t2", created_at=9, last_seen=9)
        )

        assert (bound.thread_id, bound.chat_profile, bound.language) == ("t2", "p", "de")
        assert (bound.created_at, bound.last_seen) == (1, 9)

    async def test_a_session_of_another_user_is_refused(self, sessions: SessionStore) -> None:
        first = session("ann", thread_id="t", last_seen=3)
        await sessions.bind(first)

        with pytest.raises(Forbidden):
            await sessions.bind(SessionRecord(first.id, "bob", thread_id="x", last_seen=9))

        assert await sessions.load(first.id) == first

    async def test_of_two_users_who_choose_one_id_one_gets_it(self, sessions: SessionStore) -> None:
        first = session("ann")

        results = await asyncio.gather(
            sessions.bind(first),
            sessions.bind(SessionRecord(first.id, "bob")),
            return_exceptions=True,
        )

        assert sum(isinstance(result, Forbidden) for result in results) == 1

    async def test_an_unknown_session_is_none(self, sessions: SessionStore) -> None:
        assert await sessions.load(str(uuid.uuid4())) is None

    async def test_touching_never_goes_back(self, sessions: SessionStore) -> None:
        record = session(last_seen=10)
        await sessions.bind(record)

        await sessions.touch(record.id, 20)
        await sessions.touch(record.id, 15)

        found = await sessions.load(record.id)
        assert found is not None
        assert found.last_seen == 20

    async def test_touching_does_not_bring_a_deleted_session_back(
        self, sessions: SessionStore
    ) -> None:
        record = session()
        await sessions.bind(record)
        await sessions.delete(record.id)

        await sessions.touch(record.id, 99)

        assert await sessions.load(record.id) is None

    async def test_values_are_kept_by_thread_and_key(self, sessions: SessionStore) -> None:
        record = session()
        await sessions.bind(record)

        await sessions.write_values(record.id, "t1", {"name": b'"Ann"', "n": b"1"})
        await sessions.write_values(record.id, "t2", {"name": b'"Bob"'})

        assert await sessions.values(record.id, "t1") == {"name": b'"Ann"', "n": b"1"}
        assert await sessions.values(record.id, "t2") == {"name": b'"Bob"'}
        assert await sessions.values(record.id, "t3") == {}

    async def test_writers_of_different_keys_never_lose_each_other_s(
        self, sessions: SessionStore
    ) -> None:
        record = session()
        await sessions.bind(record)

        await asyncio.gather(
            *(sessions.write_values(record.id, "t", {f"k{n}": str(n).encode()}) for n in range(20))
        )

        expected = {f"k{n}": str(n).encode() for n in range(20)}
        assert await sessions.values(record.id, "t") == expected

    async def test_none_deletes_a_key_and_others_are_overwritten(
        self, sessions: SessionStore
    ) -> None:
        record = session()
        await sessions.bind(record)
        await sessions.write_values(record.id, "t", {"a": b"1", "b": b"2", "c": b"3"})

        await sessions.write_values(record.id, "t", {"a": None, "b": b"22", "nothing": None})

        assert await sessions.values(record.id, "t") == {"b": b"22", "c": b"3"}

    async def test_values_of_a_session_that_is_gone_are_refused(
        self, sessions: SessionStore
    ) -> None:
        record = session()
        await sessions.bind(record)
        await sessions.delete(record.id)

        with pytest.raises(NotFound):
            await sessions.write_values(record.id, "t", {"a": b"1"})

        assert await sessions.values(record.id, "t") == {}

    async def test_expired_gives_those_last_seen_before(self, sessions: SessionStore) -> None:
        old, edge, new = (session(last_seen=seen) for seen in (-300, -200, -100))
        for record in (old, edge, new):
            await sessions.bind(record)

        found = {one.id for one in await sessions.expired(-200, 1000)}

        assert old.id in found
        assert edge.id not in found
        assert new.id not in found
        assert len(await sessions.expired(-200, 1)) == 1

    async def test_one_of_many_deleters_removed_it(self, sessions: SessionStore) -> None:
        record = session()
        await sessions.bind(record)
        await sessions.write_values(record.id, "t", {"a": b"1"})

        results = await asyncio.gather(*(sessions.delete(record.id) for _ in range(5)))

        assert sorted(results) == [False, False, False, False, True]
        assert await sessions.load(record.id) is None
        assert await sessions.values(record.id, "t") == {}

    async def test_a_deleted_id_can_be_bound_by_anybody(self, sessions: SessionStore) -> None:
        record = session("ann")
        await sessions.bind(record)
        await sessions.delete(record.id)

        bound = await sessions.bind(SessionRecord(record.id, "bob"))

        assert bound.user_id == "bob"
        assert await sessions.values(record.id, "t") == {}
