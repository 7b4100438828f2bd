"""Notes in an app's code, and what of a note survives what goes wrong around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import parlour as cl
from parlour.core.documents import document_of
from parlour.documents.manager import Documents
from parlour.documents.replica import Author
from parlour.errors import NotFound, Unavailable
from tests.documents import editing, new_note
from tests.rest import rest
from tests.serving import Served, serve


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(None, tmp_path) as served:
        yield served


async def test_an_app_edits_a_note_and_everybody_sees_it_live(server: Served) -> None:
    note_id = await new_note(server, "ann", title="Plan", markdown="Budget: 100\n\nEnd")
    async with editing(server, "ann", note_id) as page:
        async with cl.open_note(note_id) as note:
            before = (note.title, note.text)
            note.replace("100", "200")
            note.insert(0, "Draft. ")
            note.append_markdown("- [ ] ask **Bob**")
            note.title = "The plan"
            missing = note.replace("nowhere", "x")
            after = note.markdown
        await page.client.until(lambda event, _: event == "ydoc:document:update")
        async with rest(server, "ann") as http:
            shown = (await http.get(f"/api/notes/{note_id}")).json()

    assert before == ("Plan", "Budget: 100\nEnd")
    assert after == "Draft. Budget: 200\n\nEnd\n\n- [ ] ask **Bob**"
    assert not missing
    assert (shown["title"], shown["markdown"]) == ("The plan", after)


async def test_what_others_type_meanwhile_is_kept(server: Served) -> None:
    note_id = await new_note(server, "ann", markdown="One.\n\nTwo.")
    async with cl.open_note(note_id) as note:
        markdown = note.markdown
        async with rest(server, "ann") as http:
            await http.patch(f"/api/notes/{note_id}", json={"append_markdown": "Three."})
        now = note.markdown
        note.markdown = now.replace("One.", "First.")

    assert markdown == "One.\n\nTwo."
    assert note.markdown == "First.\n\nTwo.\n\nThree."


async def test_edits_are_stored_when_the_block_ends_also_by_an_exception(server: Served) -> None:
    note_id = await new_note(server, "ann")

    async def fail() -> None:
        async with cl.open_note(note_id) as note:
            note.append_markdown("kept")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()

    assert (await server.node.documents.head(document_of(note_id))).offset == 1


async def test_an_app_makes_a_note_for_a_user(server: Served) -> None:
    await server.user("ann")
    owner = await server.node.users.user_by_login("ann")
    assert owner is not None

    note_id = await cl.create_note(owner.id, title="Minutes", markdown="Nothing yet.")

    async with rest(server, "ann") as http:
        shown = (await http.get(f"/api/notes/{note_id}")).json()
    assert (shown["title"], shown["permission"]) == ("Minutes", "owner")


async def test_a_note_that_is_not_there_cannot_be_opened(server: Served) -> None:
    with pytest.raises(NotFound):
        async with cl.open_note("0123456789abcdef"):
            raise AssertionError("opened")


async def test_without_a_node_there_are_no_notes() -> None:
    with pytest.raises(Unavailable):
        async with cl.open_note("0123456789abcdef"):
            raise AssertionError("opened")


async def test_while_the_store_is_away_nothing_is_acknowledged_and_afterwards_nothing_is_lost(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    note_id = await new_note(server, "ann")
    store = server.node.documents
    real = store.append

    async def away(*_: Any, **__: Any) -> Any:
        raise Unavailable("The store is away.")

    async with editing(server, "ann", note_id) as page, editing(server, "ann", note_id) as other:
        await page.type("before ")
        monkeypatch.setattr(store, "append", away)
        page.text.insert(len(page.text), "meanwhile ")
        update = page._unsent.pop()
        refused = await page.send(update)
        unseen = str(other.text)
        monkeypatch.setattr(store, "append", real)
        again = await page.send(update)

        assert (refused["error"]["code"], refused["error"]["retryable"]) == ("unavailable", True)
        assert unseen.strip() in ("", "before")
        assert again["ok"]
        assert await other.until_text("before meanwhile ") == "before meanwhile "


async def test_a_damaged_record_does_not_make_the_others_unreadable(server: Served) -> None:
    note_id = await new_note(server, "ann", markdown="Readable.")
    document_id = document_of(note_id)
    await server.node.documents.append(document_id, [b"\x07torn record"], generation=1)
    documents = server.node.part(Documents)
    document = documents.find(document_id)
    assert document is not None
    await document.replica.catch_up()
    await document.replica.edit(lambda doc: None, Author("ann"))

    async with cl.open_note(note_id) as note:
        note.append_markdown("Still.")
        text = note.text

    assert text == "Readable.\nStill."


async def test_documents_that_rest_leave_the_memory_and_come_back_whole(tmp_path: Path) -> None:
    async with serve(None, tmp_path, document_idle_seconds=0) as server:
        note_id = await new_note(server, "ann")
        async with editing(server, "ann", note_id) as page:
            for number in range(40):
                await page.type(f"{number} ")
            whole = str(page.text)
        documents, store = server.node.part(Documents), server.node.documents
        async with asyncio.timeout(30):
            while not (await store.head(document_of(note_id))).base:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        rested = documents.stats()["open"]
        head = await store.head(document_of(note_id))
        async with editing(server, "ann", note_id) as again:
            assert await again.until_text(whole) == whole
        assert (head.offset, head.base, rested) == (40, 40, 0)
