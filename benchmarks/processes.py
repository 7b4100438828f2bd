"""Servers and the load generator as processes, pinned, with what they used of their core."""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
PEERS = HERE / "peers"
SECRET = "benchmark-secret-of-32-characters"
TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 60
INSTALL_SECONDS = 180
LOAD_SECONDS = 150
"""A load generator that takes longer has lost its server."""


class BenchmarkError(Exception):
    """One measurement is not possible; the others go on."""


@cache
def compiled(name: str) -> Path:
    """A program of `native/`, compiled once per run. Raises SystemExit where there is no
    compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise SystemExit("the load generator needs a C compiler: apt-get install gcc")
    target = Path(tempfile.mkdtemp(prefix="parlour-bench-")) / name
    source = HERE / "native" / f"{name}.c"
    command = [compiler, "-O2", "-D_GNU_SOURCE", "-o", str(target), str(source)]
    subprocess.run(command, check=True)
    return target


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pinned(core: int, command: list[str]) -> list[str]:
    """The command on one core, where there is more than one."""
    if (os.cpu_count() or 1) < 2 or shutil.which("taskset") is None:
        return command
    return ["taskset", "-c", str(core), *command]


@dataclass
class Usage:
    """What a process has used so far."""

    cpu: float
    rss_kib: int


def usage(pid: int) -> Usage:
    """From /proc: CPU seconds of all its threads, resident memory in KiB."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Usage(
        (int(fields[11]) + int(fields[12])) / TICKS, pages * os.sysconf("SC_PAGE_SIZE") // 1024
    )


@dataclass
class Peer:
    """A server that runs."""

    name: str
    pid: int
    port: int
    path: str
    token: str = ""

    @property
    def options(self) -> dict[str, str]:
        """For the load generator."""
        auth = json.dumps({"token": self.token}) if self.token else ""
        return {"port": str(self.port), "path": self.path, "auth": auth}


def peer_command(name: str, port: int, text: str, shared: bool = False) -> list[str]:
    """How each server of the comparison is started. `parlour_stored` keeps what it sends in
    SQLite."""
    python = sys.executable
    if name.startswith("parlour"):
        transport = "asgi" if name == "parlour_asgi" else "fast"
        durability = "stored" if name == "parlour_stored" else "hot" if shared else "memory"
        module = [python, "-m", "benchmarks.peers.parlour_server"]
        return [*module, str(port), transport, text, durability]
    if name == "python_socketio":
        return [python, str(PEERS / "python_socketio_server.py"), str(port), SECRET, text]
    if name == "node_socketio":
        return ["node", str(PEERS / "socketio_server.mjs"), str(port), SECRET, text]
    if name == "c_floor":
        return [str(compiled("floor")), str(port), floor_event(text)]
    raise ValueError(name)


def floor_event(text: str) -> str:
    """The packet that the C server sends, of the size that the others send."""
    data = {"type": "message:delta", "data": {"id": "m1", "text": text}}
    event = {"chat_id": "thread:bench-r0", "message_id": "m1", "data": data, "offset": 123456}
    return "42" + json.dumps(["events", event], separators=(",", ":"))


def prepare(names: list[str]) -> list[str]:
    """Compile and install what the chosen servers need; gives back those that can run here. Nothing
    is measured yet. Raises SystemExit where Parlour's own part is missing."""
    raise_open_files()
    compiled("load")
    return [name for name in names if _can_run(name)]


def _can_run(name: str) -> bool:
    if name == "c_floor":
        compiled("floor")
    elif name == "node_socketio":
        return _node_is_there()
    elif name == "python_socketio" and importlib.util.find_spec("socketio") is None:
        return _left_out(name, "python-socketio is not installed")
    return True


def _node_is_there() -> bool:
    if shutil.which("node") is None or shutil.which("npm") is None:
        return _left_out("node_socketio", "there is no Node.js")
    if (PEERS / "node_modules" / "socket.io").exists():
        return True
    try:
        subprocess.run(["npm", "ci", "--silent"], cwd=PEERS, check=True, timeout=INSTALL_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        return _left_out("node_socketio", str(error))
    return True


def _left_out(name: str, why: str) -> bool:
    print(f"{name} is left out: {why}", file=sys.stderr)
    return False


def raise_open_files() -> int:
    """As many open files as this process and its children may have; gives back how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


@contextmanager
def serving(
    name: str, text: str = "token", core: int = 0, stores: Sequence[str] = ()
) -> Iterator[Peer]:
    """Start a server, wait until it accepts, and end it. `stores` are the URLs of Redis and, for
    Parlour, of PostgreSQL."""
    port = free_port()
    process = subprocess.Popen(
        pinned(core, [*peer_command(name, port, text, bool(stores)), *stores]),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    )
    try:
        said = {} if name == "c_floor" else _first_line(process)
        _wait_for(port, process)
        path = "/ws/socket.io/" if name.startswith("parlour") else "/socket.io/"
        token = said.get("token") or _peer_token()
        yield Peer(name, process.pid, port, path, token)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _first_line(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    end = time.monotonic() + START_SECONDS
    while select.select([process.stdout], [], [], max(0, end - time.monotonic()))[0]:
        line = process.stdout.readline()
        if line.startswith(b"{"):
            return dict(json.loads(line))
        if not line:
            break
    raise BenchmarkError(f"a server was not ready in time: {process.args}")


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise BenchmarkError(f"a server does not accept connections: {process.args}")


def _peer_token() -> str:
    import jwt

    claims = {"sub": "bench", "exp": int(time.time()) + 3600}
    return jwt.encode(claims, SECRET, algorithm="HS256")


def load_command(mode: str, peer: Peer, **options: Any) -> list[str]:
    merged = {**peer.options, **options}
    return pinned(1, [str(compiled("load")), mode, *(f"{k}={v}" for k, v in merged.items())])


def run_load(mode: str, peer: Peer, **options: Any) -> dict[str, float]:
    """One run of the load generator: what it printed. `server_cpu` and `load_cpu` are shares of a
    core while it measured."""
    command = load_command(mode, peer, **({"pids": peer.pid} | options))
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=LOAD_SECONDS)
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{peer.name}: the load generator did not end") from None
    if done.returncode:
        raise BenchmarkError(f"{peer.name}: the load generator failed")
    result: dict[str, float] = json.loads(done.stdout)
    return result


@contextmanager
def idle_clients(peer: Peer, count: int, **options: Any) -> Iterator[float]:
    """Keep connections open; gives connects per second."""
    process = subprocess.Popen(
        load_command("idle", peer, clients=count, **options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise BenchmarkError(f"{peer.name}: not all clients could connect")
        yield float(json.loads(line)["connects"])
    finally:
        process.kill()
        process.wait()
