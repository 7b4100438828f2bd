"""Where a workspace's processes run: inside bubblewrap where this machine can, else with limits alone.

| | bubblewrap | without |
| --- | --- | --- |
| sees | its workspace, the system read-only | every file that its user may read |
| network | none | the server's |
| processes | a namespace of its own, gone with it | found as descendants and by user |

A server that runs as root gives each workspace a user of its own in both cases, so one workspace cannot
read another's files and the limit of processes counts one workspace. A server that runs as anybody else
cannot; then without bubblewrap workspaces are not protected from each other, nor the server's files from
them, and that is said in the log.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import structlog

from parlour.agents.errors import RuntimeUnavailable

log = structlog.get_logger(__name__)

Choice = Literal["auto", "bubblewrap", "none"]

INSIDE: Final = "/workspace"
"""Where the sandbox shows the workspace."""

KEEPER: Final = Path(__file__).with_name("keeper")
KEEPER_INSIDE: Final = "/run/parlour/keeper"
START: Final = "import sys; sys.path.insert(0, sys.argv[1]); from keeper.main import main; main()"

FIRST_USER: Final = 1_900_000_000
USERS: Final = 100_000_000
"""Ids for workspaces' users: above what distributions, containers and service managers give out, below
2**31."""

PROBE_S: Final = 30.0

SYSTEM: Final = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
CONFIGURATION: Final = (
    *("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types"),
    *("ssl/certs", "ssl/openssl.cnf", "ca-certificates", "nsswitch.conf", "protocols", "services"),
    *("python3", "python3.11", "java", "perl", "terminfo", "magic"),
)
"""What programs need of /etc; the rest of it is nobody's business in a workspace."""

NETWORK: Final = ("resolv.conf", "hosts", "host.conf", "gai.conf")


@dataclass(frozen=True, slots=True)
class Sandbox:
    """How processes of a workspace are started. `program` is bubblewrap's; None is without."""

    program: str | None
    network: bool = False

    @property
    def confines(self) -> bool:
        return self.program is not None

    def folder(self, workspace: Path) -> str:
        """The workspace's path as its processes see it."""
        return INSIDE if self.confines else str(workspace)

    def made_files(self, user: int | None) -> dict[str, str]:
        """Files of the system that the sandbox has instead of the machine's."""
        if not self.confines:
            return {}
        uid = os.geteuid() if user is None else user
        gid = os.getegid() if user is None else user
        files = {
            "/etc/passwd": f"agent:x:{uid}:{gid}:agent:{INSIDE}:/bin/bash\n",
            "/etc/group": f"agent:x:{gid}:\n",
        }
        if not self.network:
            files["/etc/hosts"] = "127.0.0.1 localhost workspace\n::1 localhost\n"
        return files

    def command(
        self, workspace: Path, python: str, made_files: Mapping[str, int], tmp: int
    ) -> list[str]:
        """What starts the keeper. `made_files` names descriptors that hold them; `tmp` is the size of
        /tmp in bytes."""
        if self.program is None:
            return [*_start(python), str(KEEPER.parent)]
        return [
            *_namespaces(self.program, self.network),
            *_system(python, self.network),
            *(
                word
                for path, fd in made_files.items()
                for word in ("--perms", "0644", "--ro-bind-data", str(fd), path)
            ),
            *("--size", str(tmp), "--perms", "1777", "--tmpfs", "/tmp"),
            *("--size", str(tmp), "--perms", "1777", "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),
            *("--ro-bind", str(KEEPER), KEEPER_INSIDE),
            *("--bind", str(workspace), INSIDE, "--remount-ro", "/"),
            *(*_start(python), str(Path(KEEPER_INSIDE).parent)),
        ]


def _start(python: str) -> list[str]:
    """Nothing but the keeper and the standard library, and no bytecode is written."""
    return [python, "-I", "-S", "-B", "-c", START]


def workspace_user(root: Path) -> int | None:
    """The user of a workspace: one of its own where the server may choose (root), else None. A folder that has
    one already keeps it, wherever it was moved to."""
    if os.geteuid() != 0:
        return None
    with suppress(OSError):
        owner = root.stat(follow_symlinks=False).st_uid
        if FIRST_USER <= owner < FIRST_USER + USERS:
            return owner
    digest = hashlib.sha256(str(root).encode()).digest()
    return FIRST_USER + int.from_bytes(digest[:8], "big") % USERS


def choose_sandbox(choice: Choice = "auto", *, network: bool = False) -> Sandbox:
    """Bubblewrap if it is wanted and works here; says in the log what is used. Blocks for the time of one
    short process at the first call. Raises `RuntimeUnavailable` where it is demanded and cannot be had."""
    problem = "it is switched off by the setting agent_sandbox"
    if choice != "none":
        program = shutil.which("bwrap")
        problem = "bwrap is not installed" if program is None else _probe(program)
        if program is not None and not problem:
            _say_confined(network)
            return Sandbox(program, network)
    if choice == "bubblewrap":
        raise RuntimeUnavailable(f"Bubblewrap cannot be used: {problem}.")
    _say_weak(problem)
    return Sandbox(None, network=True)


@functools.cache
def _say_confined(network: bool) -> None:
    log.info("workspaces run inside bubblewrap", network="host" if network else "none")


@functools.cache
def _say_weak(problem: str) -> None:
    separate = os.geteuid() == 0
    log.warning(
        "workspaces run without bubblewrap: commands have the network and see the whole file system"
        + (", each as a user of its own" if separate else ", with the rights of the server itself"),
        reason=problem,
        remedy="install bubblewrap and allow user namespaces, or set agent_sandbox = bubblewrap to refuse",
    )


@functools.cache
def _probe(program: str) -> str:
    """Whether this machine lets bubblewrap work; the reason where it does not (containers often forbid the
    namespaces)."""
    command = [*_namespaces(program, False), *_system(sys.executable, False), "true"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.decode(errors="replace").strip()[:300]


def _namespaces(program: str, network: bool) -> list[str]:
    command = [program, "--die-with-parent", "--clearenv", "--hostname", "workspace"]
    command += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if not network:
        command.append("--unshare-net")
    if os.geteuid() == 0:
        # Without a user namespace: the keeper becomes the workspace's user, whose processes the kernel
        # counts; root's it never does.
        command += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command.append("--unshare-user")
    return command


def _system(python: str, network: bool) -> list[str]:
    """The system, read-only; a Python that lives elsewhere at its own place."""
    binds = ["--ro-bind", "/usr", "/usr"]
    for folder in SYSTEM:
        if os.path.islink(folder):
            binds += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            binds += ["--ro-bind", folder, folder]
    names = CONFIGURATION + (NETWORK if network else ())
    prefixes = _prefixes(python)
    # Made beforehand, because folders that a bind needs above it are otherwise closed to all but root.
    for folder in _above(*prefixes, *(f"/etc/{name}" for name in names)):
        binds += ["--perms", "0755", "--dir", folder]
    for name in names:
        binds += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for prefix in prefixes:
        binds += ["--ro-bind", prefix, prefix]
    return [*binds, "--proc", "/proc", "--dev", "/dev"]


def _above(*paths: str) -> list[str]:
    """The folders above these, the upper first."""
    folders = {str(folder) for path in paths for folder in Path(path).parents}
    return sorted(folders - {"/"})


def _prefixes(python: str) -> list[str]:
    """Folders that hold this Python and its libraries, where they are not the system's."""
    found = [str(Path(python).parent.parent)]
    real = str(Path(python).resolve().parent.parent)
    if real not in found:
        found.append(real)
    return [prefix for prefix in found if prefix != "/" and not prefix.startswith("/usr")]


def choose_python(sandbox: Sandbox, wanted: str = "") -> str:
    """The interpreter for the keeper and the cells: the one that is wanted, else the one below the server's
    environment, else the system's, whichever a workspace's user can reach."""
    base: str = getattr(sys, "_base_executable", "") or sys.executable
    candidates = [wanted] if wanted else [base, "/usr/bin/python3"]
    for candidate in candidates:
        near = sandbox.confines or os.geteuid() != 0 or reachable(Path(candidate).resolve())
        if near and os.access(candidate, os.X_OK):
            return candidate
    raise RuntimeUnavailable(f"No Python for workspaces: {' and '.join(candidates)} cannot be run.")


def reachable(path: Path) -> bool:
    """Whether any user may get to it: every folder above is open."""
    return all(parent.stat().st_mode & 0o001 for parent in path.parents)
