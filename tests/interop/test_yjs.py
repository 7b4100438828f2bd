"""The npm packages yjs, y-protocols and socket.io-client, unmodified, beside pycrdt on one note."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
from pycrdt import XmlFragment

from tests.documents import editing, new_note
from tests.rest import rest
from tests.serving import Served, serve

HERE = Path(__file__).parent
LIMIT_S = 60.0

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")


def install() -> None:
    """The packages, from the lock file."""
    if not (HERE / "node_modules" / "yjs").exists():
        run(["npm", "ci", "--silent"], cwd=HERE, check=True, timeout=120)


class Yjs:
    """A Yjs document in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def do(self, command: str, **options: Any) -> Any:
        """Give a command; its answer. Raises AssertionError where it failed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"command": command, **options}).encode() + b"\n")
        async with asyncio.timeout(LIMIT_S):
            answer = json.loads(await self._process.stdout.readline())
        assert "error" not in answer, answer
        return answer["ok"]


@asynccontextmanager
async def yjs(server: Served, name: str, note: str) -> AsyncIterator[Yjs]:
    install()
    process = await asyncio.create_subprocess_exec(
        "node",
        str(HERE / "yjs_client.mjs"),
        server.url,
        await server.user(name),
        f"note:{note}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Yjs(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(LIMIT_S):
            await process.wait()


async def test_yjs_and_pycrdt_edit_one_note_online_and_offline(tmp_path: Path) -> None:
    async with serve(None, tmp_path) as server:
        note = await new_note(server, "ann", markdown="# From the server\n\nA *first* line.")
        async with yjs(server, "ann", note) as page, yjs(server, "ann", note) as older:
            first = await page.do("online")
            await older.do("online", arrays=True)
            attributes = await page.do("attributes")
            await page.do("paragraph", text="typed in yjs", marks={"bold": {}})
            await page.do("stored")
            await older.do("has", text="typed in yjs")
            await page.do("offline")
            await page.do("paragraph", text="offline in yjs")
            await older.do("task", text="in arrays", checked=True)
            await older.do("stored")
            async with rest(server, "ann") as http:
                path = f"/api/notes/{note}"
                await http.patch(path, json={"append_markdown": "## Over REST"})
                await page.do("online")
                await older.do("has", text="offline in yjs")
                await older.do("has", text="Over REST")
                seen = await page.do("has", text="in arrays")
                shown = (await http.get(path)).json()
            async with editing(server, "ann", note) as python:
                python_xml = str(python.doc.get("default", type=XmlFragment))
                both = [(await one.do("state"))["xml"] for one in (page, older)]

    assert first == {"permission": "write", "status": "ready"}
    assert attributes[0] == {"level": ["number", 1]}
    assert both[0] == both[1]
    assert seen["xml"] == both[0]
    assert python_xml.count("offline in yjs") == 1
    assert sorted(shown["markdown"].split("\n\n")) == sorted(
        [
            "# From the server",
            "A *first* line.",
            "**typed in yjs**",
            "- [x] in arrays",
            "offline in yjs",
            "## Over REST",
        ]
    )


async def test_cursors_of_yjs_come_with_the_verified_name(tmp_path: Path) -> None:
    async with serve(None, tmp_path) as server:
        note = await new_note(server, "ann")
        async with yjs(server, "ann", note) as page:
            await page.do("online")
            await page.do("cursor", state={"user": {"name": "Mallory", "color": "#abc"}, "at": 5})
            async with yjs(server, "ann", note) as other:
                await other.do("online")

                seen = await other.do("seen", name="ann")

    assert seen["state"]["user"]["color"] == "#abc"
    assert seen["state"]["at"] == 5
