"""Server-sent events: the text format, and the life of one answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractContextManager, aclosing
from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.responses import StreamingResponse

from parlour.errors import ParlourError
from parlour.telemetry import get_logger

if TYPE_CHECKING:
    from parlour.server.node import Node

MEDIA_TYPE: Final = "text/event-stream"
TICK_SECONDS: Final = 1.0
"""How often an open answer looks whether it may go on (promise I9: within a second)."""
COMMENT_TICKS: Final = 15
"""A comment leaves after this many quiet ticks: proxies close what is silent."""
VERIFY_TICKS: Final = 30
"""The token is verified again after this many ticks, whatever was heard of revocations."""
RETRY_MS: Final = 1000

log = get_logger(__name__)


def event(data: Any, *, name: str | None = None, id: str | None = None) -> bytes:
    """One event. JSON has no line breaks, so it is always one `data` line."""
    head = (f"id: {id}\n" if id else "") + (f"event: {name}\n" if name else "")
    return head.encode() + b"data: " + orjson.dumps(data) + b"\n\n"


COMMENT: Final = b": \n\n"


def stream_response(chunks: AsyncIterator[bytes]) -> StreamingResponse:
    """An answer that flows: nothing between here and the client may hold it back."""
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(chunks, media_type=MEDIA_TYPE, headers=headers)


class Watch:
    """Says whether a long answer may go on: the token is valid and the node stays."""

    def __init__(self, node: Node, token: str) -> None:
        self._node = node
        self._token = token
        self._generation = node.accounts.generation
        self._ticks = 0
        self._expires_at: int | None = None

    async def tick(self) -> None:
        """Raises `Unauthenticated` or `TokenExpired` when the token is no longer valid."""
        self._ticks += 1
        now = self._node.clock.now_ms()
        expired = self._expires_at is not None and self._expires_at <= now
        heard = self._generation != self._node.accounts.generation
        if heard or expired or self._expires_at is None or self._ticks >= VERIFY_TICKS:
            self._generation, self._ticks = self._node.accounts.generation, 0
            self._expires_at = (await self._node.accounts.verify(self._token)).expires_at

    @property
    def leaving(self) -> bool:
        """The node goes away: end, so that the client comes back to another one."""
        return self._node.draining


async def told(
    chunks: AsyncGenerator[bytes], place: AbstractContextManager[None]
) -> AsyncGenerator[bytes]:
    """The same, in one of its user's places; an error that comes after the answer began is told as
    an event named `error`."""
    yield f"retry: {RETRY_MS}\n\n".encode()
    async with aclosing(chunks):
        try:
            with place:
                async for chunk in chunks:
                    yield chunk
        except ParlourError as error:
            log.info("event stream ended", code=error.code, reason=error.message)
            yield event(error.to_wire(), name="error")
