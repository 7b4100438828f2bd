"""Whether a request may become a connection, the same for every carrier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from parlour.transports.socketio import refusal
from parlour.transports.socketio.handshake import origin_allowed
from parlour.transports.socketio.refusal import Refusal, check_query

if TYPE_CHECKING:
    from parlour.transports.socketio.server import EngineServer


def check_websocket(
    server: EngineServer, query: Mapping[str, str], headers: Mapping[str, str]
) -> Refusal | None:
    """Whether the request may become a WebSocket."""
    if not origin_allowed(server.settings.allowed_origins, headers):
        return refusal.FORBIDDEN
    if not server.settings.websocket:
        return refusal.UNKNOWN_TRANSPORT
    refused = check_query(query, "websocket")
    if refused is not None:
        return refused
    if server.full() and "sid" not in query:
        return refusal.UNAVAILABLE
    return None
