"""The npm package socket.io-client, unmodified, in Node."""

from __future__ import annotations

import asyncio
import json
import shutil
from functools import cache
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

from tests.interop.background import in_background
from tests.interop.client_server import running_for_clients

HERE = Path(__file__).parent

EXPECTED: dict[str, Any] = {
    "auth": {"token": "t1"},
    "event": [1, "zwölf €", {"a": [None, True]}],
    "binary": [{"bytes": [0, 1, 255]}, [{"bytes": [7]}]],
    "acknowledged": ["a"],
    "called": [3, {"bytes": [9]}],
    "unanswered": "operation has timed out",
    "namespace": [{"token": "o"}, ["other"], ["main"]],
    "unknown namespace": "Invalid namespace",
    "refused": [
        "not you",
        {"code": "forbidden", "message": "not you", "retryable": False, "hint": "sign in"},
    ],
    "reconnects": [True, "string", ["again"]],
    "closed by the server": "io server disconnect",
    "order": True,
    "heartbeat": True,
}
CARRIERS = {"websocket": "websocket", "polling": "polling", "upgrade": "websocket"}


@cache
def install() -> None:
    """The client package, from the lock file, once per test run."""
    if not (HERE / "node_modules" / "socket.io-client").exists():
        run(["npm", "ci", "--silent"], cwd=HERE, check=True, timeout=120)


async def run_client(port: int, *ways: str) -> dict[str, dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        "node", str(HERE / "client.mjs"), str(port), *ways, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(output)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
@pytest.mark.parametrize("transport", ["asgi", "fast"])
async def test_the_javascript_client_can_do_everything_in_every_way(transport):
    install()
    with in_background(running_for_clients(transport)) as (port, _):
        results = await run_client(port)

    for way, carrier in CARRIERS.items():
        assert results[way] == {**EXPECTED, "carrier": carrier}, way


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
@pytest.mark.parametrize("transport", ["asgi", "fast"])
async def test_a_server_without_websocket_support_serves_polling_alone(transport):
    install()
    with in_background(running_for_clients(transport, websocket=False)) as (port, _):
        results = await run_client(port, "polling")

    assert results["polling"] == {**EXPECTED, "carrier": "polling"}
