"""uvicorn in this process, on a free port of the loopback interface."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn

from parlour.transports.socketio.fast import fast_protocol
from parlour.transports.socketio.front import front_protocol
from parlour.transports.socketio.server import EngineServer


def fast(*servers: EngineServer, head_seconds: float = 10.0) -> dict[str, Any]:
    """uvicorn's settings for the fast transport, as `parlour run` has them."""
    front = front_protocol(*servers, head_seconds=head_seconds)
    return {"http": front, "ws": fast_protocol(*servers)}


class _Server(uvicorn.Server):
    """Leaves signals to the test runner."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(app: Any, *, port: int = 0, **settings: Any) -> AsyncIterator[int]:
    """Serve an ASGI application until the block ends; gives the port."""
    # Named explicitly: asyncio switches Nagle's algorithm off only for sockets that say TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(4096)
    settings = {
        "log_level": "warning",
        "lifespan": "off",
        "timeout_graceful_shutdown": 1,
    } | settings
    server = _Server(uvicorn.Config(app, **settings))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve(sockets=[listener]))
        try:
            # A connection made before the server accepts waits in the backlog.
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
