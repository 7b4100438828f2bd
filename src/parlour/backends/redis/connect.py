"""Finding Redis: by URL, by Sentinels, or as a Cluster."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError

from parlour.backends.redis.cluster import ClusterRedis, Slots
from parlour.backends.redis.connection import Redis, SingleRedis
from parlour.backends.redis.keys import PARTITIONS, Keys
from parlour.backends.redis.link import Address
from parlour.errors import SettingsError, Unavailable


def connect_redis(
    url: str,
    *,
    prefix: str = "parlour",
    time_limit: float = 5.0,
    sentinels: Sequence[tuple[str, int]] = (),
    cluster: bool = False,
) -> Redis:
    """A client for `redis://[user:password@]host[:port][/database]`, `rediss://…` (TLS;
    `?verify=none` accepts any certificate) or `unix:///path?db=0`.

    With `sentinels` the URL's host is the name of the service that they watch, and the master is
    asked for at every new connection. With `cluster` the URL names any server of a Redis Cluster.
    `time_limit` (seconds) bounds connecting and each answer.
    Raises `SettingsError`.
    """
    address = _parse(url)
    if cluster:
        return ClusterRedis(Slots(address, time_limit), Keys(prefix, PARTITIONS), time_limit)
    resolve = _Sentinels(address, sentinels, time_limit) if sentinels else _Fixed(address)
    return SingleRedis(resolve, Keys(prefix), time_limit)


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
        return replace(self._address, host=host, port=port)


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
