"""What is particular to the runtime on this machine: its choice of a sandbox, and deaths."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from parlour.agents.errors import RuntimeUnavailable
from parlour.agents.runtime import LocalRuntime, local_runtimes, sandbox
from parlour.agents.runtime.sandbox import choose_sandbox, workspace_user
from parlour.config import Settings
from parlour.errors import InvalidPayload
from parlour.testing.contracts.making import until

LONG_S = 60.0
LEFT = "1234567"
"""Seconds of a sleep that no other process sleeps; it names what must not be left behind."""

SERVER = """
import asyncio, sys
from pathlib import Path
from parlour.agents.runtime import LocalRuntime

async def main():
    runtime = LocalRuntime("s", Path(sys.argv[1]), sandbox=sys.argv[2])
    await runtime.open()
    await runtime.run(f"sleep {sys.argv[3]} & (setsid nohup sleep {sys.argv[3]} &)", timeout_s=60)
    print("ready", flush=True)
    await runtime.run(f"sleep {sys.argv[3]}", timeout_s=600)

asyncio.run(main())
"""

BUBBLEWRAP = pytest.param(
    "bubblewrap",
    marks=pytest.mark.skipif(
        not any(Path(folder, "bwrap").exists() for folder in os.get_exec_path()),
        reason="bwrap is not installed",
    ),
)


def sleeping(seconds: str) -> list[int]:
    """Who sleeps so long, in whatever namespace."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().split(b"\0")
                if words[:2] == [b"sleep", seconds.encode()]:
                    found.append(int(process.name))
    return found


async def until_sleeping(seconds: str, count: int) -> None:
    """Wait until there are exactly so many."""

    async def counted() -> bool:
        return len(sleeping(seconds)) == count

    await until(counted, LONG_S)


@pytest.fixture
def nothing_said() -> None:
    """As in a new process, which has not told yet how workspaces run."""
    for said in (sandbox._say_weak, sandbox._say_confined):
        said.cache_clear()


# -- the sandbox -----------------------------------------------------------------------------------


@pytest.fixture
def no_bubblewrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("nothing_said", "no_bubblewrap")
def test_without_bubblewrap_the_log_says_what_is_weaker_once() -> None:
    with capture_logs() as logs:
        chosen = [choose_sandbox("auto") for _ in range(3)]

    assert not any(one.confines for one in chosen)
    assert len(logs) == 1
    assert logs[0]["log_level"] == "warning"
    assert "network" in logs[0]["event"]
    assert logs[0]["reason"] == "bwrap is not installed"
    assert "install bubblewrap" in logs[0]["remedy"]


@pytest.mark.usefixtures("no_bubblewrap")
async def test_a_sandbox_that_is_demanded_and_missing_is_an_error(workspaces: Path) -> None:
    runtime = LocalRuntime("s", workspaces, sandbox="bubblewrap")

    with pytest.raises(RuntimeUnavailable, match="bwrap is not installed"):
        await runtime.open()

    assert os.listdir(workspaces) == []


@pytest.mark.usefixtures("nothing_said")
def test_a_bubblewrap_that_cannot_work_here_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'No permission for namespaces' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    with capture_logs() as logs:
        chosen = choose_sandbox("auto")

    assert not chosen.confines
    assert logs[0]["reason"] == "No permission for namespaces"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_a_folder_that_a_workspace_s_user_cannot_reach_is_told(workspaces: Path) -> None:
    os.chmod(workspaces, 0o700)
    runtime = LocalRuntime("s", workspaces, sandbox="none")

    with pytest.raises(RuntimeUnavailable, match="chmod o"):
        await runtime.open()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_workspaces_have_users_of_their_own(tmp_path: Path) -> None:
    users = {workspace_user(tmp_path / str(n)) for n in range(100)}

    assert len(users) == 100
    assert all(user is not None and user > 2**30 for user in users)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_a_workspace_that_was_moved_keeps_its_user(workspaces: Path) -> None:
    before = LocalRuntime("s", workspaces / "a")
    await before.open()
    await before.run("echo kept > file", timeout_s=LONG_S)
    await before.close()
    os.rename(workspaces / "a", workspaces / "b")

    after = LocalRuntime("s", workspaces / "b")
    await after.open()
    result = await after.run("echo more >> file; cat file", timeout_s=LONG_S)
    await after.close()

    assert result.output == "kept\nmore\n"


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 200, "a\0"])
def test_an_id_that_is_no_folder_s_name_is_refused(workspaces: Path, name: str) -> None:
    with pytest.raises(InvalidPayload):
        LocalRuntime(name, workspaces)


def test_the_settings_say_where_workspaces_are(tmp_path: Path) -> None:
    standard = local_runtimes(Settings(data_folder=tmp_path))("s")
    elsewhere = local_runtimes(Settings(data_folder=tmp_path, agent_workspaces=tmp_path / "else"))(
        "s"
    )

    assert isinstance(standard, LocalRuntime)
    assert isinstance(elsewhere, LocalRuntime)
    assert standard.folder == tmp_path / "workspaces" / "s"
    assert elsewhere.folder == tmp_path / "else" / "s"


# -- life and death --------------------------------------------------------------------------------


async def test_a_session_that_only_talks_costs_no_process_and_no_thread(workspaces: Path) -> None:
    first = LocalRuntime("first", workspaces)
    await first.open()
    threads, children = threading.active_count(), _children()

    runtimes = [LocalRuntime(f"s{n}", workspaces) for n in range(100)]
    for runtime in runtimes:
        await runtime.open()

    assert _children() == children
    # Opening looks at the disk in a thread of the shared pool.
    assert threading.active_count() <= threads + (os.cpu_count() or 1) + 4
    for runtime in (first, *runtimes):
        await runtime.close()


def _children() -> int:
    return len(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())


async def test_a_closed_runtime_can_be_opened_again(workspaces: Path) -> None:
    runtime = LocalRuntime("s", workspaces)
    await runtime.open()
    await runtime.run("echo kept > file; gone=1", timeout_s=LONG_S)
    await runtime.close()

    await runtime.open()
    result = await runtime.run("cat file; echo $gone", timeout_s=LONG_S)
    await runtime.close()

    assert result.output == "kept\n\n"


@pytest.mark.parametrize("kind", [BUBBLEWRAP, "none"])
async def test_nothing_outlives_the_server(workspaces: Path, kind: str) -> None:
    seconds = f"{LEFT}{len(kind)}"
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVER, str(workspaces), kind, seconds),
        stdout=asyncio.subprocess.PIPE,
    )
    assert server.stdout is not None
    while await server.stdout.readline() != b"ready\n":
        assert not server.stdout.at_eof()
    await until_sleeping(seconds, 3)

    server.kill()
    await server.wait()

    await until_sleeping(seconds, 0)
    assert server.returncode == -signal.SIGKILL


@pytest.mark.parametrize("kind", [BUBBLEWRAP, "none"])
async def test_nothing_outlives_a_keeper_that_was_killed(workspaces: Path, kind: str) -> None:
    seconds = f"{LEFT}9{len(kind)}"
    runtime = LocalRuntime("s", workspaces, sandbox=kind)  # type: ignore[arg-type]
    await runtime.open()
    await runtime.run(f"(setsid nohup sleep {seconds} > /dev/null &)", timeout_s=LONG_S)
    await until_sleeping(seconds, 1)
    assert runtime._link is not None
    assert runtime._link._process is not None

    os.kill(runtime._link._process.pid, signal.SIGKILL)
    again = await runtime.run("echo well", timeout_s=LONG_S)
    await runtime.close()

    await until_sleeping(seconds, 0)
    # It may have been answered by the shell that was about to end.
    assert "well\n" in again.output or again.exit_code == 137
