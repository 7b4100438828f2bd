"""Documents over real sockets on the embedded store. Each test of `TestLossesOfOthers` tells how text was lost
elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pycrdt import Doc, Text

from parlour.core.documents import AwarenessState, read_awareness, write_awareness
from parlour.core.users import User
from parlour.documents.manager import Documents
from tests.documents import LIMIT_S, Editor, editing, new_note
from tests.rest import code_of, rest
from tests.serving import Served, serve

ANYBODY = User(id="", name="")


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """One for all tests that need nothing special; each has notes of its own."""
    folder = tmp_path_factory.mktemp("documents")
    async with serve(None, folder, commands_per_second=10_000, command_burst=10_000) as served:
        yield served


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not await condition():  # noqa: ASYNC110 - a database tells nobody
            await asyncio.sleep(0.02)


async def saved_text(server: Served, note_id: str) -> str:
    """What is in the database, whatever the document says."""
    note = await server.node.notes.note(note_id, ANYBODY)
    assert note is not None
    return note.content.text


async def user_id(server: Served, name: str) -> str:
    await server.user(name)
    record = await server.node.users.user_by_login(name)
    assert record is not None
    return record.id


async def share(server: Served, owner: str, note_id: str, **rights: str) -> None:
    grants = {f"user:{await user_id(server, name)}": right for name, right in rights.items()}
    async with rest(server, owner) as http:
        answer = await http.patch(f"/api/notes/{note_id}", json={"grants": grants})
    assert answer.status_code == 200, answer.text


def awareness_of(editor: Editor) -> dict[int, Any]:
    """The newest state of each client, as this editor heard it."""
    known: dict[int, AwarenessState] = {}
    for event, payload in editor.client.heard:
        if event == "ydoc:awareness:update":
            for state in read_awareness(bytes(payload["update"])):
                known[state.client] = state
    return {client: state.state for client, state in known.items()}


async def say(editor: Editor, state: Any, *, client: int, clock: int = 1) -> None:
    update = write_awareness([AwarenessState(client, clock, state)])
    answer = await editor.client.call(
        "ydoc:awareness:update", document_id=editor.document_id, update=editor.form(update)
    )
    assert answer["ok"], answer


class TestTogether:
    async def test_what_one_types_the_other_sees(self, server: Served) -> None:
        note = await new_note(server, "ann")
        await share(server, "ann", note, bob="write")
        async with editing(server, "ann", note) as ann, editing(server, "bob", note) as bob:
            await ann.type("Hello ")
            await bob.until_text("Hello ")
            await bob.type("Ann")

            assert await ann.until_text("Hello Ann") == "Hello Ann"

    async def test_an_update_is_acknowledged_with_its_offset_and_told_with_the_same(
        self, server: Served
    ) -> None:
        note = await new_note(server, "ann")
        async with editing(server, "ann", note) as one, editing(server, "ann", note) as other:
            one.text.insert(0, "a")
            (answer,) = await one.flush()

            heard = await other.client.until(lambda event, _: event == "ydoc:document:update")
            assert (answer["offset"], answer["generation"]) == (1, 1)
            assert (heard["offset"], heard["generation"]) == (1, 1)
            assert heard["user_id"] == await user_id(server, "ann")
            assert heard["socket_id"] == one.client.socket.get_sid()
            assert one.heard_updates == 0

    async def test_older_clients_speak_in_arrays_beside_others_that_speak_in_bytes(
        self, server: Served
    ) -> None:
        note = await new_note(server, "ann")
        async with (
            editing(server, "ann", note, listed=True) as older,
            editing(server, "ann", note) as newer,
        ):
            await older.type("from arrays, ")
            await newer.until_text("from arrays, ")
            await newer.type("from bytes")
            await older.until_text("from arrays, from bytes")

            told = await older.client.until(lambda event, _: event == "ydoc:document:update")
            assert isinstance(told["update"], list)
            assert isinstance(older.joined["state_vector"], list)
            assert isinstance(newer.joined["state_vector"], bytes)

    async def test_a_client_that_says_nothing_of_its_state_gets_the_whole_in_arrays(
        self, server: Served
    ) -> None:
        note = await new_note(server, "ann", title="T", markdown="text")
        editor = Editor(note)
        await editor.connect(server.url, await server.user("ann"))

        answer = await editor.client.call(
            "ydoc:document:join",
            document_id=editor.document_id,
            user_id="somebody else",
            user_name="x",
        )

        state = await editor.client.until(lambda event, _: event == "ydoc:document:state")
        assert answer["ok"]
        assert isinstance(state["state"], list)
        assert str(editor.doc.get("title", type=Text)) == "T"
        assert [user["name"] for user in state["users"]] == ["ann"]
        await editor.close()

    async def test_people_are_told_once_who_comes_and_who_leaves(self, server: Served) -> None:
        note = await new_note(server, "ann")
        await share(server, "ann", note, bob="read")
        async with editing(server, "ann", note) as ann:
            async with editing(server, "bob", note), editing(server, "bob", note):
                joined = await ann.client.until(lambda event, _: event == "ydoc:user:joined")
            left = await ann.client.until(lambda event, _: event == "ydoc:user:left")

            bob = await user_id(server, "bob")
            assert (joined["user_id"], joined["user_name"]) == (bob, "bob")
            assert left["user_id"] == bob
            moves = [event for event, _ in ann.client.heard if event.startswith("ydoc:user:")]
            assert moves == ["ydoc:user:joined", "ydoc:user:left"]

    async def test_leaving_ends_what_is_heard(self, server: Served) -> None:
        note = await new_note(server, "ann")
        async with editing(server, "ann", note) as one, editing(server, "ann", note) as other:
            await other.client.call("ydoc:document:leave", document_id=other.document_id)
            await one.type("unheard")
            late = await other.client.call("ydoc:document:state", document_id=other.document_id)

            assert late["error"]["code"] == "forbidden"
            assert other.heard_updates == 0


class TestLossesOfOthers:
    async def test_what_was_typed_offline_arrives_after_the_reconnect(self, server: Served) -> None:
        """The state went one way only: a client that came back got what it lacked, but never sent what it had
        typed offline. What it typed later depended on that and stayed invisible to everybody else."""
        note = await new_note(server, "ann")
        async with editing(server, "ann", note) as other:
            away = Editor(note)
            await away.connect(server.url, await server.user("ann"))
            await away.join()
            await away.type("before ")
            await away.client.close()
            away.text.insert(len(away.text), "offline ")
            await other.until_text("before ")
            await other.type("meanwhile ", at=0)

            await away.connect(server.url, await server.user("ann"))
            await away.join()
            await away.type("after")

            text = await other.until_text(lambda text: text.endswith("after"))
            assert text == "meanwhile before offline after"
            assert str(away.text) == text
            await away.close()

    async def test_updates_that_wait_for_others_survive_compaction_and_restart(
        self, tmp_path: Path
    ) -> None:
        """A log was replaced by a snapshot while updates in it waited for one that had not come: the
        snapshot had none of them, and 510 characters became 2 for good."""
        author: Doc[Any] = Doc()
        text = author.get("content", type=Text)
        updates: list[bytes] = []
        subscription = author.observe(lambda event: updates.append(event.update))
        for number in range(60):
            text.insert(len(text), f"word{number:03} ")
        author.unobserve(subscription)
        whole = str(text)

        async with serve(None, tmp_path, document_idle_seconds=0) as server:
            note = await new_note(server, "ann")
            async with editing(server, "ann", note) as editor:
                await editor.send(updates[0])
                for update in updates[2:50]:
                    assert (await editor.send(update))["ok"]
        async with serve(None, tmp_path) as server, editing(server, "ann", note) as editor:
            for update in updates[50:]:
                await editor.send(update)
            shown = str(editor.text)
            await editor.send(updates[1])

            async with editing(server, "ann", note) as reader:
                assert shown == "word000 "
                assert await reader.until_text(whole) == whole

    async def test_nothing_is_doubled_for_a_client_that_comes_back_after_everybody_left(
        self, tmp_path: Path
    ) -> None:
        """The document was cleared when its last user left and seeded again from the saved text. To a
        client that came back with its copy that was other text: everything stood there twice."""
        async with serve(None, tmp_path, document_idle_seconds=0) as server:
            note = await new_note(server, "ann")
            editor = Editor(note)
            await editor.connect(server.url, await server.user("ann"))
            await editor.join()
            await editor.type("only once")
            await editor.client.close()
            documents = server.node.part(Documents)

            async def closed() -> bool:
                return documents.stats()["open"] == 0

            await until(closed)

            await editor.connect(server.url, await server.user("ann"))
            again = await editor.join()
            await editor.client.close()
        async with serve(None, tmp_path) as server:
            await editor.connect(server.url, await server.user("ann"))
            restarted = await editor.join()
            async with editing(server, "ann", note) as fresh:
                assert await fresh.until_text("only once") == "only once"
            assert again["status"] == restarted["status"] == "ready"
            assert again["offset"] == restarted["offset"] == 1
            assert await saved_text(server, note) == "only once"
            await editor.close()

    async def test_the_saved_text_is_the_documents_and_edits_from_elsewhere_stay(
        self, server: Served
    ) -> None:
        """Browsers sent the text that they showed along with each edit, and the last one was saved: what an
        agent or a REST call had written was overwritten by a page that did not show it yet."""
        note = await new_note(server, "ann", markdown="First.")
        async with editing(server, "ann", note) as editor, rest(server, "ann") as http:
            editor.doc.get("title", type=Text).insert(0, "From the page")
            stale = {"data": {"content": {"html": "<p>stale</p>", "md": "stale"}}}
            for update in [editor._unsent.pop()]:
                assert (await editor.send(update, **stale))["ok"]

            answer = await http.patch(
                f"/api/notes/{note}", json={"append_markdown": "Second, *over REST*."}
            )

            await editor.client.until(lambda event, _: event == "ydoc:document:update")
            shown = answer.json()
            assert shown["title"] == "From the page"
            assert shown["markdown"] == "First.\n\nSecond, *over REST*."
            assert await saved_text(server, note) == "First.\nSecond, over REST."

    async def test_text_is_saved_while_typing_goes_on(self, tmp_path: Path) -> None:
        """Each edit put the save off by half a second and cancelled the one that was due: nothing was saved
        as long as somebody went on typing."""
        async with serve(
            None, tmp_path, document_save_seconds=60, document_save_limit_seconds=0.3
        ) as server:
            note = await new_note(server, "ann")
            async with editing(server, "ann", note) as editor:
                async with asyncio.timeout(LIMIT_S):
                    while not any(event == "note:saved" for event, _ in editor.client.heard):
                        await editor.type("x")

                saved = next(p for event, p in editor.client.heard if event == "note:saved")
                assert saved["offset"] >= 1
                assert saved["version"] == 1

    async def test_text_is_saved_when_the_last_one_leaves(self, tmp_path: Path) -> None:
        async with serve(
            None, tmp_path, document_save_seconds=60, document_save_limit_seconds=300
        ) as server:
            note = await new_note(server, "ann")
            async with editing(server, "ann", note) as editor:
                await editor.type("kept")

            async def saved() -> bool:
                return await saved_text(server, note) == "kept"

            await until(saved)
            assert await saved_text(server, note) == "kept"

    async def test_text_is_saved_at_shutdown(self, tmp_path: Path) -> None:
        editor = None
        async with serve(
            None, tmp_path, document_save_seconds=60, document_save_limit_seconds=300
        ) as server:
            note = await new_note(server, "ann")
            editor = Editor(note)
            await editor.connect(server.url, await server.user("ann"))
            await editor.join()
            await editor.type("kept")
        async with serve(None, tmp_path) as server:
            assert await saved_text(server, note) == "kept"
        await editor.close()

    async def test_a_keystroke_sends_a_keystroke(self, server: Served) -> None:
        """Updates travelled as arrays of integers, 3.5 times their size, and each keystroke carried the whole
        note three times over."""
        note = await new_note(server, "ann", markdown="long " * 2000)
        async with editing(server, "ann", note) as one, editing(server, "ann", note) as other:
            await one.type("x")

            told = await other.client.until(lambda event, _: event == "ydoc:document:update")
            assert isinstance(told["update"], bytes)
            assert len(told["update"]) < 60
            assert not set(told) & {"data", "content", "state"}

    async def test_the_size_limit_is_on_the_document_and_not_on_what_was_sent(
        self, tmp_path: Path
    ) -> None:
        """The limit counted the bytes that were ever appended: the same resync was refused the third time,
        and nobody was told."""
        async with serve(None, tmp_path, max_document_bytes=20_000) as server:
            note = await new_note(server, "ann")
            async with editing(server, "ann", note) as editor:
                await editor.type("a" * 15_000)
                whole = editor.doc.get_update()
                resent = [await editor.send(whole) for _ in range(5)]
                editor.text.insert(0, "b" * 10_000)
                (refused,) = await editor.flush()

                assert [answer["ok"] for answer in resent] == [True] * 5
                assert {answer["offset"] for answer in resent} == {1}
                assert refused["error"]["code"] == "too_large"
                assert refused["error"]["limit"] == 20_000
            async with editing(server, "ann", note) as editor:
                assert await editor.until_text("a" * 15_000)
                del editor.text[0:14_000]
                (smaller,) = await editor.flush()
                await editor.type("room again")
                assert smaller["ok"]

    @pytest.mark.parametrize("alias", ["{}:x", "{} ", "{}/", "{}\n", "NOTE:{}", "{}#1"])
    async def test_an_id_with_something_added_names_nothing(
        self, server: Served, alias: str
    ) -> None:
        """A document id with a suffix opened another document of the same note, without any check of who may."""
        note = await new_note(server, "ann")
        async with editing(server, "eve", note, join=False) as eve:
            name = alias.format(note if alias.startswith("NOTE") else f"note:{note}")

            answers = [
                await eve.client.call("ydoc:document:join", document_id=name),
                await eve.client.call("ydoc:document:join", document_id=f"note:{note}"),
                await eve.client.call("ydoc:document:update", document_id=name, update=b"\0\0"),
            ]

            codes = [answer["error"]["code"] for answer in answers]
            assert codes == ["invalid_payload", "not_found", "invalid_payload"]

    async def test_a_newcomer_sees_the_others_cursors_and_none_of_who_left(
        self, server: Served
    ) -> None:
        """Awareness was passed on and forgotten: whoever came later saw nobody, and the cursors of those
        whose connection broke stayed for ever."""
        note = await new_note(server, "ann")
        await share(server, "ann", note, bob="write")
        async with editing(server, "ann", note) as ann:
            await say(ann, {"user": {"name": "ann", "color": "#f00"}, "cursor": 3}, client=11)
            async with editing(server, "bob", note) as bob:
                await bob.client.until(lambda event, _: event == "ydoc:awareness:update")
                await say(bob, {"user": {"name": "bob"}, "cursor": 5}, client=22)
                await ann.client.until(lambda event, _: event == "ydoc:awareness:update")
                seen_by_bob, seen_by_ann = awareness_of(bob), awareness_of(ann)
            await ann.client.until(
                lambda event, payload: (
                    event == "ydoc:awareness:update" and awareness_of(ann).get(22, 0) is None
                )
            )

            assert seen_by_bob[11]["cursor"] == 3
            assert seen_by_bob[11]["user"]["color"] == "#f00"
            assert seen_by_ann[22]["cursor"] == 5
            assert awareness_of(ann)[22] is None

    async def test_readers_see_changes_as_they_happen_and_cannot_make_any(
        self, server: Served
    ) -> None:
        """Who could not write was not in the room: the page showed the text of when it was opened."""
        note = await new_note(server, "ann")
        await share(server, "ann", note, bob="read")
        async with editing(server, "ann", note) as ann, editing(server, "bob", note) as bob:
            await ann.type("live")
            await bob.until_text("live")
            bob.text.insert(0, "not ")
            (refused,) = await bob.flush()
            await ann.type("!")

            assert bob.joined["permission"] == "read"
            assert refused["error"]["code"] == "forbidden"
            assert str(ann.text) == "live!"

    async def test_who_is_shut_out_hears_nothing_more_within_a_second(self, server: Served) -> None:
        note = await new_note(server, "ann")
        await share(server, "ann", note, bob="write", eve="write")
        async with (
            editing(server, "ann", note) as ann,
            editing(server, "bob", note) as bob,
            editing(server, "eve", note) as eve,
        ):
            await share(server, "ann", note, eve="read")

            told = await bob.client.until(lambda event, _: event == "access:updated")
            changed = await eve.client.until(lambda event, _: event == "access:updated")
            await ann.type("secret")
            await eve.until_text("secret")
            bob.text.insert(0, "x")
            eve.text.insert(0, "x")
            (from_bob,), (from_eve,) = await bob.flush(), await eve.flush()
            again = await bob.join()
            assert told == {"room": f"doc_note:{note}", "reason": "removed"}
            assert (changed["reason"], changed["permission"]) == ("permission", "read")
            assert from_bob["error"]["code"] == from_eve["error"]["code"] == "forbidden"
            assert again["error"]["code"] == "not_found"
            assert bob.heard_updates == 0

    async def test_a_lost_word_of_a_change_of_access_is_made_up_for(self, server: Served) -> None:
        """The database is asked again and again, so that a message that was lost between nodes opens nothing."""
        note = await new_note(server, "ann")
        await share(server, "ann", note, bob="write")
        async with editing(server, "bob", note) as bob:
            await server.node.notes.set_grants(note, {}, 0)

            told = await bob.client.until(lambda event, _: event == "access:updated")
            assert told["reason"] == "removed"

    async def test_a_copy_of_a_history_that_was_given_up_is_not_merged(
        self, server: Served
    ) -> None:
        note = await new_note(server, "ann")
        async with editing(server, "ann", note) as editor:
            await editor.type("old text")
            fresh: Doc[Any] = Doc()
            fresh.get("content", type=Text).insert(0, "new text")
            await server.node.documents.renew(editor.document_id, fresh.get_update(), generation=1)
            document = server.node.part(Documents).find(editor.document_id)
            assert document is not None
            await document.replica.check()
            told = await editor.client.until(lambda event, _: event == "access:updated")
            editor.text.insert(0, "late ")
            refused = (await editor.flush())[0]
            answer = await editor.client.call(
                "ydoc:document:join",
                document_id=editor.document_id,
                state_vector=editor.doc.get_state(),
                generation=1,
            )
            stale = await editor.send(editor.doc.get_update(), generation=1)
            async with editing(server, "ann", note) as other:
                assert await other.until_text("new text") == "new text"
            assert told["reason"] == "reset"
            assert not refused["ok"]
            assert (answer["status"], answer["generation"]) == ("reset", 2)
            assert stale["error"]["code"] == "stale_generation"
            assert stale["error"]["generation"] == 2


class TestBadInput:
    @pytest.mark.parametrize(
        "update",
        [b"", b"\x01", b"\xff" * 30, b"\x00\x00junk", [256], [-1], "text", None, {"a": 1}, [1.5]],
    )
    async def test_what_is_no_update_is_refused_and_nothing_of_it_is_kept(
        self, server: Served, update: Any
    ) -> None:
        note = await new_note(server, "ann")
        async with editing(server, "ann", note) as editor:
            answer = await editor.client.call(
                "ydoc:document:update", document_id=editor.document_id, update=update
            )
            await editor.type("fine")

            assert answer["error"]["code"] == "invalid_payload"
            assert (await server.node.documents.head(editor.document_id)).offset == 1

    async def test_an_update_cut_short_anywhere_is_refused(self, server: Served) -> None:
        note = await new_note(server, "ann")
        author: Doc[Any] = Doc()
        author.get("content", type=Text).insert(0, "abc é 😀")
        update = author.get_update()
        async with editing(server, "ann", note) as editor:
            answers = [await editor.send(update[:cut]) for cut in range(len(update))]
            whole = await editor.send(update)

            assert {answer["error"]["code"] for answer in answers} == {"invalid_payload"}
            assert whole["ok"]

    async def test_payloads_of_other_shapes_get_typed_errors_and_end_nothing(
        self, server: Served
    ) -> None:
        note = await new_note(server, "ann")
        wrong: list[dict[str, Any]] = [
            {},
            {"document_id": 7},
            {"document_id": ["x"]},
            {"document_id": "x" * 10_000},
            {"document_id": f"note:{note}", "state_vector": "x", "update": "x"},
            {"document_id": f"note:{note}", "state_vector": [300], "update": [300]},
            {"document_id": f"note:{note}", "state_vector": b"\xff" * 9, "update": b"\xff" * 9},
            {"document_id": f"note:{note}", "generation": "1", "state_vector": {}, "update": {}},
            {"document_id": f"note:{note}", "generation": -1, "state_vector": 1, "update": 1},
        ]
        events = ["ydoc:document:join", "ydoc:document:state", "ydoc:document:update"]
        async with editing(server, "ann", note) as editor:
            answers = [
                await editor.client.call(event, **payload)
                for event in [*events, "ydoc:awareness:update"]
                for payload in wrong
            ]
            left = await editor.client.call("ydoc:document:leave", document_id="note:")
            await editor.type("still here")

            assert {answer["error"]["code"] for answer in (*answers, left)} == {"invalid_payload"}

    async def test_awareness_of_somebody_else_is_not_passed_on(self, server: Served) -> None:
        note = await new_note(server, "ann")
        await share(server, "ann", note, bob="write")
        async with (
            editing(server, "ann", note) as ann,
            editing(server, "bob", note) as bob,
            editing(server, "ann", note) as watcher,
        ):
            await say(ann, {"user": {"name": "ann"}, "cursor": 1}, client=11)
            await say(bob, None, client=11, clock=99)
            await say(bob, {"user": {"name": "ann", "id": "x"}, "cursor": 2}, client=22)

            await watcher.client.until(lambda *_: 22 in awareness_of(watcher))
            seen = awareness_of(watcher)
            assert seen[11]["cursor"] == 1
            assert seen[22]["user"] == {"name": "bob", "id": await user_id(server, "bob")}

    async def test_too_many_open_documents_are_refused(self, tmp_path: Path) -> None:
        async with serve(None, tmp_path, documents_per_connection=2) as server:
            notes = [await new_note(server, "ann") for _ in range(3)]
            async with editing(server, "ann", notes[0]) as editor:
                answers = [
                    await editor.client.call("ydoc:document:join", document_id=f"note:{note}")
                    for note in (*notes[1:], notes[0])
                ]

                assert [answer["ok"] for answer in answers] == [True, False, True]
                assert answers[1]["error"]["code"] == "rate_limited"


class TestRest:
    async def test_a_change_for_another_version_is_refused(self, server: Served) -> None:
        note = await new_note(server, "ann", markdown="one")
        async with rest(server, "ann") as http:
            version = (await http.get(f"/api/notes/{note}")).json()["version"]
            path = f"/api/notes/{note}"
            first = await http.patch(path, json={"markdown": "two", "expected_version": version})
            second = await http.patch(path, json={"markdown": "three", "expected_version": version})

            assert first.status_code == 200
            assert code_of(second) == (409, "conflict")
            assert second.json()["version"] == first.json()["version"]
            assert (await http.get(path)).json()["markdown"] == "two"

    async def test_what_is_typed_counts_as_a_change_before_it_is_saved(
        self, tmp_path: Path
    ) -> None:
        async with serve(
            None, tmp_path, document_save_seconds=60, document_save_limit_seconds=300
        ) as server:
            note = await new_note(server, "ann")
            async with editing(server, "ann", note) as editor, rest(server, "ann") as http:
                version = (await http.get(f"/api/notes/{note}")).json()["version"]
                await editor.type("typed")

                answer = await http.patch(
                    f"/api/notes/{note}", json={"title": "T", "expected_version": version}
                )
                shown = await http.get(f"/api/notes/{note}")
                assert code_of(answer) == (409, "conflict")
                assert shown.json()["text"] == "typed"

    async def test_notes_are_found_by_who_may_read_them(self, server: Served) -> None:
        mine = await new_note(server, "ann of lists", title="Shopping", markdown="Milk 100%")
        await new_note(server, "ann of lists", title="Private", markdown="Diary")
        await share(server, "ann of lists", mine, **{"bob of lists": "read"})
        async with rest(server, "bob of lists") as bob, rest(server, "eve") as eve:
            listed = (await bob.get("/api/notes")).json()["items"]
            found = (await bob.get("/api/notes", params={"search": "mILK 100%"})).json()["items"]
            other = (await bob.get("/api/notes", params={"search": "100_"})).json()["items"]
            hidden = await eve.get(f"/api/notes/{mine}")

            assert [(one["id"], one["permission"]) for one in listed] == [(mine, "read")]
            assert [one["id"] for one in found] == [mine]
            assert other == []
            assert code_of(hidden) == (404, "not_found")

    async def test_pages_of_notes_neither_skip_nor_repeat(self, server: Served) -> None:
        made = [await new_note(server, "ann of pages", title=f"n{number}") for number in range(5)]
        async with rest(server, "ann of pages") as http:
            seen: list[str] = []
            cursor = ""
            while cursor is not None:
                page = (await http.get("/api/notes", params={"limit": 2, "cursor": cursor})).json()
                seen += [one["id"] for one in page["items"]]
                cursor = page["next_cursor"]

            assert sorted(seen) == sorted(made)
            assert len(seen) == 5

    async def test_more_than_one_edit_may_bring_is_refused_at_once(self, server: Served) -> None:
        note = await new_note(server, "ann", markdown="small")
        async with rest(server, "ann") as http:
            path = f"/api/notes/{note}"
            answers = [
                await http.patch(path, json={"markdown": "a\n\n" * 25_000}),
                await http.patch(path, json={"append_markdown": "a" * 600_000}),
                await http.post("/api/notes", json={"markdown": "a" * 600_000}),
            ]

            assert [code_of(one) for one in answers] == [(413, "too_large")] * 3
            assert (await http.get(path)).json()["markdown"] == "small"

    async def test_only_the_owner_shares_and_deletes(self, server: Served) -> None:
        note = await new_note(server, "ann", markdown="x")
        await share(server, "ann", note, bob="write", eve="read")
        async with rest(server, "bob") as bob, rest(server, "eve") as eve:
            answers = [
                await bob.patch(f"/api/notes/{note}", json={"grants": {}}),
                await bob.delete(f"/api/notes/{note}"),
                await eve.patch(f"/api/notes/{note}", json={"markdown": "y"}),
                await eve.post(f"/api/notes/{note}/versions", json={}),
                await bob.patch(f"/api/notes/{note}", json={"grants": {"nobody": "read"}}),
            ]

            assert [code_of(one) for one in answers] == [(403, "forbidden")] * 5
            assert "grants" not in (await bob.get(f"/api/notes/{note}")).json()

    async def test_a_deleted_note_is_gone_for_everybody_at_once(self, server: Served) -> None:
        note = await new_note(server, "ann", markdown="x")
        await share(server, "ann", note, bob="write")
        async with editing(server, "bob", note) as bob, rest(server, "ann") as http:
            answer = await http.delete(f"/api/notes/{note}")

            told = await bob.client.until(lambda event, _: event == "access:updated")
            event = await bob.client.until(
                lambda event, payload: (
                    event == "events:note" and payload["data"]["type"] == "note:deleted"
                )
            )
            again = await bob.client.call("ydoc:document:join", document_id=bob.document_id)
            assert answer.status_code == 204
            assert told["reason"] == "deleted"
            assert event["note_id"] == note
            assert again["error"]["code"] == "not_found"
            assert code_of(await http.get(f"/api/notes/{note}")) == (404, "not_found")

    async def test_readers_of_a_note_read_the_files_that_are_attached_to_it(
        self, server: Served
    ) -> None:
        note = await new_note(server, "ann")
        await share(server, "ann", note, bob="read")
        async with rest(server, "ann") as ann, rest(server, "bob") as bob:
            upload = await ann.post("/api/files", files={"file": ("a.txt", b"hello")})
            file_id = upload.json()["id"]
            before = await bob.get(f"/api/files/{file_id}")
            foreign = await bob.post(f"/api/notes/{note}/files", json={"file_id": file_id})
            attached = await ann.post(f"/api/notes/{note}/files", json={"file_id": file_id})
            after = await bob.get(f"/api/files/{file_id}")

            assert code_of(before) == (404, "not_found")
            assert code_of(foreign) == (403, "forbidden")
            assert attached.status_code == 204
            assert after.content == b"hello"


class TestVersions:
    async def test_a_version_is_restored_as_an_edit_that_everybody_sees(
        self, server: Served
    ) -> None:
        note = await new_note(server, "ann", title="T", markdown="Keep.\n\nOld words.")
        async with rest(server, "ann") as http, editing(server, "ann", note) as editor:
            kept = (await http.post(f"/api/notes/{note}/versions", json={"name": "v1"})).json()
            await http.patch(f"/api/notes/{note}", json={"markdown": "Keep.\n\nNew."})
            before = (await server.node.documents.head(editor.document_id)).offset

            answer = await http.post(f"/api/notes/{note}/versions/{kept['id']}/restore")

            after = (await server.node.documents.head(editor.document_id)).offset
            listed = (await http.get(f"/api/notes/{note}/versions")).json()["items"]
            await editor.client.until(
                lambda event, payload: (
                    event == "ydoc:document:update" and payload["offset"] == after
                )
            )
            assert answer.json()["markdown"] == "Keep.\n\nOld words."
            assert after == before + 1
            assert [one["name"] for one in listed if not one["automatic"]] == ["v1"]
            assert "Keep.\nNew." in [one["preview"] for one in listed]

    async def test_versions_are_compared_by_words(self, server: Served) -> None:
        note = await new_note(server, "ann", markdown="The quick fox.")
        async with rest(server, "ann") as http:
            kept = (await http.post(f"/api/notes/{note}/versions", json={})).json()
            await http.patch(f"/api/notes/{note}", json={"markdown": "The slow fox."})

            path = f"/api/notes/{note}/versions/{kept['id']}"
            changes = (await http.get(f"{path}/compare")).json()["changes"]

            assert changes == [
                {"op": "equal", "text": "The "},
                {"op": "delete", "text": "quick"},
                {"op": "insert", "text": "slow"},
                {"op": "equal", "text": " fox."},
            ]
            assert (await http.get(path)).json()["html"] == "<p>The quick fox.</p>"

    async def test_versions_are_kept_by_themselves_and_only_so_many(self, tmp_path: Path) -> None:
        async with serve(
            None, tmp_path, note_version_interval_seconds=1, note_versions_kept=2
        ) as server:
            note = await new_note(server, "ann", markdown="0")
            async with rest(server, "ann") as http:
                await http.post(f"/api/notes/{note}/versions", json={"name": "named"})
                for number in range(1, 5):
                    await http.patch(f"/api/notes/{note}", json={"markdown": str(number)})
                await server.node.notes.thin_versions(note, 2)

                items = (await http.get(f"/api/notes/{note}/versions")).json()["items"]
                assert sum(one["automatic"] for one in items) == 2
                assert [one["name"] for one in items if not one["automatic"]] == ["named"]
                gone = await http.delete(f"/api/notes/{note}/versions/{items[0]['id']}")
                assert gone.status_code == 204
