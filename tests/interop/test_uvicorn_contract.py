"""What the fast WebSocket needs from uvicorn: a convention between its protocols, not an interface.

When a new uvicorn breaks one of these, `transports/socketio/fast.py` has to follow before the pin moves.
"""

from __future__ import annotations

import asyncio
import inspect

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.interop.serving import serving


class Seen(asyncio.Protocol):
    """A protocol that notes how it is used and answers with a plain 418."""

    made: list[dict] = []  # noqa: RUF012 - one list for the class is the point
    data: list[bytes] = []  # noqa: RUF012

    def __init__(self, **arguments) -> None:
        self.made.append(arguments)
        self.state = arguments["server_state"]

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.state.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self.data.append(data)
        self.transport.write(b"HTTP/1.1 418 x\r\ncontent-length: 0\r\n\r\n")
        self.transport.close()

    def connection_lost(self, exc) -> None:
        self.state.connections.discard(self)

    def shutdown(self) -> None:
        self.transport.close()


async def app(scope, receive, send) -> None:
    raise AssertionError("an upgrade must not reach the application")


@pytest.mark.parametrize("http", ["httptools", "h11"])
async def test_an_upgrade_is_handed_over_whole_to_the_class_given_as_ws(http):
    Seen.made.clear()
    Seen.data.clear()
    async with serving(app, ws=Seen, http=http) as port:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{port}/a%20b?x=1", additional_headers={"X-Name": "v"})

    assert refused.value.response.status_code == 418
    [arguments] = Seen.made
    assert set(arguments) == {"config", "server_state", "app_state"}
    assert isinstance(arguments["server_state"].connections, set)
    assert arguments["config"].proxy_headers in (True, False)
    assert hasattr(arguments["config"], "forwarded_allow_ips")
    [request] = Seen.data
    assert request.startswith(b"GET /a%20b?x=1 HTTP/1.1\r\n")
    assert b"\r\nx-name: v\r\n" in request
    assert request.endswith(b"\r\n\r\n")


def test_uvicorns_own_protocol_takes_the_same_arguments():
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    parameters = list(inspect.signature(WebSocketsSansIOProtocol).parameters)

    assert parameters[:3] == ["config", "server_state", "app_state"]
