"""uvicorn on a socket of ours: one port, ordered shutdown, errors that say what to do."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvicorn

from parlour.config import Settings
from parlour.errors import SettingsError
from parlour.transports.asgi import Served
from parlour.transports.collector import Collector
from parlour.transports.socketio.fast import fast_protocol
from parlour.transports.socketio.front import front_protocol

BACKLOG: Final = 4096
IDLE_SECONDS: Final = 65
"""How long an idle HTTP connection is kept: longer than proxies do, so that they close first."""

HANDOVER_SECONDS: Final = 0.0005
"""How soon the interpreter goes from the event loop to a thread that waits for it, such as the database's. A
loop that is busy with turns shorter than Python's 5 ms, and waits a moment after each, can keep a thread
waiting for hundreds of milliseconds: each release wakes the thread, which comes too late and begins to count
anew (docs/decisions/sqlite-threads.md)."""

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def open_port(host: str, port: int, *, shared: bool = False, accept: bool = True) -> socket.socket:
    """Bind and listen; port 0 takes a free one. `shared` lets other processes listen on the same
    port; without `accept` the port is only held. Raises `SettingsError` where that is impossible."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise SettingsError([f"host {host} is not an address of this machine ({error})."]) from None
    family, kind, protocol, _, address = found[0]
    # The protocol is named because asyncio switches Nagle's algorithm off only then.
    listener = socket.socket(family, kind, protocol or socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        if accept:
            listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError([_unbound(host, port, error)]) from None
    listener.setblocking(False)
    return listener


def _unbound(host: str, port: int, error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    remedy = "stop what listens there, or choose another port (--port, PARLOUR_PORT; 0 is any)"
    return f"port {port} on {host} cannot be used ({reason}): {remedy}."


def address_of(listener: socket.socket, settings: Settings) -> str:
    """Where people open the page."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    if ":" in host:
        host = f"[{host}]"
    scheme = "https" if settings.tls_certificate else "http"
    return f"{scheme}://{host}:{port}"


async def listen(
    served: Served,
    settings: Settings,
    listener: socket.socket,
    started: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGINT or SIGTERM, then stop in order: clients are told to come back while their
    connections still work, what runs is finished, and only then the port closes. A second signal
    does not wait. `started` is called when the first client may come."""
    server = _Server(_config(served, settings), started)
    stop = asyncio.Event()
    with _signals(lambda: _stop(server, stop)), quick_handovers(), Collector() as collector:
        async with asyncio.TaskGroup() as tasks:
            collecting = tasks.create_task(collector.run())
            running = tasks.create_task(server.serve(sockets=[listener]))
            running.add_done_callback(lambda _: stop.set())
            await stop.wait()
            stopping = tasks.create_task(served.node.stop())
            await asyncio.wait({stopping, running}, return_when=asyncio.FIRST_COMPLETED)
            collecting.cancel()
            server.should_exit = True


def _stop(server: _Server, stop: asyncio.Event) -> None:
    if stop.is_set():
        server.force_exit = server.should_exit = True
    stop.set()


class _Server(uvicorn.Server):
    """Leaves signals to `listen`, and tells when it accepts."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell()


@contextlib.contextmanager
def quick_handovers() -> Iterator[None]:
    """Lower the interpreter's switch interval, where it is higher than `HANDOVER_SECONDS`."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, HANDOVER_SECONDS))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextlib.contextmanager
def _signals(handle: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


def _config(served: Served, settings: Settings) -> uvicorn.Config:
    tls: dict[str, Any] = {}
    if settings.tls_certificate is not None:
        tls = {"ssl_certfile": settings.tls_certificate, "ssl_keyfile": settings.tls_key}
    return uvicorn.Config(
        served.asgi,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        http=http_protocol(served, settings),
        ws=websocket_protocol(served, settings),
        ws_max_size=settings.max_payload_bytes,
        ws_ping_interval=None,
        ws_per_message_deflate=settings.websocket_compression,
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_drain_seconds),
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        **tls,
    )


def http_protocol(served: Served, settings: Settings) -> Any:
    """What uvicorn gives a new connection to."""
    servers = () if settings.transport == "asgi" else (served.sockets,)
    return front_protocol(*servers, head_seconds=settings.request_head_seconds)


def websocket_protocol(served: Served, settings: Settings) -> Any:
    """What uvicorn hands an upgraded connection to."""
    if settings.transport == "asgi":
        return "websockets-sansio"
    return fast_protocol(served.sockets)
