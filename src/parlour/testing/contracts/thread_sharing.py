"""What every `ThreadStore` promises about sharing."""

from __future__ import annotations

from typing import Any

import pytest

from parlour.core.access import Right
from parlour.core.users import User
from parlour.errors import InvalidPayload, NotFound, TooLarge
from parlour.ports import (
    GRANTS,
    Announcements,
    Archive,
    ThreadAccess,
    ThreadRecord,
    ThreadStore,
    UserRecord,
    UserStore,
)
from parlour.testing.contracts.archive import message
from parlour.testing.contracts.threads import say, somebody, thread


class ThreadSharingContract:
    """Give it the fixtures `threads`, `users`, `archive` and `announcements`, on one database."""

    @pytest.fixture
    async def threads(self) -> ThreadStore:
        raise NotImplementedError

    @pytest.fixture
    async def users(self) -> UserStore:
        raise NotImplementedError

    @pytest.fixture
    async def archive(self) -> Archive:
        raise NotImplementedError

    @pytest.fixture
    async def announcements(self) -> Announcements:
        raise NotImplementedError

    async def _person(self, users: UserStore, name: str = "Ada", role: str = "user") -> User:
        record = await users.add_user(UserRecord(somebody(), f"{name} {somebody()[:6]}", role))
        return User(record.id, record.name, record.role)

    async def _shared(
        self, threads: ThreadStore, owner: User, grants: dict[str, Any], **fields: Any
    ) -> ThreadRecord:
        record = await threads.create_thread(thread(owner.id, **fields))
        await threads.share(record.id, grants, owner, replace=True, at=1)
        return record

    async def _grants(self, threads: ThreadStore, thread_id: str) -> Any:
        found = await threads.sharing(thread_id)
        return None if found is None else found.grants

    async def _told(self, announcements: Announcements, stream: str) -> list[tuple[str, Any]]:
        waiting = await announcements.pending(stream, 100)
        return [(event.type, event.data) for one in waiting for event in one.events]

    # -- what grants give ------------------------------------------------------------------------

    async def test_the_most_of_what_fits_is_given(
        self, threads: ThreadStore, users: UserStore
    ) -> None:
        owner, guest = await self._person(users), await self._person(users, role="editor")
        me = f"user:{guest.id}"
        cases: list[tuple[dict[str, str], Right | None]] = [
            ({}, None),
            ({me: "read"}, "read"),
            ({me: "write"}, "write"),
            ({"everyone": "read"}, "read"),
            ({"role:editor": "write"}, "write"),
            ({"role:user": "write"}, None),
            ({"everyone": "write", me: "read"}, "write"),
        ]
        records = [await self._shared(threads, owner, grants) for grants, _ in cases]

        given = [await threads.access(record.id, guest) for record in records]

        assert given == [ThreadAccess(owner.id, right) for _, right in cases]

    async def test_nobody_has_access_to_what_is_not_there(
        self, threads: ThreadStore, users: UserStore
    ) -> None:
        stranger = await self._person(users)

        found = await threads.access(somebody(), stranger), await threads.sharing(somebody())

        assert found == (None, None)

    async def test_it_is_known_who_may_use_a_thread(
        self, threads: ThreadStore, users: UserStore
    ) -> None:
        owner, guest = await self._person(users), await self._person(users, "Bob")
        grants = {f"user:{guest.id}": "read", "role:editor": "write"}
        record = await self._shared(threads, owner, grants)
        alone = await threads.create_thread(thread(owner.id))

        found = await threads.sharing(record.id)
        flags = [await threads.thread(one.id) for one in (record, alone)]

        assert found is not None
        assert (found.owner_id, found.owner_name) == (owner.id, owner.name)
        assert found.grants == grants
        assert found.people == {guest.id: guest.name}
        assert [one is not None and one.shared for one in flags] == [True, False]

    # -- changing --------------------------------------------------------------------------------

    async def test_naming_some_leaves_the_others_and_replacing_does_not(
        self, threads: ThreadStore, users: UserStore
    ) -> None:
        owner = await self._person(users)
        record = await self._shared(threads, owner, {"everyone": "read", "role:a": "read"})

        changed = await threads.share(
            record.id, {"role:a": "write", "role:b": "read"}, owner, replace=False, at=2
        )
        taken = await threads.share(record.id, {"everyone": None}, owner, replace=False, at=3)
        replaced = await threads.share(record.id, {"role:c": "write"}, owner, replace=True, at=4)

        assert changed.answer["grants"] == {
            "everyone": "read",
            "role:a": "write",
            "role:b": "read",
        }
        assert taken.answer["grants"] == {"role:a": "write", "role:b": "read"}
        assert replaced.answer["grants"] == {"role:c": "write"}

    async def test_a_change_is_told_to_the_thread_and_to_whom_it_names(
        self, threads: ThreadStore, users: UserStore, announcements: Announcements
    ) -> None:
        owner, kept, lost, new = [await self._person(users) for _ in range(4)]
        grants = {f"user:{kept.id}": "read", f"user:{lost.id}": "read"}
        record = await self._shared(threads, owner, grants, title="Plans")
        for stream in (f"thread:{record.id}", f"user:{kept.id}", f"user:{lost.id}"):
            waiting = await announcements.pending(stream, 10)
            await announcements.announced([told.key for told in waiting])

        done = await threads.share(
            record.id,
            {f"user:{lost.id}": None, f"user:{new.id}": "write"},
            owner,
            replace=False,
            at=2,
        )

        by = owner.author()
        streams = [f"thread:{record.id}", f"user:{lost.id}", f"user:{new.id}"]
        assert [stream for stream, _ in done.told] == streams
        thread_news, lost_news, ((type, data),) = [
            await self._told(announcements, stream) for stream in streams
        ]
        assert thread_news == [("chat:access", {"by": by})]
        assert lost_news == [("thread:unshared", {"id": record.id, "by": by})]
        assert await self._told(announcements, f"user:{kept.id}") == []
        assert (type, data["by"], data["new"]) == ("thread:shared", by, True)
        row = data["thread"]
        assert (row["id"], row["title"], row["owner"]) == (record.id, "Plans", by)
        assert (row["permission"], row["shared"]) == ("write", True)

    async def test_what_changes_nothing_is_told_to_nobody(
        self, threads: ThreadStore, users: UserStore
    ) -> None:
        owner = await self._person(users)
        record = await self._shared(threads, owner, {"everyone": "read"})

        again = await threads.share(
            record.id, {"everyone": "read", "role:a": None}, owner, replace=False, at=2
        )

        assert (again.answer["grants"], list(again.told)) == ({"everyone": "read"}, [])

    async def test_the_same_command_changes_nothing_twice(
        self, threads: ThreadStore, users: UserStore
    ) -> None:
        owner = await self._person(users)
        record = await self._shared(threads, owner, {})
        wanted: dict[str, Any] = {"everyone": "read"}
        first = await threads.share(record.id, wanted, owner, replace=False, at=2, command_id="c1")
        await threads.share(record.id, {"everyone": None}, owner, replace=False, at=3)

        again = await threads.share(record.id, wanted, owner, replace=False, at=4, command_id="c1")

        assert (again.repeated, again.answer) == (True, first.answer)
        assert await self._grants(threads, record.id) == {}

    async def test_what_is_no_principal_is_refused_and_nothing_changes(
        self, threads: ThreadStore, users: UserStore
    ) -> None:
        owner = await self._person(users)
        record = await self._shared(threads, owner, {"role:a": "read"})
        wrong = ["nobody", "user:", "role:a b", "user:x\0", f"user:{owner.id}", "EVERYONE"]

        for principal in wrong:
            wanted: dict[str, Any] = {"everyone": "read", principal: "read"}
            with pytest.raises(InvalidPayload):
                await threads.share(record.id, wanted, owner, replace=False, at=2)

        assert await self._grants(threads, record.id) == {"role:a": "read"}

    async def test_somebody_who_is_not_there_is_not_found(
        self, threads: ThreadStore, users: UserStore
    ) -> None:
        owner, disabled = await self._person(users), await self._person(users)
        await users.update_user(disabled.id, disabled=True)
        record = await self._shared(threads, owner, {})
        cases = [(record.id, f"user:{somebody()}"), (record.id, f"user:{disabled.id}")]

        for thread_id, principal in (*cases, (somebody(), "everyone")):
            wanted: dict[str, Any] = {principal: "read"}
            with pytest.raises(NotFound):
                await threads.share(thread_id, wanted, owner, replace=False, at=2)

        assert await self._grants(threads, record.id) == {}

    async def test_there_is_a_limit_of_grants(self, threads: ThreadStore, users: UserStore) -> None:
        owner = await self._person(users)
        many = {f"role:{number}": "read" for number in range(GRANTS)}
        record = await self._shared(threads, owner, many)

        with pytest.raises(TooLarge):
            await threads.share(record.id, {"everyone": "read"}, owner, replace=False, at=2)

        assert await self._grants(threads, record.id) == many

    # -- lists -----------------------------------------------------------------------------------

    async def _listed(
        self, threads: ThreadStore, user: User, owner: User, limit: int = 100, **how: Any
    ) -> list[tuple[str, str, str]]:
        """All pages of what this owner shares; others may share with everyone."""
        listed: list[tuple[str, str, str]] = []
        cursor = None
        while True:
            page, cursor = await threads.shared_threads(user, cursor=cursor, limit=limit, **how)
            mine = [one for one in page if one.thread.user_id == owner.id]
            listed += [(one.thread.id, one.owner_name, one.right) for one in mine]
            if cursor is None:
                return listed

    async def test_what_others_share_is_listed_with_owner_and_right(
        self, threads: ThreadStore, users: UserStore
    ) -> None:
        owner, guest = await self._person(users), await self._person(users, role=somebody())
        me, mine = f"user:{guest.id}", f"role:{guest.role}"
        first = await self._shared(threads, owner, {me: "read"}, updated_at=1)
        second = await self._shared(threads, owner, {mine: "write", me: "read"}, updated_at=2)
        await threads.create_thread(thread(owner.id))
        await self._shared(threads, guest, {mine: "read"})

        listed = await self._listed(threads, guest, owner)

        assert listed == [(second.id, owner.name, "write"), (first.id, owner.name, "read")]

    async def test_what_is_no_longer_shared_is_not_listed(
        self, threads: ThreadStore, users: UserStore
    ) -> None:
        owner, guest = await self._person(users), await self._person(users)
        taken = await self._shared(threads, owner, {f"user:{guest.id}": "read"})
        deleted = await self._shared(threads, owner, {f"user:{guest.id}": "read"})
        await threads.share(taken.id, {}, owner, replace=True, at=2)
        await threads.delete_thread(deleted.id)

        listed = await self._listed(threads, guest, owner)

        assert listed == []
        assert await threads.access(deleted.id, guest) is None

    async def test_pages_of_shared_threads_and_their_search(
        self, threads: ThreadStore, users: UserStore, archive: Archive
    ) -> None:
        owner, guest = await self._person(users), await self._person(users)
        grants = {f"user:{guest.id}": "read"}
        records = [await self._shared(threads, owner, grants, updated_at=n) for n in range(5)]
        await say(archive, records[0].id, message(9, content="a needle"))

        pages = await self._listed(threads, guest, owner, limit=2)
        found = await self._listed(threads, guest, owner, search="NEEDLE")

        newest_first = [records[0].id, *(one.id for one in reversed(records[1:]))]
        assert [one for one, _, _ in pages] == newest_first
        assert [one for one, _, _ in found] == [records[0].id]
