"""What leaves a fast WebSocket that ends, with the form of the outlet that is in use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from parlour.transports.socketio import SocketSettings, SocketTransport
from parlour.transports.socketio.fast import fast_protocol
from parlour.wire.socketio import encode_event
from parlour.wire.websocket import NORMAL, frame_close
from tests.integration.test_delivery_cost import REQUEST, Room, UvicornSide
from tests.interop.protocol_server import SystemClock
from tests.unit.native.wires import framed, on_each_loop, pair, receive, receive_all, receive_until
from tests.unit.wire.test_websocket import client_frame


@asynccontextmanager
async def joined() -> AsyncIterator[tuple[Room, Any, Any]]:
    """A room, the protocol of the one client that is in it, and that client's socket."""
    room, side = Room(), UvicornSide()
    loop = asyncio.get_running_loop()
    async with SocketTransport(room, SocketSettings(), SystemClock()) as transport:
        build = fast_protocol(transport)
        ours, theirs = pair("tcp")
        with theirs:
            _, protocol = await loop.connect_accepted_socket(lambda: build(side, side, None), ours)
            await loop.sock_sendall(theirs, REQUEST)
            await receive_until(theirs, b'"maxPayload":')
            await loop.sock_sendall(theirs, client_frame(1, b"40"))
            await receive_until(theirs, b'40{"sid":')
            await receive_until(theirs, b"}")
            yield room, protocol, theirs


@on_each_loop
async def test_nothing_follows_the_answer_to_a_close():
    # The room's next event comes in the turn in which the client closed: the transport is closing, and
    # its socket still open.
    before, after = encode_event("e", ["before"]), encode_event("e", ["after"])
    async with joined() as (room, protocol, client):
        room.broadcast(before)
        protocol.data_received(client_frame(8, NORMAL.to_bytes(2, "big")))

        room.broadcast(after)

        assert await receive_all(client) == framed(before) + frame_close(NORMAL)


@on_each_loop
async def test_nothing_follows_the_goodbye_of_a_breach():
    before, after = encode_event("e", ["before"]), encode_event("e", ["after"])
    async with joined() as (room, protocol, client):
        room.broadcast(before)
        protocol.data_received(client_frame(3, b""))

        room.broadcast(after)

        assert await receive_all(client) == framed(before) + frame_close(1002)


@on_each_loop
async def test_what_was_noted_before_the_server_goes_leaves_before_the_goodbye():
    before, after = encode_event("e", ["before"]), encode_event("e", ["after"])
    async with joined() as (room, protocol, client):
        room.broadcast(before)
        protocol.shutdown()
        room.broadcast(after)

        heard = await receive(client, len(framed(before) + frame_close(NORMAL)))

        assert heard == framed(before) + frame_close(NORMAL)
        protocol.abort()
        assert await receive_all(client) == b""
