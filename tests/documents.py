"""An editor for tests: a Yjs document (pycrdt) on a real Socket.IO connection, as the SDK's provider does it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pycrdt import Doc, Text, get_update

from tests.rest import rest
from tests.serving import Client, Served

LIMIT_S = 30.0
NOTHING = b"\x00\x00"


async def new_note(server: Served, owner: str, **fields: Any) -> str:
    """A note made over REST; gives back its id."""
    async with rest(server, owner) as http:
        answer = await http.post("/api/notes", json=fields)
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["id"]
    return made


class Editor:
    """One person's copy. `text` is a plain text in it; `listed` speaks in arrays, as older clients do."""

    def __init__(self, note_id: str, *, listed: bool = False, doc: Doc[Any] | None = None) -> None:
        self.document_id = f"note:{note_id}"
        self.doc: Doc[Any] = doc or Doc()
        self.text: Text = self.doc.get("content", type=Text)
        self.listed = listed
        self.client = Client()
        self.generation: int | None = None
        self.joined: dict[str, Any] = {}
        self.heard_updates = 0
        self._unsent: list[bytes] = []
        self._applying = False
        self._subscription = self.doc.observe(self._changed)

    def _changed(self, event: Any) -> None:
        if not self._applying:
            self._unsent.append(event.update)

    def form(self, data: bytes) -> Any:
        return list(data) if self.listed else data

    async def connect(self, url: str, token: str) -> None:
        self.client = Client()
        self.client.socket.on("ydoc:document:update", self._heard)
        self.client.socket.on("ydoc:document:state", self._heard_state)
        await self.client.connect(url, token=token)

    async def _heard(self, payload: Any) -> None:
        self.client.heard.append(("ydoc:document:update", payload))
        self.client._news.set()
        self.heard_updates += 1
        self.apply(bytes(payload["update"]))

    async def _heard_state(self, payload: Any) -> None:
        self.client.heard.append(("ydoc:document:state", payload))
        self.client._news.set()
        self.apply(bytes(payload["state"]))

    def apply(self, update: bytes) -> None:
        self._applying = True
        try:
            self.doc.apply_update(update)
        finally:
            self._applying = False

    async def join(self, **more: Any) -> dict[str, Any]:
        """Join and push what the server lacks; the acknowledgement."""
        answer = await self.client.call(
            "ydoc:document:join",
            document_id=self.document_id,
            state_vector=self.form(self.doc.get_state()),
            **({"generation": self.generation} if self.generation is not None else {}),
            **more,
        )
        if answer["ok"]:
            self.generation = answer["generation"]
            self.joined = answer
            lacking = self.doc.get_update(bytes(answer["state_vector"]))
            self._unsent.clear()
            if lacking != NOTHING and answer["permission"] == "write":
                pushed = await self.send(lacking)
                assert pushed["ok"], pushed
        return answer

    async def send(self, update: bytes, **more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.client.call(
            "ydoc:document:update", document_id=self.document_id, update=self.form(update), **more
        )
        return answer

    async def flush(self) -> list[dict[str, Any]]:
        """Send what was typed; the acknowledgements."""
        answers = []
        while self._unsent:
            answers.append(await self.send(self._unsent.pop(0)))
        return answers

    async def type(self, text: str, at: int | None = None) -> None:
        """Type and wait until it is stored."""
        self.text.insert(len(self.text) if at is None else at, text)
        for answer in await self.flush():
            assert answer["ok"], answer

    async def until_text(self, wanted: Any) -> str:
        """Wait until the text is (or fulfils) what is wanted."""
        async with asyncio.timeout(LIMIT_S):
            while not (wanted(str(self.text)) if callable(wanted) else str(self.text) == wanted):
                self.client._news.clear()
                await self.client._news.wait()
        return str(self.text)

    def lacks(self, other: Doc[Any]) -> bool:
        return get_update(other.get_update(), self.doc.get_state())[:1] != b"\x00"

    async def close(self) -> None:
        self.doc.unobserve(self._subscription)
        await self.client.close()


@asynccontextmanager
async def editing(
    server: Served, name: str, note_id: str, *, join: bool = True, **options: Any
) -> AsyncIterator[Editor]:
    """Somebody has a note open."""
    editor = Editor(note_id, **options)
    await editor.connect(server.url, await server.user(name))
    try:
        if join:
            answer = await editor.join()
            assert answer["ok"], answer
        yield editor
    finally:
        await editor.close()
