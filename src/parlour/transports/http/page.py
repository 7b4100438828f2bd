"""The built page: hashed assets for ever, everything else revalidated; unknown paths are the page's own."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from pathlib import Path
from typing import Final

import anyio
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

STATIC: Final = Path(__file__).parent / "static"
FOREVER: Final = "public, max-age=31536000, immutable"
REVALIDATE: Final = "no-cache"

_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
_OWN_PATHS: Final = ("api/", "ws/", "health/")
_AT_ROOT: Final = '<base href="/"'

_NOT_BUILT: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Parlour</title>
<h1>The page is not built</h1>
<p>The server runs, and so do its API and sockets. To build the page, run
<code>make build</code> in the repository, or install the wheel, which contains it.</p>
</html>
"""


class Page:
    """An ASGI application over the folder of the built page. `version` and `deployment` are written into
    the page, so that a copy that somebody kept knows how old it is."""

    def __init__(self, folder: Path = STATIC, version: str = "", deployment: str = "") -> None:
        self._index = folder / "index.html"
        self._policy = content_policy(self._index)
        self._files: GZipMiddleware | None = None
        if self._index.is_file():
            self._files = GZipMiddleware(
                _Files(self._policy, _origin(version, deployment), directory=folder, html=True)
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._files is None:
            await self._unbuilt(scope)(scope, receive, send)
        else:
            await self._files(scope, receive, send)

    def _unbuilt(self, scope: Scope) -> Response:
        if _is_own(scope["path"].lstrip("/")):
            raise HTTPException(404)
        headers = {"content-security-policy": self._policy, "cache-control": REVALIDATE}
        return HTMLResponse(_NOT_BUILT, 503, headers=headers)


class _Files(StaticFiles):
    """Static files with a fallback to index.html for the page's own addresses."""

    def __init__(self, policy: str, origin: str, *, directory: Path, html: bool) -> None:
        super().__init__(directory=directory, html=html)
        self._policy = policy
        self._origin = origin

    async def get_response(self, path: str, scope: Scope) -> Response:
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or not _is_page(path):
                raise
            response = await super().get_response("index.html", scope)
        response = await _based(response, str(scope.get("root_path", "")), self._origin)
        response.headers["cache-control"] = _caching(path)
        response.headers["content-security-policy"] = self._policy
        return response


async def _based(response: Response, root: str, origin: str) -> Response:
    """The page with where it is mounted (its addresses start there), and with what it is of."""
    if not isinstance(response, FileResponse) or response.media_type != "text/html":
        return response
    page = await anyio.Path(response.path).read_text("utf-8")
    base = f'<base href="{html.escape(root)}/"'
    return HTMLResponse(page.replace(_AT_ROOT, origin + base, 1))


def _origin(version: str, deployment: str) -> str:
    if not version:
        return ""
    content, data = html.escape(version), html.escape(deployment)
    return f'<meta name="parlour-version" content="{content}" data-deployment="{data}" />'


def _is_own(path: str) -> bool:
    """Addresses that the server answers itself: a miss there is an error, not the page."""
    return f"{path}/".startswith(_OWN_PATHS)


def _is_page(path: str) -> bool:
    """Whether an unknown path may be one of the page's own addresses: no file name at its end."""
    return not _is_own(path) and "." not in path.rsplit("/", 1)[-1]


def _caching(path: str) -> str:
    return FOREVER if path.startswith("assets/") else REVALIDATE


def content_policy(index: Path) -> str:
    """The policy of the page: nothing from elsewhere, and no inline script but those that were built in."""
    hashes = " ".join(f"'sha256-{digest}'" for digest in _script_hashes(index))
    return "; ".join(
        [
            "default-src 'self'",
            f"script-src 'self' {hashes}".rstrip(),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "media-src 'self' blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'self'",
        ]
    )


def _script_hashes(index: Path) -> list[str]:
    if not index.is_file():
        return []
    scripts = _INLINE_SCRIPT.findall(index.read_bytes())
    return [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts]
