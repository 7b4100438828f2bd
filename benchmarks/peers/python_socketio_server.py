"""The Python peer: python-socketio on uvicorn with its defaults, compression off.

python python_socketio_server.py <port> <secret> <text> [<redis url>]
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import Any

import jwt
import socketio
import uvicorn

PORT, SECRET, TEXT = int(sys.argv[1]), sys.argv[2], sys.argv[3]
REDIS = sys.argv[4] if len(sys.argv) > 4 else None

server = socketio.AsyncServer(
    async_mode="asgi",
    cors_allowed_origins="*",
    client_manager=socketio.AsyncRedisManager(REDIS) if REDIS else None,
)
offsets: Counter[str] = Counter()


@server.event
async def connect(sid: str, environ: dict[str, Any], auth: dict[str, Any]) -> None:
    jwt.decode(auth["token"], SECRET, algorithms=["HS256"])


@server.event
async def subscribe(sid: str, data: dict[str, Any]) -> dict[str, Any]:
    await server.enter_room(sid, data["stream"])
    return {"ok": True}


@server.event
async def publish(sid: str, data: dict[str, Any]) -> None:
    await emit(data["stream"], data["n"])


@server.event
async def everywhere(sid: str, data: dict[str, Any]) -> None:
    for number in range(data["rooms"]):
        await emit(f"{data['prefix']}{number}", data["n"])


async def emit(stream: str, count: int) -> None:
    for _ in range(count):
        offsets[stream] += 1
        await server.emit("events", event(stream, offsets[stream]), room=stream)


@server.event
async def heartbeat(sid: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True, "at": time.time_ns() // 1_000_000}


def event(stream: str, offset: int) -> dict[str, Any]:
    return {
        "chat_id": stream,
        "message_id": "m1",
        "data": {"type": "message:delta", "data": {"id": "m1", "text": TEXT}},
        "offset": offset,
    }


if __name__ == "__main__":
    app = socketio.ASGIApp(server)
    print('{"ready": true}', flush=True)
    uvicorn.run(
        app, host="127.0.0.1", port=PORT, log_level="error", ws_per_message_deflate=False,
        backlog=4096,
    )  # fmt: skip
