"""What every `NoteStore` promises."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest

from parlour.core.documents import document_of
from parlour.core.users import User
from parlour.errors import Conflict, InvalidPayload, NotFound, TooLarge
from parlour.ports import DocumentStore, NoteStore, NoteText, NoteVersion, UserRecord, UserStore

AT = 1_700_000_000_000
EPOCH = "first"


def new_id() -> str:
    """An id that no other test uses."""
    return uuid.uuid4().hex


def says(text: str, offset: int, **more: Any) -> NoteText:
    """What a document says at an offset."""
    fields = {"generation": 1, "epoch": EPOCH, "offset": offset, **more}
    return NoteText(title=text[:20], markdown=text, html=f"<p>{text}</p>", text=text, **fields)


def version_of(note_id: str, name: str, at: int, *, automatic: bool = False) -> NoteVersion:
    return NoteVersion(
        id=new_id(),
        note_id=note_id,
        name=name,
        automatic=automatic,
        author=None if automatic else {"id": "u", "name": "Ann"},
        created_at=at,
        version=1,
        title="T",
        preview="p",
        content=name.encode() * 100,
    )


class NoteStoreContract:
    """Give it the fixtures `notes`, and `documents` and `users` of the same database."""

    @pytest.fixture
    async def notes(self) -> NoteStore:
        raise NotImplementedError

    @pytest.fixture
    async def documents(self) -> DocumentStore:
        raise NotImplementedError

    @pytest.fixture
    async def users(self) -> UserStore:
        raise NotImplementedError

    @pytest.fixture
    async def ann(self, users: UserStore) -> User:
        return await self._user(users)

    @pytest.fixture
    async def bob(self, users: UserStore) -> User:
        return await self._user(users)

    async def _user(self, users: UserStore) -> User:
        record = await users.add_user(UserRecord(new_id(), f"name {new_id()}"))
        return User(record.id, record.name)

    # -- notes -----------------------------------------------------------------------------------

    async def test_a_new_note_is_empty_and_its_owners(self, notes: NoteStore, ann: User) -> None:
        note_id = new_id()

        made = await notes.create_note(note_id, ann.id, AT)

        assert (made.version, made.content.text, made.owner_name) == (0, "", ann.name)
        assert await notes.note(note_id, ann) == made

    async def test_an_id_is_used_once(self, notes: NoteStore, ann: User) -> None:
        note_id = new_id()
        await notes.create_note(note_id, ann.id, AT)
        await notes.delete_note(note_id, AT)

        with pytest.raises(Conflict):
            await notes.create_note(note_id, ann.id, AT)

        assert await notes.note(note_id, ann) is None

    async def test_nobody_has_more_notes_than_the_limit(self, notes: NoteStore, ann: User) -> None:
        made = [new_id(), new_id()]
        for note_id in made:
            await notes.create_note(note_id, ann.id, AT, limit=2)

        with pytest.raises(TooLarge) as refused:
            await notes.create_note(new_id(), ann.id, AT, limit=2)

        await notes.delete_note(made[0], AT)
        await notes.create_note(new_id(), ann.id, AT, limit=2)
        assert refused.value.details["limit"] == 2

    async def test_a_version_is_counted_where_the_text_changed(
        self, notes: NoteStore, ann: User
    ) -> None:
        note_id = new_id()
        await notes.create_note(note_id, ann.id, AT)

        versions = [
            await notes.save(note_id, says("one", 1), AT + 1),
            await notes.save(note_id, says("one", 2), AT + 2),
            await notes.save(note_id, says("two \0 nul", 3), AT + 3),
        ]

        found = await notes.note(note_id, ann)
        assert found is not None
        assert versions == [1, 1, 2]
        assert (found.content.text, found.updated_at) == ("two  nul", AT + 3)

    async def test_what_is_older_than_what_is_kept_is_not_kept(
        self, notes: NoteStore, ann: User
    ) -> None:
        note_id = new_id()
        await notes.create_note(note_id, ann.id, AT)
        await notes.save(note_id, says("new", 5), AT)

        late = await notes.save(note_id, says("late", 4), AT)
        same = await notes.save(note_id, says("same", 5), AT)
        other_life = await notes.save(note_id, says("other life", 2, epoch="second"), AT)
        next_history = await notes.save(note_id, says("anew", 1, generation=2), AT)
        old_history = await notes.save(note_id, says("old", 99), AT)

        found = await notes.note(note_id, ann)
        assert (late, same, old_history) == (None, None, None)
        assert (other_life, next_history) == (2, 3)
        assert found is not None
        assert found.content.text == "anew"

    async def test_notes_are_listed_for_owners_and_for_whom_they_are_shared_with(
        self, notes: NoteStore, ann: User, bob: User
    ) -> None:
        mine, shared, team = new_id(), new_id(), new_id()
        for at, note_id in enumerate((mine, shared, team)):
            await notes.create_note(note_id, ann.id, AT + at)
        role = f"role-{new_id()}"
        await notes.set_grants(shared, {f"user:{bob.id}": "write"}, AT)
        await notes.set_grants(team, {f"role:{role}": "read"}, AT)

        for_ann, _ = await notes.notes(ann, cursor=None, limit=10)
        for_bob, _ = await notes.notes(replace(bob, role=role), cursor=None, limit=10)

        assert [one.id for one in for_ann] == [team, shared, mine]
        assert [(one.id, one.granted) for one in for_bob] == [
            (team, (True, False)),
            (shared, (True, True)),
        ]

    async def test_pages_go_by_the_last_change_and_repeat_none(
        self, notes: NoteStore, ann: User
    ) -> None:
        made = [new_id() for _ in range(5)]
        for note_id in made:
            await notes.create_note(note_id, ann.id, AT)
        await notes.save(made[2], says("changed", 1), AT + 9)

        seen: list[str] = []
        cursor: str | None = None
        while True:
            page, cursor = await notes.notes(ann, cursor=cursor, limit=2)
            seen += [one.id for one in page]
            if cursor is None:
                break

        assert seen[0] == made[2]
        assert sorted(seen) == sorted(made)

    async def test_every_letter_of_a_search_is_meant_in_any_case(
        self, notes: NoteStore, ann: User
    ) -> None:
        texts = {"100% Äpfel": new_id(), "100 percent": new_id(), "a_b": new_id()}
        for text, note_id in texts.items():
            await notes.create_note(note_id, ann.id, AT)
            await notes.save(note_id, says(text, 1), AT)

        found = {
            search: [
                one.id for one in (await notes.notes(ann, cursor=None, limit=9, search=search))[0]
            ]
            for search in ("100%", "äPFEL", "_", "\\")
        }

        assert found == {
            "100%": [texts["100% Äpfel"]],
            "äPFEL": [texts["100% Äpfel"]],
            "_": [texts["a_b"]],
            "\\": [],
        }

    async def test_a_cursor_of_somebody_else_is_refused(self, notes: NoteStore, ann: User) -> None:
        with pytest.raises(InvalidPayload):
            await notes.notes(ann, cursor="not one of ours", limit=2)

    # -- access ----------------------------------------------------------------------------------

    async def test_grants_are_replaced_and_counted(
        self, notes: NoteStore, ann: User, bob: User
    ) -> None:
        note_id = new_id()
        await notes.create_note(note_id, ann.id, AT)
        first = await notes.set_grants(note_id, {f"user:{bob.id}": "write"}, AT)

        second = await notes.set_grants(note_id, {"everyone": "read"}, AT)

        found = await notes.note(note_id, bob)
        assert await notes.grants(note_id) == {"everyone": "read"}
        assert found is not None
        assert found.granted == (True, False)
        assert second == first + 1
        assert await notes.access_versions([note_id, new_id()]) == {note_id: second}

    async def test_what_is_deleted_takes_grants_versions_and_files_with_it(
        self, notes: NoteStore, ann: User
    ) -> None:
        note_id, file_id = new_id(), new_id()
        await notes.create_note(note_id, ann.id, AT)
        await notes.set_grants(note_id, {"everyone": "read"}, AT)
        version = version_of(note_id, "v", AT)
        await notes.add_version(version)
        await notes.attach_file(note_id, file_id)

        await notes.delete_note(note_id, AT)
        await notes.delete_note(note_id, AT)

        assert await notes.grants(note_id) == {}
        assert await notes.note_version(note_id, version.id) is None
        assert await notes.notes_of_file(file_id) == []
        assert await notes.access_versions([note_id]) == {}
        with pytest.raises(NotFound):
            await notes.set_grants(note_id, {}, AT)
        assert await notes.save(note_id, says("late", 9), AT) is None

    # -- behind ----------------------------------------------------------------------------------

    async def test_a_note_lags_while_its_document_is_ahead(
        self, notes: NoteStore, documents: DocumentStore, ann: User
    ) -> None:
        note_id = new_id()
        await notes.create_note(note_id, ann.id, AT)
        head = await documents.create(document_of(note_id))
        before = note_id in await notes.lagging(100_000)
        await documents.append(document_of(note_id), [b"x"], generation=1)
        ahead = note_id in await notes.lagging(100_000)

        await notes.save(note_id, says("x", 1, epoch=head.epoch), AT)

        after = note_id in await notes.lagging(100_000)
        assert (before, ahead, after) == (False, True, False)

    # -- versions and files ----------------------------------------------------------------------

    async def test_versions_are_given_newest_first_and_whole_one_by_one(
        self, notes: NoteStore, ann: User
    ) -> None:
        note_id = new_id()
        await notes.create_note(note_id, ann.id, AT)
        made = [version_of(note_id, f"v{number}", AT + number // 2) for number in range(5)]
        for version in made:
            await notes.add_version(version)

        seen: list[NoteVersion] = []
        cursor: str | None = None
        while True:
            page, cursor = await notes.versions(note_id, cursor=cursor, limit=2)
            seen += page
            if cursor is None:
                break

        whole = await notes.note_version(note_id, made[3].id)
        assert [one.created_at for one in seen] == [AT + 2, AT + 1, AT + 1, AT, AT]
        assert {one.id for one in seen} == {one.id for one in made}
        assert all(one.content is None for one in seen)
        assert whole == made[3]

    async def test_of_several_at_once_one_is_kept_where_one_is_due(
        self, notes: NoteStore, ann: User
    ) -> None:
        note_id = new_id()
        await notes.create_note(note_id, ann.id, AT)
        first = await notes.add_version(
            version_of(note_id, "a", AT, automatic=True), unless_since=AT - 1000
        )

        again = await notes.add_version(
            version_of(note_id, "b", AT + 500, automatic=True), unless_since=AT - 500
        )
        due = await notes.add_version(
            version_of(note_id, "c", AT + 1500, automatic=True), unless_since=AT + 500
        )

        assert (first, again, due) == (True, False, True)

    async def test_only_automatic_versions_are_thinned(self, notes: NoteStore, ann: User) -> None:
        note_id = new_id()
        await notes.create_note(note_id, ann.id, AT)
        for number in range(6):
            version = version_of(note_id, f"v{number}", AT + number, automatic=number % 2 == 0)
            await notes.add_version(version)

        gone = await notes.thin_versions(note_id, 1)

        left, _ = await notes.versions(note_id, cursor=None, limit=10)
        assert gone == 2
        assert [one.name for one in left] == ["v5", "v4", "v3", "v1"]

    async def test_a_version_is_deleted_once(self, notes: NoteStore, ann: User) -> None:
        note_id = new_id()
        await notes.create_note(note_id, ann.id, AT)
        version = version_of(note_id, "v", AT)
        await notes.add_version(version)

        answers = [await notes.delete_version(note_id, version.id) for _ in range(2)]

        assert answers == [True, False]

    async def test_files_are_attached_to_notes(self, notes: NoteStore, ann: User) -> None:
        file_id, note_ids = new_id(), [new_id(), new_id()]
        for note_id in note_ids:
            await notes.create_note(note_id, ann.id, AT)
            await notes.attach_file(note_id, file_id)
            await notes.attach_file(note_id, file_id)

        assert sorted(await notes.notes_of_file(file_id)) == sorted(note_ids)
