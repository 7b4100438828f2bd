"""Errors as problem details (RFC 9457), with Parlour's `code`, `retryable` and `reference` beside them."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from parlour.errors import ParlourError, Unavailable
from parlour.telemetry import get_logger

MEDIA_TYPE: Final = "application/problem+json"
_HTTP_CODES: Final = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    422: "invalid_payload",
    429: "rate_limited",
    503: "unavailable",
}

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})

log = get_logger(__name__)


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    reference: str,
    retryable: bool = False,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """One answer of this form. `more` stands beside the named fields."""
    body = {
        "type": f"urn:parlour:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "retryable": retryable,
        "reference": reference,
        **more,
    }
    content = orjson.dumps(body, default=str)
    return Response(content, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def from_error(error: ParlourError, reference: str) -> Response:
    """A typed error. What is the server's own fault keeps its text out of the answer."""
    details = dict(error.to_wire())
    headers: dict[str, str] = {}
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    if isinstance(wait := error.details.get("retry_after_ms"), int):
        headers["retry-after"] = str(max(1, -(-wait // 1000)))
    detail = details.pop("message")
    return problem(
        error.status,
        details.pop("code"),
        detail,
        reference=details.pop("reference", reference),
        retryable=details.pop("retryable"),
        headers=headers,
        **{name: value for name, value in details.items() if name not in ("type", "title")},
    )


def unexpected(reference: str) -> Response:
    """For an exception that nobody foresaw; the log has the trace under the reference."""
    return problem(
        500, "internal", "Something went wrong on the server.", reference=reference, retryable=False
    )


def request_reference(request: Request) -> str:
    """The request's id, under which the log tells more."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def install_problems(app: FastAPI) -> None:
    """Make every error of `app` answer in this form."""
    app.add_exception_handler(ParlourError, _typed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _plain)
    app.add_exception_handler(OSError, _no_space)


async def _typed(request: Request, error: Exception) -> Response:
    assert isinstance(error, ParlourError)
    if error.status >= 500:
        log.warning("request failed", code=error.code, reason=error.message)
    return from_error(error, request_reference(request))


async def _no_space(request: Request, error: Exception) -> Response:
    """A form that is too large for memory waits in a temporary file, whose disk may be full."""
    assert isinstance(error, OSError)
    if error.errno not in _NO_SPACE:
        raise error
    return await _typed(request, Unavailable("The server's disk is full; try again later."))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    mistakes = [_mistake(mistake) for mistake in error.errors()]
    detail = "; ".join(f"{mistake['field']}: {mistake['message']}" for mistake in mistakes[:5])
    return problem(
        422, "invalid_payload", detail, reference=request_reference(request), errors=mistakes[:20]
    )


def _mistake(mistake: Mapping[str, Any]) -> dict[str, str]:
    """Where and what, without echoing what was sent (it may be a password)."""
    where: Sequence[Any] = mistake.get("loc", ())
    return {
        "field": ".".join(str(part) for part in where if part not in ("body", "query", "path")),
        "message": str(mistake.get("msg", "")),
    }


async def _plain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(
        error.status_code,
        _HTTP_CODES.get(error.status_code, f"http_{error.status_code}"),
        str(error.detail),
        reference=request_reference(request),
        retryable=error.status_code in (429, 503),
        headers=error.headers,
    )
