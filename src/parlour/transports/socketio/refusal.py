"""Why a request does not become a connection, and the answer that says so.

The numbers are those of the public Engine.IO server; clients show them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from parlour.wire import json
from parlour.wire.engineio import PROTOCOL


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    code: int
    message: str

    @property
    def body(self) -> bytes:
        return json.dumps({"code": self.code, "message": self.message})


UNKNOWN_TRANSPORT: Final = Refusal(400, 0, "Transport unknown")
UNKNOWN_SESSION: Final = Refusal(400, 1, "Session ID unknown")
BAD_METHOD: Final = Refusal(400, 2, "Bad handshake method")
BAD_REQUEST: Final = Refusal(400, 3, "Bad request")
FORBIDDEN: Final = Refusal(403, 4, "Forbidden")
UNSUPPORTED_PROTOCOL: Final = Refusal(400, 5, "Unsupported protocol version")
TOO_LARGE: Final = Refusal(413, 3, "Payload too large")
UPGRADE_REQUIRED: Final = Refusal(426, 3, "WebSocket version 13 is required")
UNAVAILABLE: Final = Refusal(503, 3, "Server unavailable, try again")


def check_query(query: Mapping[str, str], transport: str) -> Refusal | None:
    """What every request has to say about protocol and transport."""
    if query.get("EIO") != PROTOCOL:
        return UNSUPPORTED_PROTOCOL
    if query.get("transport") != transport:
        return UNKNOWN_TRANSPORT
    return None
