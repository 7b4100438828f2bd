"""Documents on several nodes over real Redis and PostgreSQL: who is on which node does not show, and a node that is
killed takes nothing with it that was acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc, Text

from parlour.core.documents import AwarenessState, read_awareness, write_awareness
from parlour.core.users import User
from parlour.documents.manager import Documents
from parlour.testing.servers import PostgresServer, RedisServer
from tests.documents import LIMIT_S, Editor, editing, new_note
from tests.fault.process import ServerProcess
from tests.rest import rest
from tests.serving import Served, serve

LEASE_S = 3.0
ANYBODY = User(id="", name="")


@dataclass
class Nodes:
    """Two nodes in this process, and one in a process of its own that can be killed; it starts when
    somebody goes there."""

    one: Served
    other: Served
    apart: ServerProcess

    async def editor_apart(self, stack: AsyncExitStack, name: str, note: str) -> Editor:
        await self.apart.start()
        editor = Editor(note)
        url = f"http://127.0.0.1:{self.apart.port}"
        await editor.connect(url, await self.one.user(name))
        stack.push_async_callback(editor.close)
        answer = await editor.join()
        assert answer["ok"], answer
        return editor


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
async def nodes(
    tmp_path: Path,
    stack: AsyncExitStack,
    redis_server: RedisServer,
    postgres_server: PostgresServer,
) -> AsyncIterator[Nodes]:
    shared = {
        "redis_url": redis_server.url,
        "redis_key_prefix": tmp_path.name,
        "database_url": await postgres_server.create_database("documents"),
        "database_pool_size": 3,
        "node_lease_seconds": LEASE_S,
        "document_sync_seconds": 1,
    }
    folder = tmp_path / "apart"
    folder.mkdir()
    environment = {f"PARLOUR_{name.upper()}": str(value) for name, value in shared.items()}
    environment["PARLOUR_DOCUMENT_SAVE_SECONDS"] = "60"
    environment["PARLOUR_DOCUMENT_SAVE_LIMIT_SECONDS"] = "300"
    one = await stack.enter_async_context(serve(None, tmp_path / "one", **shared))
    other = await stack.enter_async_context(serve(None, tmp_path / "other", **shared))
    apart = ServerProcess(folder, environment)
    try:
        yield Nodes(one, other, apart)
    finally:
        apart.stop()


async def test_nodes_share_a_document_and_a_killed_one_takes_nothing_with_it(
    nodes: Nodes, stack: AsyncExitStack
) -> None:
    note = await new_note(nodes.one, "ann", title="Shared")
    ann = await stack.enter_async_context(editing(nodes.one, "ann", note))
    async with rest(nodes.one, "ann") as http:
        bob_id = await _user_id(nodes.one, "bob")
        await http.patch(f"/api/notes/{note}", json={"grants": {f"user:{bob_id}": "write"}})
    bob = await nodes.editor_apart(stack, "bob", note)
    await _say(bob, {"cursor": 7}, client=77)
    await ann.client.until(lambda event, _: event == "ydoc:user:joined")
    await ann.client.until(lambda event, _: _states(ann).get(77) is not None)
    for number in range(20):
        await (bob if number % 2 else ann).type(f"{number} ")
    expected = "".join(f"{number} " for number in range(20))
    acknowledged = await bob.send(bob.doc.get_update())
    bob.text.insert(len(bob.text), "never acknowledged ")
    await ann.until_text(lambda text: len(text) == len(expected))

    nodes.apart.kill()
    await ann.client.until(lambda event, _: event == "ydoc:user:left")
    await ann.client.until(lambda event, _: _states(ann).get(77, 0) is None)

    late = await stack.enter_async_context(editing(nodes.other, "ann", note))
    await late.until_text(lambda text: len(text) == len(expected))
    assert acknowledged["ok"]
    assert sorted(str(late.text).split()) == sorted(expected.split())
    moved = Editor(note, doc=bob.doc)
    await moved.connect(nodes.other.url, await nodes.one.user("bob"))
    stack.push_async_callback(moved.close)
    await moved.join()
    text = await ann.until_text(lambda text: "never acknowledged" in text)
    assert str(moved.text) == text
    assert text.count("never acknowledged") == 1
    await _until_saved(nodes.one, note, text)


async def test_what_is_said_on_one_node_acts_on_the_others(
    nodes: Nodes, stack: AsyncExitStack
) -> None:
    note = await new_note(nodes.one, "ann", markdown="Begin.")
    bob_id = await _user_id(nodes.one, "bob")
    async with rest(nodes.one, "ann") as http:
        path = f"/api/notes/{note}"
        await http.patch(path, json={"grants": {f"user:{bob_id}": "read"}})
        bob = await stack.enter_async_context(editing(nodes.other, "bob", note))
        await http.patch(path, json={"append_markdown": "From the other node."})
        await bob.client.until(lambda event, _: event == "ydoc:document:update")
        saved = await bob.client.until(lambda event, _: event == "note:saved")
        async with rest(nodes.other, "bob") as reader:
            shown = (await reader.get(path)).json()

        await http.patch(path, json={"grants": {}})
        told = await bob.client.until(lambda event, _: event == "access:updated")

    assert saved["note_id"] == note
    assert shown["markdown"] == "Begin.\n\nFrom the other node."
    assert told["reason"] == "removed"


async def test_lost_words_between_nodes_and_lost_redis_data_are_made_up_for(
    nodes: Nodes, stack: AsyncExitStack
) -> None:
    note = await new_note(nodes.one, "ann")
    ann = await stack.enter_async_context(editing(nodes.one, "ann", note))
    bob = await stack.enter_async_context(editing(nodes.other, "ann", note))
    await ann.type("heard ")
    await bob.until_text("heard ")
    document = nodes.one.node.part(Documents).find(ann.document_id)
    assert document is not None
    document._publish = lambda *_: None  # type: ignore[method-assign]
    await ann.type("unheard ")
    await bob.until_text("heard unheard ")
    redis = nodes.one.node.documents
    keys = redis._keys(ann.document_id, "meta", "updates", "dirty", "used")  # type: ignore[attr-defined]
    for key in keys[:2]:
        await redis._redis.call("DEL", key)  # type: ignore[attr-defined]

    await bob.type("after")

    await ann.until_text("heard unheard after")
    async with asyncio.timeout(LIMIT_S):
        while (  # noqa: ASYNC110 - a store tells nobody
            await _stored_text(nodes.other, ann.document_id) != "heard unheard after"
        ):
            await asyncio.sleep(0.05)
    assert await _stored_text(nodes.one, ann.document_id) == "heard unheard after"


# --------------------------------------------------------------------------------------------------


async def _user_id(server: Served, name: str) -> str:
    await server.user(name)
    record = await server.node.users.user_by_login(name)
    assert record is not None
    return record.id


async def _say(editor: Editor, state: Any, *, client: int) -> None:
    update = write_awareness([AwarenessState(client, 1, state)])
    answer = await editor.client.call(
        "ydoc:awareness:update", document_id=editor.document_id, update=update
    )
    assert answer["ok"], answer


def _states(editor: Editor) -> dict[int, Any]:
    return {
        state.client: state.state
        for event, payload in editor.client.heard
        if event == "ydoc:awareness:update"
        for state in read_awareness(bytes(payload["update"]))
    }


async def _stored_text(server: Served, document_id: str) -> str:
    """What the store has, whatever the nodes know."""
    log = await server.node.documents.read(document_id, limit=10_000)
    stored: Doc[Any] = Doc()
    for update in [*([log.snapshot] if log.snapshot else []), *log.updates]:
        stored.apply_update(update)
    return str(stored.get("content", type=Text))


async def _until_saved(server: Served, note: str, text: str) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            found = await server.node.notes.note(note, ANYBODY)
            if found is not None and found.content.text == text.strip("\n"):
                return
            await asyncio.sleep(0.05)
