"""What every answer has, files, health, metrics, the page, and Parlour inside another application."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from starlette.applications import Starlette

from parlour.chat.application import ChatApp
from parlour.chat.registry import Registry
from parlour.errors import SettingsError
from parlour.telemetry import configure_logging
from parlour.transports.asgi import create_app, mount
from parlour.transports.http.page import Page
from tests.apps import ScriptedApp
from tests.rest import code_of, rest
from tests.serving import Served, serve


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(ScriptedApp(), tmp_path, max_file_bytes=100_000) as served:
        yield served


@pytest.fixture
async def anybody(server: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with rest(server) as client:
        yield client


@pytest.fixture
async def ann(server: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with rest(server, "Ann") as client:
        yield client


# -- every answer ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/version", "/api/nothing", "/health/live"])
async def test_every_answer_carries_an_id_and_security_headers(
    anybody: httpx.AsyncClient, path: str
) -> None:
    answer = await anybody.get(path)

    assert len(answer.headers["x-request-id"]) >= 8
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"


async def test_an_id_of_the_caller_is_kept_where_it_is_harmless(
    anybody: httpx.AsyncClient,
) -> None:
    kept = await anybody.get("/api/version", headers={"x-request-id": "trace-12345678"})
    replaced = await anybody.get("/api/version", headers={"x-request-id": "x y\t<script>"})

    assert kept.headers["x-request-id"] == "trace-12345678"
    assert "script" not in replaced.headers["x-request-id"]


async def test_unknown_routes_and_methods_are_problems(anybody: httpx.AsyncClient) -> None:
    missing = await anybody.get("/api/nothing")
    method = await anybody.delete("/api/version")

    assert code_of(missing) == (404, "not_found")
    assert missing.json()["reference"] == missing.headers["x-request-id"]
    assert code_of(method) == (405, "method_not_allowed")


async def test_a_route_that_crashes_gives_a_reference_and_the_server_goes_on(
    server: Served, anybody: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash() -> dict[str, bool]:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(server.node, "ready", crash)

    answer = await anybody.get("/health/ready")

    assert code_of(answer) == (500, "internal")
    assert "secret detail" not in answer.text
    assert (await anybody.get("/health/live")).status_code == 200


async def test_broken_json_is_a_problem(ann: httpx.AsyncClient) -> None:
    answer = await ann.post(
        "/api/commands/message:send",
        content=b'{"thread_id": ',
        headers={"content-type": "application/json"},
    )

    assert code_of(answer) == (422, "invalid_payload")


@pytest.fixture
def json_logs(capfd: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    """Logs as on a server, and what was logged; afterwards as before."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging("json", "info")
    yield capfd
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


async def test_logs_carry_who_and_which_request_and_no_secret(
    ann: httpx.AsyncClient, json_logs: pytest.CaptureFixture[str]
) -> None:

    await ann.get("/api/auth/me", headers={"x-request-id": "request-of-the-log"})

    logged = json_logs.readouterr().err
    assert '"request": "request-of-the-log"' in logged
    assert '"user": "' in logged
    assert ann.headers["authorization"].split(" ")[1] not in logged


# -- health ----------------------------------------------------------------------------------------


async def test_health_version_and_metrics(server: Served, anybody: httpx.AsyncClient) -> None:
    live = await anybody.get("/health/live")
    ready = await anybody.get("/health/ready")
    version = await anybody.get("/api/version")
    metrics = await anybody.get("/metrics")

    assert live.json() == {"status": "ok"}
    assert ready.json() == {"status": "ok", "parts": {"database": True, "accepting": True}}
    assert version.json() == {
        "version": server.node.version,
        "deployment_id": server.node.deployment_id,
        "protocol": 1,
    }
    assert 'parlour_http_requests_total{method="GET",route="/health/live",status="200"} 1.0' in (
        metrics.text
    )
    assert metrics.headers["content-type"].startswith("text/plain")


async def test_a_node_that_goes_away_is_not_ready_but_alive(
    server: Served, anybody: httpx.AsyncClient
) -> None:
    await server.node.stop()

    ready = await anybody.get("/health/ready")
    live = await anybody.get("/health/live")

    assert ready.status_code == 503
    assert not ready.json()["parts"]["accepting"]
    assert live.status_code == 200


async def test_metrics_can_be_switched_off(tmp_path: Path) -> None:
    async with serve(ScriptedApp(), tmp_path, metrics=False) as server, rest(server) as client:
        answer = await client.get("/metrics")

    assert code_of(answer) == (404, "not_found")


async def test_the_api_is_described(anybody: httpx.AsyncClient) -> None:
    described = (await anybody.get("/api/openapi.json")).json()

    assert "/api/threads/{thread_id}/messages" in described["paths"]
    undocumented = [
        f"{method} {path}"
        for path, methods in described["paths"].items()
        for method, route in methods.items()
        if not route.get("description")
    ]
    assert undocumented == []


# -- files -----------------------------------------------------------------------------------------


async def upload(
    client: httpx.AsyncClient, name: str, content: bytes, mime: str = "text/plain", **data: str
) -> httpx.Response:
    return await client.post("/api/files", files={"file": (name, content, mime)}, data=data)


async def test_a_file_comes_back_as_it_was_sent(ann: httpx.AsyncClient) -> None:
    content = os.urandom(70_000)

    stored = await upload(ann, "data.bin", content, "application/octet-stream")

    fetched = await ann.get(stored.json()["url"])
    assert stored.status_code == 201
    assert stored.json()["size"] == 70_000
    assert fetched.content == content
    assert fetched.headers["content-disposition"] == "attachment; filename*=UTF-8''data.bin"


async def test_a_file_cannot_run_scripts_or_name_a_path(ann: httpx.AsyncClient) -> None:
    stored = (await upload(ann, "../../etc/pass\r\nwd.html", b"<script>", "text/html")).json()

    fetched = await ann.get(stored["url"])

    assert "/" not in stored["name"]
    assert fetched.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in fetched.headers["content-security-policy"]


@pytest.mark.parametrize("size", [100_001, 2_000_000])
async def test_a_file_over_the_limit_is_refused_and_not_kept(
    ann: httpx.AsyncClient, server: Served, tmp_path: Path, size: int
) -> None:
    answer = await upload(ann, "big", b"x" * size)

    assert code_of(answer) == (413, "too_large")
    kept = await asyncio.to_thread(
        lambda: [f for f in (tmp_path / "files").rglob("*") if f.is_file()]
    )
    assert kept == []


async def test_a_form_without_a_file_is_refused(ann: httpx.AsyncClient) -> None:
    answers = [
        await ann.post("/api/files", data={"file": "just text"}),
        await ann.post("/api/files", content=b"nothing"),
        await ann.post(
            "/api/files",
            content=b"--x\r\nbroken",
            headers={"content-type": "multipart/form-data; boundary=x"},
        ),
    ]

    assert [answer.status_code for answer in answers[:2]] == [422, 422]
    assert answers[2].status_code in (400, 422)


async def test_files_are_their_owner_s(server: Served, ann: httpx.AsyncClient) -> None:
    url = (await upload(ann, "mine", b"secret")).json()["url"]

    async with rest(server, "Eve") as eve:
        answers = [await eve.get(url), await eve.delete(url)]
    deleted = await ann.delete(url)
    gone = await ann.get(url)

    assert [code_of(answer) for answer in answers] == [(404, "not_found")] * 2
    assert deleted.status_code == 204
    assert code_of(gone) == (404, "not_found")


async def test_a_file_whose_bytes_are_not_here_is_said_to_be_missing(
    server: Served, ann: httpx.AsyncClient
) -> None:
    content = os.urandom(32)
    url = (await upload(ann, "mine", content)).json()["url"]
    folder = server.node.settings.data_folder
    [blob] = [p for p in folder.rglob("*") if p.is_file() and p.read_bytes() == content]
    blob.unlink()

    answer = await ann.get(url)

    assert code_of(answer) == (404, "not_found")


@pytest.mark.parametrize(
    ("wanted", "part", "told"),
    [
        ("bytes=0-0", slice(0, 1), "bytes 0-0/1000"),
        ("bytes=10-19", slice(10, 20), "bytes 10-19/1000"),
        ("bytes=990-", slice(990, None), "bytes 990-999/1000"),
        ("bytes=990-5000", slice(990, None), "bytes 990-999/1000"),
        ("bytes=-7", slice(-7, None), "bytes 993-999/1000"),
        ("bytes=-5000", slice(None), "bytes 0-999/1000"),
    ],
)
async def test_a_player_asks_for_a_part_of_a_file(
    ann: httpx.AsyncClient, wanted: str, part: slice, told: str
) -> None:
    content = os.urandom(1000)
    url = (await upload(ann, "film.mp4", content, "video/mp4")).json()["url"]

    answer = await ann.get(url, headers={"range": wanted})

    assert (answer.status_code, answer.headers["content-range"]) == (206, told)
    assert answer.content == content[part]
    assert answer.headers["content-length"] == str(len(content[part]))


@pytest.mark.parametrize(
    "ignored",
    ["bytes=1-2,4-5", "bytes=9-3", "bytes=-", "lines=1-2", "bytes=x", "bytes=" + "9" * 99],
)
async def test_a_range_that_means_nothing_here_gives_the_whole_file(
    ann: httpx.AsyncClient, ignored: str
) -> None:
    url = (await upload(ann, "film.mp4", b"0123456789", "video/mp4")).json()["url"]

    answer = await ann.get(url, headers={"range": ignored})

    assert (answer.status_code, answer.content) == (200, b"0123456789")
    assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("beyond", ["bytes=10-", "bytes=99-100", "bytes=-0"])
async def test_a_part_behind_the_end_of_a_file_is_refused(
    ann: httpx.AsyncClient, beyond: str
) -> None:
    url = (await upload(ann, "film.mp4", b"0123456789", "video/mp4")).json()["url"]

    answer = await ann.get(url, headers={"range": beyond})

    assert code_of(answer) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == "bytes */10"


async def test_a_part_of_another_version_of_a_file_is_not_given(ann: httpx.AsyncClient) -> None:
    url = (await upload(ann, "film.mp4", b"0123456789", "video/mp4")).json()["url"]
    etag = (await ann.get(url)).headers["etag"]

    same = await ann.get(url, headers={"range": "bytes=1-2", "if-range": etag})
    other = await ann.get(url, headers={"range": "bytes=1-2", "if-range": '"another"'})

    assert (same.status_code, same.content) == (206, b"12")
    assert (other.status_code, other.content) == (200, b"0123456789")


async def test_files_may_be_in_a_bucket(tmp_path: Path, s3_endpoint: str, s3_bucket: str) -> None:
    place = {
        "uploads": f"s3://{s3_bucket}/chat",
        "uploads_endpoint": s3_endpoint,
        "uploads_key": "id:secret",
    }
    content = os.urandom(300_000)
    async with serve(ScriptedApp(), tmp_path, **place) as served, rest(served, "Ann") as ann:
        url = (await upload(ann, "a.bin", content)).json()["url"]
        whole = await ann.get(url)
        part = await ann.get(url, headers={"range": "bytes=5-9"})
        await ann.delete(url)

    assert whole.content == content
    assert (part.status_code, part.content) == (206, content[5:10])
    assert not (tmp_path / "files").exists()
    async with httpx.AsyncClient() as s3:
        listed = await s3.get(f"{s3_endpoint}/{s3_bucket}?list-type=2")
    assert "<Key>" not in listed.text


async def test_an_empty_file_comes_back_empty(ann: httpx.AsyncClient) -> None:
    url = (await upload(ann, "nothing", b"")).json()["url"]

    answer = await ann.get(url)

    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_browser_asks_each_time_before_it_shows_its_copy_of_a_file(
    server: Served, ann: httpx.AsyncClient
) -> None:
    url = (await upload(ann, "mine", b"secret")).json()["url"]
    first = await ann.get(url)
    kept = {"if-none-match": first.headers["etag"]}

    again = await ann.get(url, headers=kept)
    async with rest(server, "Eve") as eve:
        hers = await eve.get(url, headers=kept)

    assert first.headers["cache-control"] == "private, no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert code_of(hers) == (404, "not_found")


async def test_a_file_for_somebody_else_s_conversation_is_refused(
    server: Served, ann: httpx.AsyncClient
) -> None:
    await ann.post("/api/threads/thread-of-ann/messages", json={"content": "say x"})

    async with rest(server, "Eve") as eve:
        answer = await upload(eve, "x", b"x", thread_id="thread-of-ann")

    assert code_of(answer) == (403, "forbidden")


# -- the page --------------------------------------------------------------------------------------


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    built = tmp_path / "static"
    (built / "assets").mkdir(parents=True)
    (built / "index.html").write_text("<script>let a = 1</script><script src='/x.js'></script>")
    (built / "assets" / "main-1a2b.js").write_text("// code " + "x" * 2000)
    app = FastAPI()
    app.mount("/", Page(built))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
        yield client


async def test_hashed_assets_are_kept_for_ever_and_compressed(page: httpx.AsyncClient) -> None:
    answer = await page.get("/assets/main-1a2b.js")

    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("path", ["/", "/threads/abc", "/sign-in"])
async def test_the_page_s_own_addresses_give_the_page(page: httpx.AsyncClient, path: str) -> None:
    answer = await page.get(path)

    assert answer.status_code == 200
    assert "let a = 1" in answer.text
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["/api/nothing", "/ws/nothing", "/assets/gone.js", "/robots.txt", "/../secret.py"]
)
async def test_other_addresses_are_not_found(page: httpx.AsyncClient, path: str) -> None:
    answer = await page.get(path)

    assert answer.status_code == 404


async def test_only_the_inline_script_that_was_built_in_may_run(page: httpx.AsyncClient) -> None:
    policy = (await page.get("/")).headers["content-security-policy"]

    # echo -n "let a = 1" | openssl sha256 -binary | base64
    assert "script-src 'self' 'sha256-LAfYd7pbFUgwfQu8b4q135PeTG2z+/coPEUYCd74eCQ='" in policy
    assert "default-src 'self'" in policy


async def test_a_page_that_is_not_built_says_so(tmp_path: Path) -> None:
    transport = httpx.ASGITransport(Page(tmp_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
        answer = await client.get("/")

    assert answer.status_code == 503
    assert "make build" in answer.text


# -- inside another application --------------------------------------------------------------------


def settings_for(folder: Path) -> dict[str, Any]:
    return {"data_folder": folder, "sign_up": True, "shutdown_drain_seconds": 0.1}


async def test_mount_leaves_the_author_s_routes_and_lifespan_alone(tmp_path: Path) -> None:
    app = FastAPI()
    mount(app, target=ScriptedApp(), **settings_for(tmp_path))

    @app.get("/mine")
    async def mine() -> str:
        return "mine"

    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            own = await client.get("/mine")
            ours = await client.get("/api/version")

    assert own.json() == "mine"
    assert ours.json()["protocol"] == 1
    assert [route for route in app.router.routes if getattr(route, "name", "") == "parlour"] == []


async def test_mount_below_a_path(tmp_path: Path) -> None:
    app = Starlette()
    mount(app, "/chat", target=ScriptedApp(), **settings_for(tmp_path))

    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            version = await client.get("/chat/api/version")
            polling = await client.get("/chat/ws/socket.io?EIO=4&transport=polling")
            body = {"name": "Ann", "password": "long enough"}
            signed_up = await client.post("/chat/api/auth/sign-up", json=body)
            outside = await client.get("/api/version")

    assert version.status_code == 200
    assert polling.text.startswith("0{")
    assert "Path=/chat" in signed_up.headers["set-cookie"]
    assert outside.status_code == 404


def test_mount_needs_an_application_that_it_knows() -> None:
    with pytest.raises(TypeError, match="create_app"):
        mount(object(), target=ScriptedApp())  # type: ignore[arg-type]


async def test_mount_without_handlers_says_what_to_write(tmp_path: Path) -> None:
    app = FastAPI()
    mount(app, **settings_for(tmp_path))

    with pytest.raises(SettingsError, match="on_message"):
        async with app.router.lifespan_context(app):
            pass


async def test_an_app_for_any_server_lives_with_its_lifespan(tmp_path: Path) -> None:
    app = create_app(ChatApp(Registry()), **settings_for(tmp_path))
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outgoing: asyncio.Queue[Any] = asyncio.Queue()
    transport = httpx.ASGITransport(app)

    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        before = await client.get("/api/version")
        living = asyncio.create_task(
            app({"type": "lifespan", "asgi": {}}, incoming.get, outgoing.put)  # type: ignore[arg-type]
        )
        await incoming.put({"type": "lifespan.startup"})
        started = await outgoing.get()
        during = await client.get("/api/version")
        await incoming.put({"type": "lifespan.shutdown"})
        await living

    assert before.status_code == 503
    assert started == {"type": "lifespan.startup.complete"}
    assert during.status_code == 200
    assert outgoing.get_nowait() == {"type": "lifespan.shutdown.complete"}
