"""Attachments: stored once, sent by reference, read back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import parlour as cl
from parlour.chat.registry import Registry
from parlour.ports import FileRecord
from tests.unit.chat.conftest import Desk, Stage, exists, read


async def content_of(desk: Desk, file_id: str) -> bytes:
    return b"".join([chunk async for chunk in desk.talk.node.files.open(file_id)])


async def test_elements_are_stored_and_sent_with_their_message(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG")

    async def work() -> None:
        elements = [
            cl.Image(path=str(path)),
            cl.Text(name="notes", content="héllo"),
            cl.File(name="data.csv", content=b"a,b"),
            cl.Video(name="film", url="https://example.com/film.mp4"),
        ]
        await cl.Message("Look", elements=elements).send()

    await desk.run(work)

    [message] = await desk.talk.answers()
    image, text, data, film = message["files"]
    assert (image["name"], image["mime"], image["size"]) == ("picture.png", "image/png", 4)
    assert (text["mime"], text["size"]) == ("text/plain; charset=utf-8", 6)
    assert (data["mime"], data["url"]) == ("text/csv", f"/api/files/{data['id']}")
    assert film["url"] == "https://example.com/film.mp4"
    assert await content_of(desk, image["id"]) == b"\x89PNG"
    assert await content_of(desk, data["id"]) == b"a,b"


async def test_an_element_can_follow_its_message(desk: Desk) -> None:
    async def work() -> None:
        message = await cl.Message("Wait for it").send()
        await cl.File(name="late.txt", content="late").send(for_id=message.id)

    await desk.run(work)

    [message] = await desk.talk.answers()
    assert [file["name"] for file in message["files"]] == ["late.txt"]


async def test_updating_a_message_stores_each_element_once(desk: Desk) -> None:
    async def work() -> str:
        file = cl.File(name="a.txt", content="a")
        message = await cl.Message("one", elements=[file]).send()
        message.content = "two"
        await message.update()
        return file.id

    file_id = await desk.run(work)

    updates = [event.data for event in await desk.talk.events() if event.type == "message:update"]
    [message] = await desk.talk.answers()
    assert [file["id"] for file in message["files"]] == [file_id]
    assert [sorted(update) for update in updates] == [["content", "id"]]


async def test_a_persons_attachment_is_read_by_path_or_bytes(stage: Stage, app: Registry) -> None:
    seen: list[Any] = []

    @cl.on_message
    async def reply(message: cl.Message) -> None:
        [file] = message.elements
        assert file.path is not None
        seen.append((file.name, file.size, read(file.path), await file.read()))
        seen.append(file.path)
        assert cl.context.session.files["f1"]["name"] == "hello.txt"

    async def chunks() -> AsyncIterator[bytes]:
        yield b"hel"
        yield b"lo"

    talk = await stage.talk(app)
    record = FileRecord("f1", talk.user.id, "hello.txt", "text/plain", 0)
    await talk.node.files.put(record, chunks(), limit=100)
    await talk.say("read this", files=["f1"])

    assert seen[0] == ("hello.txt", 5, b"hello", b"hello")
    assert seen[1].endswith(".txt")
    assert not exists(seen[1])


async def test_a_file_over_the_limit_fails_the_run_and_sends_nothing(
    stage: Stage, app: Registry
) -> None:
    @cl.on_message
    async def reply() -> None:
        await cl.Message("big", elements=[cl.File(name="big", content=b"x" * 2000)]).send()

    talk = await stage.talk(app, max_file_bytes=1000)
    await talk.say("go")

    [error] = await talk.answers()
    assert (error["role"], error["data"]["code"]) == ("error", "too_large")


@pytest.mark.parametrize("sources", [{}, {"content": b"x", "path": "y"}])
def test_an_element_has_exactly_one_source(sources: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        cl.File(name="x", **sources)
