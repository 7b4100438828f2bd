"""Real Redis and PostgreSQL servers for tests: on free ports, in throw-away folders.

    with running_redis() as redis:
        connect(redis.url)

They are started as subprocesses of the test and end with it. `ServerMissing` says which program is
not installed and how to get it; a test suite turns that into a skip, or on CI into a failure.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

START_LIMIT_S = 30.0


class ServerMissing(Exception):
    """A server program is not installed."""


class ServerFailed(Exception):
    """A server did not come up; the message holds its log."""


def free_port() -> int:
    """A TCP port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One server process. Restart it, stop its clock, or kill it as a test needs."""

    def __init__(
        self,
        command: list[str],
        port: int,
        log: Path,
        *,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port
        self._command = command
        self._log = log
        self._user = user
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerFailed("the server does not run")
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until the port answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._user,
                env=None if self._env is None else {**os.environ, **self._env},
            )
        self._await_port(time.monotonic() + START_LIMIT_S)

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End the process (`how` is a signal) and wait for it; nothing when it does not run."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(how)
        try:
            self._process.wait(START_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End the process at once, as a crash does."""
        self.stop(signal.SIGKILL)

    def pause(self) -> None:
        """Stop the process in its tracks (SIGSTOP) until `resume`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _await_port(self, deadline: float) -> None:
        process = self._process
        assert process is not None
        while time.monotonic() < deadline:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
                raise ServerFailed(f"{self._command[0]} ended:\n{self._log.read_text()[-2000:]}")
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), 1.0),
            ):
                return
        self.stop(signal.SIGKILL)
        raise ServerFailed(f"{self._command[0]} did not open port {self.port} in time")


class RedisServer(Server):
    """A Redis server; `url` is what clients connect to."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def lose_data(self) -> None:
        """Crash and come back empty."""
        self.kill()
        for left in ("dump.rdb", "appendonlydir"):
            path = self._log.parent / left
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        self.start()


class PostgresServer(Server):
    """A PostgreSQL server; `url` names its maintenance database, `create_database` makes others."""

    @property
    def url(self) -> str:
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://parlour@127.0.0.1:{self.port}/{database}"

    async def create_database(self, name: str) -> str:
        """Make an empty database (replacing an old one) and give its URL."""
        import asyncpg  # type: ignore[import-untyped]

        connection = await asyncpg.connect(self.url, timeout=START_LIMIT_S)
        try:
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return self.url_of(name)


@contextlib.contextmanager
def running_redis(*options: str) -> Iterator[RedisServer]:
    """A Redis server; `options` are further command line options, for example `--appendonly
    yes`."""
    program = _program("redis-server", "/usr/bin", "/usr/local/bin")
    with tempfile.TemporaryDirectory(prefix="parlour-redis-") as folder:
        port = free_port()
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        command += ["--save", "", "--appendonly", "no", *options]
        server = RedisServer(command, port, Path(folder) / "log")
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def running_redis_cluster(shards: int = 3) -> Iterator[list[RedisServer]]:
    """The masters of a Redis Cluster, each with its share of the slots."""
    with contextlib.ExitStack() as stack:
        servers = []
        for _ in range(shards):
            options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
            options += ["--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no"]
            servers.append(stack.enter_context(running_redis(*options)))
        _join_cluster(servers)
        yield servers


def _join_cluster(servers: list[RedisServer]) -> None:
    command = [_program("redis-cli", "/usr/bin", "/usr/local/bin"), "--cluster", "create"]
    command += [f"127.0.0.1:{server.port}" for server in servers]
    made = subprocess.run(
        [*command, "--cluster-yes"], capture_output=True, check=False, timeout=START_LIMIT_S
    )
    if made.returncode != 0:
        raise ServerFailed(f"the cluster was not made:\n{made.stdout.decode()[-2000:]}")
    deadline = time.monotonic() + START_LIMIT_S
    for server in servers:
        ask = [command[0], "-p", str(server.port), "cluster", "info"]
        while b"cluster_state:ok" not in subprocess.check_output(ask, timeout=START_LIMIT_S):
            if time.monotonic() > deadline:
                raise ServerFailed("the cluster does not become ready")
            time.sleep(0.05)


@contextlib.contextmanager
def running_sentinel(master: RedisServer, service: str = "parlour") -> Iterator[Server]:
    """One Sentinel (quorum 1) that watches `master` under the name `service` and reacts within a
    second."""
    program = _program("redis-server", "/usr/bin", "/usr/local/bin")
    with tempfile.TemporaryDirectory(prefix="parlour-sentinel-") as folder:
        port = free_port()
        config = Path(folder) / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {service} 127.0.0.1 {master.port} 1\n"
            f"sentinel down-after-milliseconds {service} 500\n"
            f"sentinel failover-timeout {service} 3000\n"
        )
        server = Server([program, str(config), "--sentinel"], port, Path(folder) / "log")
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server. It refuses to run as root, so then an unprivileged user owns it."""
    initdb = os.path.realpath(_program("initdb", *_postgres_folders()))
    user = _unprivileged()
    with tempfile.TemporaryDirectory(prefix="parlour-postgres-") as folder:
        _give(Path(folder), user)
        data = Path(folder) / "data"
        _initialise(initdb, data, user)
        port = free_port()
        command = [str(Path(initdb).parent / "postgres"), "-D", str(data), "-p", str(port)]
        command += ["-h", "127.0.0.1", "-k", folder, "-c", "max_connections=60"]
        server = PostgresServer(command, port, Path(folder) / "log", user=user)
        try:
            server.start()
            _await_ready(server, Path(initdb).parent / "pg_isready")
            yield server
        finally:
            server.stop(signal.SIGINT)


def _initialise(initdb: str, data: Path, user: str | None) -> None:
    made = subprocess.run(
        [initdb, "-D", str(data), "-U", "parlour", "-A", "trust", "-E", "UTF8", "--no-sync"],
        capture_output=True,
        user=user,
        check=False,
        cwd=data.parent,
    )
    if made.returncode != 0:
        raise ServerFailed(f"initdb failed:\n{made.stderr.decode(errors='replace')[-2000:]}")


def _await_ready(server: PostgresServer, program: Path) -> None:
    """An open port is not yet a server that takes connections."""
    deadline = time.monotonic() + START_LIMIT_S
    command = [str(program), "-q", "-h", "127.0.0.1", "-p", str(server.port)]
    while subprocess.run(command, check=False).returncode != 0:
        if time.monotonic() > deadline:
            raise ServerFailed("postgres does not take connections")
        time.sleep(0.05)


def _program(name: str, *folders: str) -> str:
    path = os.pathsep.join([*folders, os.environ.get("PATH", "")])
    found = shutil.which(name, path=path)
    if found is None:
        package = "redis-server" if name.startswith("redis") else "postgresql"
        raise ServerMissing(f"{name} is not installed (Debian: apt-get install {package})")
    return found


def _postgres_folders() -> list[str]:
    return [str(one) for one in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]


def _unprivileged() -> str | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise ServerMissing("postgres cannot run as root and there is no unprivileged user")


def _give(folder: Path, user: str | None) -> None:
    if user is not None:
        shutil.chown(folder, user)
