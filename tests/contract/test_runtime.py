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
from parlour.testing.contracts.runtime import Bounds, RuntimeContract

LIMITS = RuntimeLimits(
    output_bytes=50_000, processes=64, read_bytes=100_000, memory_bytes=2_000_000_000
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
        return Bounds(LIMITS.output_bytes, LIMITS.read_bytes, LIMITS.processes)

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

    async def test_there_is_no_network(self, make: RuntimeFactory) -> None:
        runtime = make("network")
        await runtime.open()

        result = await runtime.run("cat /proc/net/dev | grep -c :", timeout_s=60)
        await runtime.close()

        assert result.output == "1\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give workspaces users of their own")
class TestWithoutBubblewrap(LocalContract):
    choice = "none"
    flood_bytes = 50_000_000
