"""The socket transport: Socket.IO connections between clients and the server's endpoint."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from parlour.ports import Clock
from parlour.server.endpoint import Endpoint, Handshake
from parlour.transports.socketio.connection import Carrier
from parlour.transports.socketio.link import SocketConnection
from parlour.transports.socketio.server import Counters, EngineServer
from parlour.transports.socketio.settings import SocketSettings
from parlour.wire.engineio_session import EngineSession


@dataclass(slots=True)
class SocketCounters(Counters):
    events_in: int = 0
    """Events received from clients."""


class SocketTransport(EngineServer):
    """`async with transport:` runs it; it is an ASGI callable for `http` and `websocket` scopes.

    transport = SocketTransport(endpoint, SocketSettings(), clock)
    async with transport:
        ...                       # route requests with transport.matches(path) to transport(...)
        await transport.drain("drain", after_ms=500)
    """

    counters: SocketCounters

    def __init__(self, endpoint: Endpoint, settings: SocketSettings, clock: Clock) -> None:
        super().__init__(settings)
        self.endpoint: Final = endpoint
        self.clock: Final = clock
        self.counters = SocketCounters()

    def make(
        self, engine: EngineSession, handshake: Handshake, carrier: Carrier
    ) -> SocketConnection:
        return SocketConnection(self, engine, handshake, carrier)

    async def drain(
        self, reason: str = "drain", after_ms: int = 1000, *, spread_ms: int = 0
    ) -> None:
        """Refuse new connections, tell every client to come back after `after_ms` and a random part
        of `spread_ms`, write what waits and close. Clients that do not read until the close time
        limit are cut off."""
        self.draining = True
        for number, connection in enumerate(list(self.connections.values()), 1):
            assert isinstance(connection, SocketConnection)
            connection.ask_to_reconnect(reason, after_ms + random.randrange(spread_ms + 1))
            if number % _SLICE == 0:
                await asyncio.sleep(0)
        if not await self.wait_empty(self.settings.close_timeout + 1):
            self.abort_all(reason)


_SLICE: Final = 200
"""Connections that are told in one turn of the loop; the others' traffic goes on in between."""
