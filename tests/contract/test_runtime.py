"""The runtime on this machine keeps its contract, in bubblewrap and without."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from parlour.agents.errors import RuntimeUnavailable
from parlour.agents.ports import Runtime, RuntimeFactory
from parlour.agents.runtime import LocalRuntime, RuntimeLimits
from parlour.agents.runtime.sandbox import Choice, choose_sandbox
from parlour.testing.contracts.runtime import Bounds, RuntimeContract, opened

LIMITS = RuntimeLimits(
    output_bytes=50_000,
    processes=64,
    read_bytes=100_000,
    memory_bytes=2_000_000_000,
    file_bytes=5_000_000,
    temporary_bytes=4_000_000,
)


@pytest.fixture(scope="module")
def workspaces() -> Iterator[Path]:
    """A folder that workspaces' users can pass through; pytest's own is closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="parlour-workspaces-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def count_of(runtime: Runtime) -> int:
    """Processes whose folder or root is the workspace, or that have its user."""
    assert isinstance(runtime, LocalRuntime)
    status = runtime.folder.stat()
    own_user = status.st_uid != os.geteuid()
    found = 0
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                found += _belongs(process, runtime.folder, status.st_uid if own_user else None)
    return found


def _belongs(process: Path, folder: Path, user: int | None) -> bool:
    if (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[0] in "ZX":
        return False
    if user is not None:
        return process.stat().st_uid == user
    with contextlib.suppress(OSError):
        return os.stat(process / "cwd").st_ino == folder.stat().st_ino
    return False


def missing(reason: str) -> NoReturn:
    """As with the servers: where everything must be there (CI), it fails."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class LocalContract(RuntimeContract):
    choice: Choice

    @pytest.fixture
    def bounds(self) -> Bounds:
        return Bounds(LIMITS.output_bytes, LIMITS.read_bytes, LIMITS.file_bytes, LIMITS.processes)

    @pytest.fixture
    def count_processes(self) -> Callable[[Runtime], int]:
        return count_of

    @pytest.fixture
    async def make(self, workspaces: Path) -> RuntimeFactory:
        return lambda name: LocalRuntime(name, workspaces, limits=LIMITS, sandbox=self.choice)


class TestInBubblewrap(LocalContract):
    choice = "bubblewrap"

    @pytest.fixture(autouse=True)
    def usable(self) -> None:
        try:
            choose_sandbox("bubblewrap")
        except RuntimeUnavailable as error:
            missing(str(error))

    async def test_there_is_no_network(self, runtime: Runtime) -> None:
        result = await runtime.run("cat /proc/net/dev | grep -c :", timeout_s=60)

        assert result.output == "1\n"

    async def test_temporary_files_are_its_own_and_bounded(
        self, make: RuntimeFactory, runtime: Runtime
    ) -> None:
        filled = await runtime.run("head -c 4900000 /dev/zero > /tmp/x; echo $?", timeout_s=60)
        async with opened(make) as other:
            seen = await other.run("ls -A /tmp", timeout_s=60)

        assert filled.output.splitlines()[-1] != "0"
        assert seen.output == ""

    async def test_only_the_workspace_and_temporary_folders_can_be_written(
        self, runtime: Runtime
    ) -> None:
        attempts = "for at in / $(find / -maxdepth 2 -type d -not -path '/proc/*' 2> /dev/null); do"

        result = await runtime.run(
            f"{attempts} touch $at/x 2> /dev/null && echo $at; done", timeout_s=60
        )

        assert set(result.output.split()) == {"/dev/shm", "/tmp", "/workspace"}

    async def test_its_user_has_a_name(self, runtime: Runtime) -> None:
        result = await runtime.run("whoami; echo ~; ls /etc/ssl/certs | grep -c .", timeout_s=60)

        name, home, certificates = result.output.split()
        assert (name, home) == ("agent", "/workspace")
        assert int(certificates) > 0

    async def test_a_server_on_its_own_port_can_be_reached_inside(self, runtime: Runtime) -> None:
        serve = "python3 -m http.server 8765 --bind localhost > /dev/null 2>&1 &"
        fetch = "import urllib.request as u; print(u.urlopen('http://localhost:8765').status)"
        await runtime.run(serve, timeout_s=60)

        result = await runtime.run(
            f'until python3 -c "{fetch}" 2> /dev/null; do sleep 0.2; done', timeout_s=60
        )

        assert result.exit_code == 0
        assert "200\n" in result.output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give workspaces users of their own")
class TestWithoutBubblewrap(LocalContract):
    choice = "none"
    flood_bytes = 50_000_000
