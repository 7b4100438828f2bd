"""A chat completion endpoint over real HTTP that answers one reply after the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reply:
    """`body` in pieces; `cut` ends the connection without the end of the body."""

    status: str = "200 OK"
    body: Sequence[str] = ()
    headers: Sequence[str] = ()
    cut: bool = False
    hang: bool = False


@dataclass
class ModelServer:
    """What it was asked, and where it is."""

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def model_server(*replies: Reply) -> AsyncIterator[ModelServer]:
    """The last reply is given for ever."""
    told = ModelServer()
    waiting = list(replies)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        told.requests.append(json.loads(await reader.readexactly(length)))
        told.keys.append(head.split("authorization: bearer ")[1].split("\r\n")[0])
        reply = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        await give(reply, writer)
        if reply.hang:
            await reader.read()
            told.left.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        told.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield told


async def give(reply: Reply, writer: asyncio.StreamWriter) -> None:
    kind = "text/event-stream" if reply.status.startswith("200") else "application/json"
    lines = [
        f"HTTP/1.1 {reply.status}",
        f"content-type: {kind}",
        "connection: close",
        *reply.headers,
    ]
    if reply.cut:
        lines.append("content-length: 100000")
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    for piece in reply.body:
        writer.write(piece.encode())
        await writer.drain()


def stream(*chunks: dict[str, Any], done: bool = True) -> list[str]:
    """The chunks as server-sent events."""
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return [*lines, "data: [DONE]\n\n"] if done else lines


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {
        "id": "1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [choice],
    }


def calling(index: int, arguments: str, name: str | None = None, call_id: str | None = None) -> Any:
    """A piece of a tool call."""
    return chunk(
        tool_calls=[
            {"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}
        ]
    )


def counted(prompt: int, completion: int) -> dict[str, Any]:
    """The chunk with the usage, which has no choice."""
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    return {**chunk(), "choices": [], "usage": usage}


def failing(status: str, code: str = "", message: str = "no", *headers: str) -> Reply:
    body = {"error": {"message": message, "type": "error", "code": code}}
    return Reply(status, [json.dumps(body)], headers)


def saying(*words: str) -> Reply:
    """A whole answer in words."""
    return Reply(body=stream(*(chunk(content=word) for word in words), chunk("stop")))
