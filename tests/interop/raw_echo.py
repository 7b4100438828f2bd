"""An echo of whole WebSocket messages on the fast protocol, for the Autobahn fuzzing client.

    python -m tests.interop.raw_echo [port]

Then, with the suite installed (it wants Python 2):

    wstest -m fuzzingclient -s tests/interop/autobahn.json
"""

from __future__ import annotations

import asyncio
import sys

from parlour.server.endpoint import Handshake
from parlour.server.outbox import OutboxLimits
from parlour.server.randomness import connection_id
from parlour.transports.socketio import SocketSettings
from parlour.transports.socketio.connection import Carrier, EngineConnection
from parlour.transports.socketio.server import EngineServer
from parlour.wire.engineio_session import EngineSession, Heartbeat, State
from parlour.wire.limits import Limits
from parlour.wire.packets import Encoded
from tests.interop.serving import fast, serving

LARGEST = 64 * 1024 * 1024


class RawConnection(EngineConnection):
    """Below Engine.IO: whatever comes goes back."""

    def receive(self, message: str | bytes) -> None:
        self.send(Encoded((message,)))


class RawEcho(EngineServer):
    def open(self, handshake: Handshake, carrier: Carrier) -> EngineConnection:
        engine = EngineSession(
            connection_id(), State.WEBSOCKET, self.settings.heartbeat, self.now()
        )
        connection = RawConnection(self, engine, handshake, carrier)
        self.connections[engine.sid] = connection
        return connection


async def main(port: int) -> None:
    settings = SocketSettings(
        path="/raw",
        compression=True,
        heartbeat=Heartbeat(interval=3600),
        limits=Limits(max_payload=LARGEST),
        outbox=OutboxLimits(high_water=LARGEST, hard=4 * LARGEST, chunk=LARGEST),
    )
    echo = RawEcho(settings)

    async def app(scope, receive, send) -> None:
        raise AssertionError("only /raw is served")

    async with echo, serving(app, port=port, **fast(echo)) as actual:
        print(f"listening on {actual}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 9001))
