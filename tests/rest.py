"""REST callers for tests, and a reader of server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.serving import Served


@asynccontextmanager
async def rest(
    server: Served, name: str | None = None, **headers: str
) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client; with a name it carries the token of that user, who is made when there is none."""
    if name is not None:
        headers["authorization"] = f"Bearer {await server.user(name)}"
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=20) as client:
        yield client


@dataclass(frozen=True)
class SentEvent:
    """One server-sent event; `name` is empty for unnamed ones."""

    name: str
    id: str
    data: Any


async def sent_events(response: httpx.Response) -> AsyncIterator[SentEvent]:
    """Read an event stream as a browser does."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            data = json.loads(fields["data"])
            yield SentEvent(fields.get("event", ""), fields.get("id", ""), data)
            fields = {}
        else:
            fields = {}


def code_of(response: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, response.json()["code"]
