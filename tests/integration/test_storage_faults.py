"""A server process whose data folder is in trouble: full, read-only, taken. What was acknowledged stays,
what was refused was not done, and everybody is told.

A full disk is a limit on the size of files (`RLIMIT_FSIZE`): no file of the process can grow, its log
included.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fault.process import APP, PROGRAM, ServerProcess
from tests.serving import Client

THREAD = "thread-of-reader"
PASSWORD = "correct horse battery"
START_LIMIT_S = 60
ENVIRONMENT = {
    "PARLOUR_SIGN_UP": "true",
    "PARLOUR_LOG_LEVEL": "info",
    "FAULT_TOKENS_PER_SECOND": "300",
}


def numbers(count: int) -> str:
    """What the app answers to `count N`."""
    return "".join(f"{number} " for number in range(count))


class Reader:
    """A person with a conversation on the server process."""

    def __init__(self, server: ServerProcess, token: str) -> None:
        self.url = f"http://127.0.0.1:{server.port}"
        self.token = token
        self.client = Client()

    @classmethod
    async def sign_up(cls, server: ServerProcess) -> Reader:
        async with httpx.AsyncClient() as http:
            url = f"http://127.0.0.1:{server.port}/api/auth/sign-up"
            answer = await http.post(url, json={"name": "reader", "password": PASSWORD})
        return cls(server, answer.json()["token"])

    async def connect(self) -> None:
        """Connect and follow the conversation; what was heard before is forgotten."""
        self.client = Client()
        await self.client.connect(self.url, token=self.token)
        await self.client.call("subscribe", stream=f"thread:{THREAD}")

    async def say(self, text: str, command_id: str | None = None) -> Any:
        return await self.client.call(
            "message:send",
            thread_id=THREAD,
            content=text,
            command_id=command_id or uuid.uuid4().hex,
        )

    async def end_of(self, run_id: str) -> dict[str, Any]:
        def wanted(event: str, payload: Any) -> bool:
            data = payload["data"] if event == "events" else {}
            return data.get("type") == "run:ended" and data["data"]["run_id"] == run_id

        found = await self.client.until(wanted, 30)
        ended: dict[str, Any] = found["data"]["data"]
        return ended

    async def converse(self, text: str) -> dict[str, Any]:
        """Say something and wait for the end of its run."""
        return await self.end_of((await self.say(text))["run_id"])

    async def messages(self) -> list[dict[str, Any]]:
        answer = await self.client.call("subscribe", stream=f"thread:{THREAD}")
        messages: list[dict[str, Any]] = answer["snapshot"]["messages"]
        return messages

    async def texts(self) -> list[str]:
        return [message["content"] for message in await self.messages()]

    @asynccontextmanager
    async def http(self) -> AsyncIterator[httpx.AsyncClient]:
        headers = {"authorization": f"Bearer {self.token}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20) as client:
            yield client

    async def upload(self, body: bytes) -> httpx.Response:
        async with self.http() as http:
            return await http.post("/api/files", files={"file": ("poem.txt", body, "text/plain")})


def below(folder: Path) -> list[Path]:
    """Everything in a folder and its folders."""
    return sorted(folder.rglob("*"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir()
    return made


@asynccontextmanager
async def running(
    folder: Path, prefix: tuple[str, ...] = (), **environment: str
) -> AsyncIterator[ServerProcess]:
    server = ServerProcess(folder, {**ENVIRONMENT, **environment}, prefix=prefix)
    try:
        await server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[ServerProcess]:
    async with running(folder) as process:
        yield process


@pytest.fixture
async def reader(server: ServerProcess) -> AsyncIterator[Reader]:
    person = await Reader.sign_up(server)
    await person.connect()
    await person.converse("count 3")
    yield person
    await person.client.close()


@contextmanager
def full_disk(server: ServerProcess) -> Iterator[None]:
    server.fill_disk()
    try:
        yield
    finally:
        if server.running:
            server.empty_disk()


def start(folder: Path, *prefix: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a server that is expected to end by itself."""
    return subprocess.run(
        [*prefix, PROGRAM, "run", str(APP), "--port", "0"],
        env={
            **os.environ,
            "COLUMNS": "200",
            "PARLOUR_DATA_FOLDER": str(folder),
            **environment,
        },
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_LIMIT_S,
    )


def assert_told(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """It ended with code 1 and told why, without a trace."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


# -- a full disk -----------------------------------------------------------------------------------


async def test_a_message_on_a_full_disk_is_refused_and_can_be_sent_again(
    server: ServerProcess, reader: Reader
) -> None:
    before = await reader.texts()

    with full_disk(server):
        refused = await reader.say("count 4", "the same")
        during = await reader.texts()
    accepted = await reader.say("count 4", "the same")
    await reader.end_of(accepted["run_id"])

    assert refused["ok"] is False
    assert refused["error"]["code"] == "unavailable"
    assert refused["error"]["retryable"] is True
    assert "disk" in refused["error"]["message"]
    assert during == before == ["count 3", numbers(3)]
    assert await reader.texts() == [*before, "count 4", numbers(4)]


async def test_what_was_acknowledged_outlives_a_full_disk_and_a_killed_process(
    server: ServerProcess, reader: Reader
) -> None:
    with full_disk(server):
        for number in range(5):
            await reader.say(f"count {number + 10}")
        server.kill()

    await server.start()
    await reader.connect()
    after = await reader.texts()
    ended = await reader.converse("count 5")

    assert after == ["count 3", numbers(3)]
    assert ended["outcome"] == "completed"


async def test_an_answer_that_meets_a_full_disk_ends_with_what_was_shown(
    server: ServerProcess, reader: Reader
) -> None:
    run_id = (await reader.say("count 1500"))["run_id"]
    await reader.client.until(
        lambda event, payload: (
            event == "events"
            and payload["data"]["type"] == "message:delta"
            and "20 " in payload["data"]["data"]["text"]
        )
    )

    with full_disk(server):
        refused = await reader.say("count 4")
    ended = await reader.end_of(run_id)
    messages = await reader.messages()

    answer = next(m for m in messages if m["role"] == "assistant" and m.get("run_id") == run_id)
    shown = "".join(
        delta["text"]
        for delta in reader.client.events("message:delta")
        if delta["id"] == answer["id"]
    )
    assert refused["error"]["code"] == "unavailable"
    assert answer["content"] == shown
    assert numbers(1500).startswith(shown)
    assert not answer.get("streaming")
    if ended["outcome"] == "failed":
        assert ended["error"]["code"] == "unavailable"
        assert any(m["role"] == "error" and m["run_id"] == run_id for m in messages)
    else:
        assert shown == numbers(1500)
    assert (await reader.converse("count 2"))["outcome"] == "completed"


async def test_a_message_that_waited_while_the_disk_was_full_is_answered(
    server: ServerProcess, reader: Reader
) -> None:
    first = await reader.say("count 300")
    second = await reader.say("count 2")

    with full_disk(server):
        assert (await reader.say("count 9"))["error"]["code"] == "unavailable"

    assert (await reader.end_of(first["run_id"]))["outcome"] in ("completed", "failed")
    assert (await reader.end_of(second["run_id"]))["outcome"] == "completed"
    assert (await reader.texts())[-1] == numbers(2)


async def test_a_file_on_a_full_disk_is_refused_and_leaves_nothing(
    server: ServerProcess, reader: Reader, folder: Path
) -> None:
    kept = await reader.upload(b"roses are red")
    before = [path for path in below(folder / "files") if path.is_file()]

    with full_disk(server):
        refused = await reader.upload(b"violets are blue" * 100_000)
        small = await reader.upload(b"violets are blue")
    after = [path for path in below(folder / "files") if path.is_file()]
    accepted = await reader.upload(b"violets are blue" * 100_000)

    assert [answer.status_code for answer in (kept, accepted)] == [201, 201]
    for answer in (refused, small):
        assert answer.status_code == 503
        assert answer.json()["code"] == "unavailable"
        assert answer.json()["retryable"] is True
    assert after == before


async def test_everything_else_on_a_full_disk_is_done_or_refused_as_unavailable(
    server: ServerProcess, reader: Reader
) -> None:
    with full_disk(server):
        async with reader.http() as http:
            answers = [
                await http.get("/health/live"),
                await http.get("/health/ready"),
                await http.get("/api/threads"),
                await http.get(f"/api/threads/{THREAD}/messages"),
                await http.post(
                    "/api/auth/sign-in", json={"login": "reader", "password": PASSWORD}
                ),
                await http.post("/api/auth/sign-up", json={"name": "other", "password": PASSWORD}),
                await http.patch(f"/api/threads/{THREAD}", json={"title": "renamed"}),
                await http.delete(f"/api/threads/{THREAD}"),
                await http.post("/api/auth/sign-out"),
            ]
    statuses = [answer.status_code for answer in answers]
    refusals = [answer.json()["code"] for answer in answers if answer.status_code >= 400]

    assert statuses[:4] == [200] * 4
    assert set(statuses) <= {200, 204, 503}
    assert set(refusals) == {"unavailable"}
    # A sign-out that was not stored did not happen, and the conversation was not deleted by half.
    assert statuses[-2:] == [503, 503]
    assert await reader.texts() == ["count 3", numbers(3)]


async def test_a_new_connection_on_a_full_disk_comes_through_or_is_told_to_come_back(
    server: ServerProcess, reader: Reader
) -> None:
    newcomer = Client()
    told: list[Any] = []
    newcomer.socket.on("connect_error", told.append)

    with full_disk(server):
        try:
            await newcomer.connect(reader.url, token=reader.token)
        except Exception as error:  # noqa: BLE001 - what it is, the assertions below say
            told.append(error)
        else:
            await newcomer.close()
    await newcomer.connect(reader.url, token=reader.token)
    alive = await newcomer.call("heartbeat")
    await newcomer.close()

    if told:
        assert told[0]["data"]["code"] == "unavailable"
        assert told[0]["data"]["retryable"] is True
    assert alive["ok"]


async def test_a_start_on_a_full_disk_says_so(folder: Path) -> None:
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        pytest.skip("there is no prlimit here, which starts a process with a full disk")

    done = await asyncio.to_thread(start, folder, prlimit, "--fsize=1")
    again = await asyncio.to_thread(start, folder, prlimit, "--fsize=1")

    assert_told(done, "disk")
    assert_told(again, "disk")
    async with running(folder) as server:
        person = await Reader.sign_up(server)
        await person.connect()
        assert (await person.converse("count 2"))["outcome"] == "completed"
        await person.client.close()


# -- a read-only folder ----------------------------------------------------------------------------


@pytest.fixture
def bound_by_rights() -> tuple[str, ...]:
    """A command prefix under which file rights count. Root ignores them, also in containers, unless it
    gives that ability up."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("running as root, and there is no setpriv to make file rights count")
    return (setpriv, "--bounding-set", "-dac_override,-dac_read_search")


@contextmanager
def read_only(*paths: Path) -> Iterator[None]:
    """Nobody may write to these paths inside the block."""
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


async def test_a_read_only_folder_is_told_at_the_start(
    folder: Path, bound_by_rights: tuple[str, ...]
) -> None:
    with read_only(folder):
        done = await asyncio.to_thread(start, folder, *bound_by_rights)

    assert_told(done, f"the data folder {folder} cannot be used: Permission denied")
    assert os.listdir(folder) == []


@pytest.mark.parametrize("what", ["everything", "parlour.db"])
async def test_a_conversation_in_a_folder_that_became_read_only_is_told_and_kept(
    folder: Path, bound_by_rights: tuple[str, ...], what: str
) -> None:
    async with running(folder) as server:
        person = await Reader.sign_up(server)
        await person.connect()
        await person.converse("count 3")
        server.kill()
        await person.client.socket.wait()
    paths = [folder, *below(folder)] if what == "everything" else [folder / what]

    with read_only(*paths):
        done = await asyncio.to_thread(start, folder, *bound_by_rights)

    assert_told(done, "Permission denied" if what == "everything" else "read-only")
    async with running(folder) as server:
        back = Reader(server, person.token)
        await back.connect()
        assert await back.texts() == ["count 3", numbers(3)]
        await back.client.close()


async def test_a_folder_that_becomes_read_only_meanwhile_costs_only_what_needs_it(
    folder: Path, bound_by_rights: tuple[str, ...]
) -> None:
    async with running(folder, bound_by_rights) as server:
        person = await Reader.sign_up(server)
        await person.connect()
        await person.converse("count 3")
        folders = [folder, *(path for path in below(folder) if path.is_dir())]

        with read_only(*folders):
            upload = await person.upload(b"roses are red")
            said = await person.converse("count 4")
        afterwards = await person.upload(b"roses are red")

        assert upload.status_code == 503
        assert upload.json()["code"] == "unavailable"
        # The database is open already: conversations go on.
        assert said["outcome"] == "completed"
        assert afterwards.status_code == 201
        assert await person.texts() == ["count 3", numbers(3), "count 4", numbers(4)]
        await person.client.close()


# -- a second process ------------------------------------------------------------------------------


async def test_a_second_process_is_refused_and_the_first_goes_on(
    server: ServerProcess, reader: Reader, folder: Path
) -> None:
    done = await asyncio.to_thread(start, folder)

    assert_told(done, "another process uses the data folder", "choose another one")
    assert (await reader.converse("count 4"))["outcome"] == "completed"
    assert await reader.texts() == ["count 3", numbers(3), "count 4", numbers(4)]


async def test_the_folder_of_a_killed_process_is_free_at_once(
    server: ServerProcess, reader: Reader, folder: Path
) -> None:
    server.kill()

    async with running(folder) as next_server:
        back = Reader(next_server, reader.token)
        await back.connect()
        texts = await back.texts()
        await back.client.close()

    assert texts == ["count 3", numbers(3)]


# -- wrong settings --------------------------------------------------------------------------------

WRONG: Mapping[str, str] = {
    "PARLOUR_PORT": "eighty",
    "PARLOUR_DATABASE_URL": "mysql://localhost/chat",
    "PARLOUR_LOG_LEVEL": "loud",
    "PARLOUR_MAX_MESSAGE_BYTES": "-1",
    "PARLOUR_ALLOWED_ORIGINS": "example.org",
    "WEBSOCKET_SERVER_PING_INTERVAL": "often",
    "SESSION_EXPIRY_SECONDS": "soon",
}


async def test_every_wrong_setting_is_told_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (tmp_path / ".env").write_text("PARLOUR_WORKERS=none\n")
    (tmp_path / "parlour.toml").write_text('transport = "pigeon"\nno_such_setting = 1\n')

    done = await asyncio.to_thread(start, folder, **WRONG)

    said = done.stderr.lower()
    told = [name.lower().removeprefix("parlour_") for name in WRONG]
    assert_told(done)
    for name in ("workers", "transport", "no_such_setting", *told):
        assert name in said
    assert "data" not in os.listdir(tmp_path)
