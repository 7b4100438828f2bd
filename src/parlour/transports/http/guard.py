"""What every request passes first: an id, the cross-site check, the size limit, headers, the last resort.

Plain ASGI, so that nothing is buffered on the way out and streaming answers stream.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parlour.config import Settings
from parlour.errors import Forbidden, ParlourError, TooLarge
from parlour.telemetry import Metrics, get_logger, log_context
from parlour.transports.http.problems import from_error, unexpected

UPLOADS: Final = "/api/files"
UPLOAD_ROOM: Final = 1_000_000
"""What a multipart body may hold beside the file itself, in bytes."""

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}\Z")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "SAMEORIGIN",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
API_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"
"""The content security policy of every answer that does not set its own."""

log = get_logger(__name__)


class Guard:
    """The outermost layer around all HTTP routes."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers.get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send, request_id, secure=scope["scheme"] == "https")
        began = time.perf_counter()
        with log_context(request=request_id):
            await self._answer(scope, headers, receive, answer)
            self._count(scope, answer, time.perf_counter() - began)

    async def _answer(
        self, scope: Scope, headers: Headers, receive: Receive, answer: _Answer
    ) -> None:
        try:
            self._check_origin(scope, headers)
            receive = await self._limited(scope, headers, receive)
            await self._app(scope, receive, answer.send)
        except ParlourError as error:
            await answer.fail(from_error(error, answer.request_id), scope, receive)
        except ClientDisconnect:
            log.info("client left in the middle of its request", path=scope["path"])
        except Exception:  # the server must survive any handler; the person gets the reference
            log.exception("request crashed", path=scope["path"])
            self._metrics.unexpected_errors.labels("http").inc()
            await answer.fail(unexpected(answer.request_id), scope, receive)

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        """Refuse a state-changing request that another site's page makes with this person's cookie. A
        bearer token cannot be sent by a page that does not know it."""
        if scope["method"] in _SAFE_METHODS or "authorization" in headers:
            return
        origin = headers.get("origin")
        if origin is None:
            if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
                return
        elif self._allowed(origin) or any(
            # A proxy may put its own name into Host. No page can make a browser send either
            # header to another site with a name of its choice.
            _same_site(origin, headers.get(name, ""))
            for name in ("host", "x-forwarded-host")
        ):
            return
        raise Forbidden("This request comes from a page of another site.", code_hint="origin")

    def _allowed(self, origin: str) -> bool:
        return origin.lower() in self._settings.allowed_origins

    async def _limited(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        """Refuse a body that is too large before anything of it is used."""
        if scope["method"] in ("GET", "HEAD"):
            return receive
        upload = scope["path"].endswith(UPLOADS)
        limit = self._settings.max_payload_bytes
        if upload:
            limit = self._settings.max_file_bytes + UPLOAD_ROOM
        told = headers.get("content-length", "0")
        if not told.isdigit() or int(told) > limit:
            raise TooLarge(f"The request is larger than {limit} bytes.", limit=limit)
        return _counting(receive, limit) if upload else await _whole(receive, limit)

    def _count(self, scope: Scope, answer: _Answer, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.http_requests.labels(scope["method"], route, str(answer.status)).inc()
        self._metrics.http_seconds.labels(route).observe(seconds)
        if scope["path"].startswith("/api/"):
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=answer.status,
                ms=round(seconds * 1000, 1),
            )


class _Answer:
    """The way out: adds headers, and knows whether an error can still be told."""

    def __init__(self, send: Send, request_id: str, *, secure: bool) -> None:
        self.request_id = request_id
        self.status = 0
        self._send = send
        self._secure = secure

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._add_headers(MutableHeaders(scope=message))
        await self._send(message)

    def _add_headers(self, headers: MutableHeaders) -> None:
        headers["x-request-id"] = self.request_id
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("content-security-policy", API_POLICY)
        headers.setdefault("cache-control", "no-store")
        if self._secure:
            headers.setdefault("strict-transport-security", "max-age=31536000")

    async def fail(self, response: ASGIApp, scope: Scope, receive: Receive) -> None:
        """Tell the error, unless the answer has begun: then it can only end."""
        if self.status == 0:
            await response(scope, receive, self.send)


def _request_id(given: str | None) -> str:
    return given if given and _REQUEST_ID.match(given) else uuid.uuid4().hex


def _same_site(origin: str, host: str) -> bool:
    """Whether an Origin header names the host that was asked. The scheme is left out: behind a proxy that
    ends TLS this process may not know it."""
    try:
        asked = urlsplit(f"//{host}")
        came = urlsplit(origin)
        default = _DEFAULT_PORTS.get(came.scheme)
        same_port = (came.port or default) == (asked.port or default)
        return came.hostname is not None and came.hostname == asked.hostname and same_port
    except ValueError:
        return False


async def _whole(receive: Receive, limit: int) -> Receive:
    """Read the body within its limit, then give it to the application as one message."""
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return _replay(message, receive)
        size += len(message.get("body", b""))
        if size > limit:
            raise TooLarge(f"The request is larger than {limit} bytes.", limit=limit)
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return _replay({"type": "http.request", "body": b"".join(parts), "more_body": False}, receive)


def _replay(first: Message, receive: Receive) -> Receive:
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return first

    return replayed


def _counting(receive: Receive, limit: int) -> Receive:
    """As `_whole`, for a body that is streamed on."""
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise TooLarge(f"The request is larger than {limit} bytes.", limit=limit)
        return message

    return counted
