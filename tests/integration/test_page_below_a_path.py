"""The page of an application that is mounted below a path finds its own addresses."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from parlour.transports.http.page import Page

INDEX = '<head><base href="/" /><script src="./main.js"></script></head>'


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text(INDEX)
    (tmp_path / "main.js").write_text("'<base href=\"/\"'")
    return tmp_path


async def get(built: Path, mounted: str, path: str) -> httpx.Response:
    app = Starlette(routes=[Mount(mounted, Page(built))])
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
        return await client.get(path)


@pytest.mark.parametrize("path", ["/chat/", "/chat/c/0b5e1f2a", "/chat/sign-in"])
async def test_addresses_start_where_the_application_is_mounted(built: Path, path: str) -> None:
    answer = await get(built, "/chat", path)

    assert '<base href="/chat/" />' in answer.text
    assert answer.headers["cache-control"] == "no-cache"
    assert "default-src 'self'" in answer.headers["content-security-policy"]


async def test_at_the_root_the_page_is_as_it_was_built(built: Path) -> None:
    answer = await get(built, "/", "/c/0b5e1f2a")

    assert answer.text == INDEX


async def test_only_the_page_is_changed(built: Path) -> None:
    answer = await get(built, "/chat", "/chat/main.js")

    assert answer.text == "'<base href=\"/\"'"
