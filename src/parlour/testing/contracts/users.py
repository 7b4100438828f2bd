"""What every `UserStore` promises."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from parlour.errors import Conflict, InvalidPayload, NotFound, TooLarge
from parlour.ports import UserRecord, UserStore


def user(**fields: object) -> UserRecord:
    made = uuid.uuid4().hex
    return UserRecord(**{"id": made, "name": f"name-{made}", **fields})  # type: ignore[arg-type]


def email() -> str:
    return f"{uuid.uuid4().hex}@example.org"


class UserStoreContract:
    """Give it a fixture `users`."""

    @pytest.fixture
    async def users(self) -> UserStore:
        raise NotImplementedError

    async def test_a_user_comes_back_as_added(self, users: UserStore) -> None:
        record = user(
            role="admin",
            email=email(),
            password_hash="$argon2",
            private={"bio": "\u0000ä"},
            metadata={"team": [1, 2]},
            created_at=5,
            last_active_at=6,
            tokens_valid_after=7,
            disabled=True,
        )

        await users.add_user(record)

        assert await users.user(record.id) == record

    async def test_users_whose_tokens_were_ended_are_found_by_time(self, users: UserStore) -> None:
        at = uuid.uuid4().int % 2**40 + 2**41
        await users.add_user(user(tokens_valid_after=at - 1))
        there = await users.add_user(user(tokens_valid_after=at))
        later = await users.add_user(user(tokens_valid_after=at + 1))

        found = await users.revoked_since(at)

        assert {(there.id, at), (later.id, at + 1)} <= set(found)
        assert all(ended >= at for _, ended in found)

    async def test_settings_that_nobody_chose_are_empty(self, users: UserStore) -> None:
        chosen = await users.settings(uuid.uuid4().hex)

        assert (chosen.settings, chosen.version) == ({}, 0)

    async def test_settings_are_merged_and_none_removes_one(self, users: UserStore) -> None:
        me = uuid.uuid4().hex
        await users.change_settings(me, {"theme": "dark", "sounds": True}, replace=False, at=1)

        changed, told = await users.change_settings(
            me, {"theme": None, "send": "enter"}, replace=False, at=2
        )

        assert changed == await users.settings(me)
        assert changed.settings == {"sounds": True, "send": "enter"}
        assert changed.version == 2
        assert told is not None
        assert told[0] == f"user:{me}"

    async def test_settings_are_replaced_as_a_whole(self, users: UserStore) -> None:
        me = uuid.uuid4().hex
        await users.change_settings(me, {"theme": "dark"}, replace=False, at=1)

        await users.change_settings(me, {"sounds": False}, replace=True, at=2)

        assert (await users.settings(me)).settings == {"sounds": False}

    async def test_settings_that_stay_as_they_are_tell_nobody(self, users: UserStore) -> None:
        me = uuid.uuid4().hex
        await users.change_settings(me, {"theme": "dark"}, replace=False, at=1)

        same, told = await users.change_settings(me, {"theme": "dark"}, replace=False, at=2)

        assert (same.version, told) == (1, None)

    async def test_two_devices_that_change_different_settings_are_both_heard(
        self, users: UserStore
    ) -> None:
        me = uuid.uuid4().hex

        await asyncio.gather(
            *(
                users.change_settings(me, {f"name{n}": n}, replace=False, at=n + 1)
                for n in range(10)
            )
        )

        after = await users.settings(me)
        assert after.settings == {f"name{n}": n for n in range(10)}
        assert after.version == 10

    async def test_settings_have_a_limit(self, users: UserStore) -> None:
        me = uuid.uuid4().hex

        with pytest.raises(TooLarge):
            await users.change_settings(me, {"much": "x" * 70_000}, replace=False, at=1)

        assert (await users.settings(me)).version == 0

    async def test_an_unknown_user_is_none(self, users: UserStore) -> None:
        assert await users.user(uuid.uuid4().hex) is None
        assert await users.user_by_login(uuid.uuid4().hex) is None

    async def test_a_taken_id_conflicts(self, users: UserStore) -> None:
        record = await users.add_user(user())

        with pytest.raises(Conflict):
            await users.add_user(user(id=record.id))

    async def test_a_taken_email_conflicts_in_any_case(self, users: UserStore) -> None:
        address = email()
        await users.add_user(user(email=address))

        with pytest.raises(Conflict):
            await users.add_user(user(email=address.upper()))

    async def test_of_two_sign_ups_with_one_email_one_succeeds(self, users: UserStore) -> None:
        address = email()

        results = await asyncio.gather(
            *(users.add_user(user(email=address)) for _ in range(4)), return_exceptions=True
        )

        assert sum(isinstance(result, Conflict) for result in results) == 3

    async def test_many_users_may_have_no_email(self, users: UserStore) -> None:
        one, two = await users.add_user(user()), await users.add_user(user())

        assert await users.user(one.id) is not None
        assert await users.user(two.id) is not None

    async def test_a_login_is_an_email_in_any_case_or_a_name(self, users: UserStore) -> None:
        record = await users.add_user(user(email=email()))
        assert record.email is not None

        assert await users.user_by_login(record.email.upper()) == record
        assert await users.user_by_login(record.name) == record

    async def test_a_name_that_looks_like_another_s_email_does_not_win(
        self, users: UserStore
    ) -> None:
        address = email()
        await users.add_user(user(name=address, created_at=1))
        owner = await users.add_user(user(email=address, created_at=2))

        assert await users.user_by_login(address) == owner

    async def test_updating_changes_the_named_fields(self, users: UserStore) -> None:
        record = await users.add_user(user(email=email(), metadata={"a": 1}))
        address = email()

        updated = await users.update_user(record.id, email=address, metadata={"b": 2})

        assert (updated.email, updated.metadata, updated.name) == (address, {"b": 2}, record.name)
        assert await users.user_by_login(address) == updated
        assert record.email is not None
        assert await users.user_by_login(record.email) is None

    async def test_updating_nobody_is_not_found(self, users: UserStore) -> None:
        with pytest.raises(NotFound):
            await users.update_user(uuid.uuid4().hex, role="admin")

    async def test_updating_to_a_taken_email_conflicts(self, users: UserStore) -> None:
        one, two = await users.add_user(user(email=email())), await users.add_user(user())

        with pytest.raises(Conflict):
            await users.update_user(two.id, email=one.email)

        assert await users.user(two.id) == two

    async def test_only_fields_of_a_user_can_be_changed(self, users: UserStore) -> None:
        record = await users.add_user(user())

        with pytest.raises(TypeError):
            await users.update_user(record.id, id="other")

    async def test_pages_hold_everybody_once(self, users: UserStore) -> None:
        added = {(await users.add_user(user(created_at=n))).id for n in (3, 1, 2, 2, 2)}
        before = await users.count_users()

        seen: list[str] = []
        cursor = None
        while True:
            page, cursor = await users.users(cursor=cursor, limit=2)
            seen += [one.id for one in page]
            if cursor is None:
                break

        assert added <= set(seen)
        assert len(seen) == len(set(seen)) == before

    async def test_a_foreign_cursor_is_refused(self, users: UserStore) -> None:
        for cursor in ("", "x", "AAAA", "bnVsbA", "WzEsMl0", "é"):
            with pytest.raises(InvalidPayload):
                await users.users(cursor=cursor, limit=2)

    async def test_activity_never_goes_back(self, users: UserStore) -> None:
        record = await users.add_user(user(last_active_at=10))

        await users.touch_user(record.id, 20)
        await users.touch_user(record.id, 15)

        found = await users.user(record.id)
        assert found is not None
        assert found.last_active_at == 20

    async def test_a_revoked_token_stays_revoked(self, users: UserStore) -> None:
        record, jti = await users.add_user(user()), uuid.uuid4().hex
        assert await users.standing([(record.id, jti)]) == [(record, False)]

        await users.revoke_token(jti, 2**45)
        await users.revoke_token(jti, 2**45)
        await users.revoke_token(uuid.uuid4().hex, 2**45)

        assert await users.standing([(record.id, jti)]) == [(record, True)]

    async def test_many_tokens_are_looked_up_in_one_step_and_in_their_order(
        self, users: UserStore
    ) -> None:
        ann, bob = await users.add_user(user()), await users.add_user(user())
        revoked, good, other = (uuid.uuid4().hex for _ in range(3))
        await users.revoke_token(revoked, 2**45)

        found = await users.standing(
            [(bob.id, good), (ann.id, revoked), ("nobody", other), (bob.id, revoked)]
        )

        assert list(found) == [(bob, False), (ann, True), (None, False), (bob, True)]

    async def test_signing_keys_come_newest_first(self, users: UserStore) -> None:
        old, new = uuid.uuid4().hex, uuid.uuid4().hex
        await users.add_signing_key(old, b"\x00old", 1)
        await users.add_signing_key(new, b"\xffnew", 2)

        keys = await users.signing_keys()

        assert (old, b"\x00old", 1) in keys
        assert keys.index((new, b"\xffnew", 2)) < keys.index((old, b"\x00old", 1))

    async def test_a_key_id_is_used_once(self, users: UserStore) -> None:
        kid = uuid.uuid4().hex
        await users.add_signing_key(kid, b"secret", 1)

        with pytest.raises(Conflict):
            await users.add_signing_key(kid, b"other", 2)
