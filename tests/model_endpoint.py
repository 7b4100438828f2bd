"""A chat completion endpoint that answers what a test wants, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def endpoint(status: str, *chunks: str) -> AsyncIterator[tuple[str, list[bytes]]]:
    """An HTTP server that answers every request with the same status line and pieces of body."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        requests.append(head + await reader.readexactly(length))
        kind = "text/event-stream" if status.startswith("200") else "application/json"
        writer.write(
            f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nconnection: close\r\n"
            "x-should-retry: false\r\n\r\n".encode()
        )
        for chunk in chunks:
            writer.write(chunk.encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", requests


def piece(text: str) -> str:
    return (
        'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":'
        f'[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]}}\n\n'
    )
