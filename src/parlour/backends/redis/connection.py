"""Redis as the backends use it: found by URL or Sentinel, with a time limit on everything.

redis = connect_redis("redis://127.0.0.1:6379/0")
answer = await redis.run(script("append"), keys, values)
await redis.close()
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError

from parlour.backends.redis.errors import is_demoted, translate
from parlour.backends.redis.link import Address, Link, Resolve, Wire, Word
from parlour.backends.redis.scripts import Script, all_scripts
from parlour.errors import SettingsError, Unavailable


class Redis:
    """Commands and scripts on the current master. Made by `connect_redis`; connects at first
    use."""

    def __init__(self, resolve: Resolve, *, prefix: str, time_limit: float) -> None:
        self.prefix = prefix
        self.time_limit = time_limit
        self.resolve = resolve
        self._link = Link(resolve, time_limit, [one.text for one in all_scripts()])

    async def call(self, *command: Word) -> Any:
        """One command. Raises `Unavailable`."""
        try:
            return await self._link.call(*command)
        except hiredis.ReplyError as error:
            raise self._refused(error) from error

    async def run(self, script: Script, keys: Sequence[str], values: Sequence[Word]) -> Any:
        """One script. Raises `Unavailable`."""
        return await self.run_with(script, keys, lambda run_id: values)

    async def run_with(
        self, script: Script, keys: Sequence[str], values: Callable[[str], Sequence[Word]]
    ) -> Any:
        """As `run`; `values` is called with the run_id of the very server that will get them."""
        try:
            wire = await self._link.wire()
            return await self._evaluate(wire, script, keys, values(wire.run_id))
        except hiredis.ReplyError as error:
            raise self._refused(error) from error

    async def _evaluate(
        self, wire: Wire, script: Script, keys: Sequence[str], values: Sequence[Word]
    ) -> Any:
        try:
            command = ("EVALSHA", script.sha, len(keys), *keys, *values)
            return await self._link.send(wire, command)
        except hiredis.ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
            # Somebody flushed the server's scripts. EVAL brings this one back.
            return await self._link.send(wire, ("EVAL", script.text, len(keys), *keys, *values))

    def _refused(self, error: hiredis.ReplyError) -> Exception:
        if is_demoted(error):
            self._link.give_up("this Redis server has become a replica")
        return translate(error)

    async def close(self) -> None:
        """Idempotent."""
        await self._link.close()


def connect_redis(
    url: str,
    *,
    prefix: str = "parlour",
    time_limit: float = 5.0,
    sentinels: Sequence[tuple[str, int]] = (),
) -> Redis:
    """A client for `redis://[user:password@]host[:port][/database]`, `rediss://…` (TLS;
    `?verify=none` accepts any certificate) or `unix:///path?db=0`.

    With `sentinels` the URL's host is the name of the service that they watch, and the master is
    asked for at every new connection. `time_limit` (seconds) bounds connecting and each answer.
    Raises `SettingsError`.
    """
    address = _parse(url)
    resolve: Resolve = _Sentinels(address, sentinels, time_limit) if sentinels else _Fixed(address)
    return Redis(resolve, prefix=prefix, time_limit=time_limit)


class _Fixed:
    def __init__(self, address: Address) -> None:
        self._address = address

    async def __call__(self) -> Address:
        return self._address


class _Sentinels:
    """Asks the sentinels who is master now."""

    def __init__(
        self, address: Address, sentinels: Sequence[tuple[str, int]], time_limit: float
    ) -> None:
        self._address = address
        self._hosts = list(sentinels)
        self._time_limit = time_limit

    async def __call__(self) -> Address:
        sentinel = Sentinel(  # type: ignore[no-untyped-call]
            self._hosts,
            sentinel_kwargs={
                "socket_timeout": self._time_limit,
                "socket_connect_timeout": self._time_limit,
            },
        )
        try:
            host, port = await sentinel.discover_master(self._address.host)
        except (TimeoutError, RedisError, OSError) as error:
            raise Unavailable(f"no sentinel names a master: {error}") from error
        finally:
            for one in sentinel.sentinels:
                await one.aclose()
        old = self._address
        return Address(host, port, None, old.username, old.password, old.database, old.tls)


def _parse(url: str) -> Address:
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise SettingsError(["the Redis URL must begin with redis://, rediss:// or unix://"])
    options = parse_qs(parts.query)
    try:
        port = parts.port or 6379
        path = parts.path.strip("/")
        database = int(options.get("db", ["0"])[0])
        if parts.scheme != "unix" and path:
            database = int(path)
    except ValueError as error:
        raise SettingsError(["the Redis URL has a bad port or database number"]) from error
    return Address(
        host=parts.hostname or "127.0.0.1",
        port=port,
        path=parts.path if parts.scheme == "unix" else None,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        database=database,
        tls=_tls(options) if parts.scheme == "rediss" else None,
    )


def _tls(options: dict[str, list[str]]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if options.get("verify") == ["none"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
