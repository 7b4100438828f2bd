"""One ASGI application: sockets at /ws/socket.io, everything else FastAPI.

Three ways in: `serving` for a server that this process starts (`parlour run`), `create_app` for any
ASGI server (its lifespan runs the node), and `mount` for an application that an author has already.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from parlour.chat.application import ChatApp
from parlour.chat.loading import load_app
from parlour.chat.registry import MODULE_REGISTRY, Registry
from parlour.config import Settings, load_settings
from parlour.errors import SettingsError
from parlour.server.app import Application
from parlour.server.node import Node, run_node
from parlour.server.outbox import OutboxLimits
from parlour.telemetry import configure_logging
from parlour.transports.http import build_http
from parlour.transports.parts import PARTS
from parlour.transports.socketio import SocketSettings, SocketTransport
from parlour.transports.traces import TracedEndpoint, TracedTransport
from parlour.wire.engineio_session import Heartbeat
from parlour.wire.limits import Limits

Progress = Callable[[int, int, str], None]
Target = Application | str | Path


@dataclass(frozen=True, slots=True)
class Served:
    """A node that runs, and its application."""

    node: Node
    sockets: SocketTransport
    asgi: ASGIApp


@asynccontextmanager
async def serving(
    settings: Settings, app: Application, *, progress: Progress | None = None
) -> AsyncIterator[Served]:
    """Run a node with its transports. At the end clients are told to come back, what runs is
    finished, and everything is closed in order.

    Raises what `run_node` raises.
    """
    async with run_node(settings, app, progress=progress, parts=PARTS) as node:
        sockets = _sockets(node)
        async with sockets:
            spread_ms = settings.reconnect_spread_ms
            node.drains.append(partial(sockets.drain, spread_ms=spread_ms))
            try:
                yield Served(node, sockets, build_asgi(node, sockets))
            finally:
                # Before the sockets close: stopping is what empties them.
                await node.stop()


def build_asgi(node: Node, sockets: SocketTransport) -> ASGIApp:
    """The application of a node that runs; its lifespan has nothing to do."""
    return _Switch(build_http(node), sockets)


def _sockets(node: Node) -> SocketTransport:
    settings = node.settings
    endpoint = TracedEndpoint(node.gateway) if settings.socket_logging else node.gateway
    kind = TracedTransport if settings.engineio_logging else SocketTransport
    return kind(endpoint, socket_settings(settings), node.clock)


def socket_settings(settings: Settings) -> SocketSettings:
    """The socket transport's part of the settings."""
    return SocketSettings(
        heartbeat=Heartbeat(settings.ping_interval_seconds, settings.ping_timeout_seconds),
        limits=Limits(max_payload=settings.max_payload_bytes),
        outbox=OutboxLimits(
            high_water=settings.outbox_high_bytes, hard=settings.outbox_limit_bytes
        ),
        websocket=settings.websocket,
        allowed_origins=settings.allowed_origins or None,
        connect_timeout=settings.connect_timeout_seconds,
        compression=settings.websocket_compression,
        close_timeout=settings.shutdown_drain_seconds,
    )


class _Switch:
    """Sends a request to the sockets or to HTTP, by its path below the mount point."""

    def __init__(self, http: ASGIApp, sockets: SocketTransport) -> None:
        self._http = http
        self._sockets = sockets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _pass_lifespan(receive, send)
        elif self._sockets.matches(_below_mount(scope)):
            await cast(ASGIApp, self._sockets)(scope, receive, send)
        elif scope["type"] == "websocket":
            await _refuse_websocket(receive, send)
        else:
            await self._http(scope, receive, send)


def _below_mount(scope: Scope) -> str:
    """The path without the prefix at which this application is mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


async def _refuse_websocket(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 1000, "reason": "there is no socket here"})


async def _pass_lifespan(receive: Receive, send: Send) -> None:
    """Start-up and shutdown belong to whoever called `serving`."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return


# --------------------------------------------------------------------------------------------------
# For other servers and other applications
# --------------------------------------------------------------------------------------------------


class _Later:
    """An application that exists while its lifespan runs."""

    def __init__(self, open_served: Callable[[], Any]) -> None:
        self._open = open_served
        self._served: Served | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._open() as served:
            self._served = served
            try:
                yield
            finally:
                self._served = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._served is not None:
            await self._served.asgi(scope, receive, send)
        elif scope["type"] == "websocket":
            await _refuse_websocket(receive, send)
        else:
            await PlainTextResponse("The server is not running.", 503)(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """The server's lifespan: the node runs from `startup` to `shutdown`."""
        await receive()
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self.running())
            except Exception as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                raise
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


def create_app(target: Target, **settings: Any) -> ASGIApp:
    """An ASGI application for any server: `app = parlour.create_app("app.py")`, then
    `uvicorn module:app`. `target` is a file, a module or a loaded app; `settings` win over the
    environment. Raises `SettingsError`."""
    loaded = load_settings(**settings)
    app = _resolve(target)
    return _Later(lambda: _configured(loaded, app))


def mount(
    app: Starlette, path: str = "/", *, target: Target | None = None, **settings: Any
) -> None:
    """Put sockets, API and page into an author's own FastAPI or Starlette application, below `path`.

    The handlers are those of the calling module, or of `target` (a file, a module, a loaded app).
    The application's routes come first, wherever `mount` stands; its lifespan runs the node.
    `settings` win over the environment. Raises `SettingsError` or TypeError.
    """
    if not isinstance(app, Starlette):
        raise TypeError(
            f"mount needs a FastAPI or Starlette application, not {type(app).__name__}; "
            "for another one use parlour.create_app and route to it"
        )
    module = sys._getframe(1).f_globals
    chosen = None if target is None else _resolve(target)
    loaded = load_settings(**settings)
    # The module's handlers are gathered at the start, when all of it has been read.
    later = _Later(lambda: _configured(loaded, chosen or _from_module(module)))
    route = Mount(path.rstrip("/"), later, name="parlour")
    before = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(owner: Any) -> AsyncIterator[Any]:
        # Last, so that a route which the author adds after `mount` is still found.
        app.router.routes.append(route)
        try:
            async with later.running(), before(owner) as state:
                yield state
        finally:
            app.router.routes.remove(route)

    app.router.lifespan_context = lifespan


@asynccontextmanager
async def _configured(settings: Settings, app: Application) -> AsyncIterator[Served]:
    configure_logging(settings.log_format, settings.log_level)
    async with serving(settings, app) as served:
        yield served


def _resolve(target: Target) -> Application:
    return load_app(target) if isinstance(target, str | Path) else target


def _from_module(variables: MutableMapping[str, Any]) -> Application:
    registry = variables.get(MODULE_REGISTRY)
    if not isinstance(registry, Registry) or not registry:
        raise SettingsError(
            [
                f"{variables.get('__file__', 'the module')}: no handler is registered: "
                "write one under @cl.on_message, or pass target= to mount"
            ]
        )
    return ChatApp(registry)
