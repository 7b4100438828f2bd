"""What is read from the HTTP request that opens a connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from parlour.server.endpoint import Handshake

Scope = MutableMapping[str, Any]


class LazyMapping(Mapping[str, str]):
    """Names and values kept as the bytes they came in, and read when somebody asks: an idle
    connection holds its handshake for hours and hardly ever looks at it. Where a name comes twice
    the first one counts."""

    __slots__ = ("_raw",)

    def __init__(self, raw: bytes) -> None:
        self._raw: Final = raw

    def _pairs(self) -> Iterable[tuple[str, str]]:
        raise NotImplementedError

    def read(self) -> dict[str, str]:
        """All of it at once, for who needs more than one value."""
        found: dict[str, str] = {}
        for name, value in self._pairs():
            found.setdefault(name, value)
        return found

    def __getitem__(self, key: str) -> str:
        for name, value in self._pairs():
            if name == key:
                return value
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.read())

    def __len__(self) -> int:
        return len(self.read())

    def __repr__(self) -> str:
        # Headers and cookies hold credentials; a log line must not.
        return f"{type(self).__name__}({sorted(self)})"


class Headers(LazyMapping):
    """`name: value` lines; names are given in lower case."""

    __slots__ = ()

    def _pairs(self) -> Iterator[tuple[str, str]]:
        for line in self._raw.decode("latin-1").split("\r\n"):
            name, found, value = line.partition(":")
            if found:
                yield name.strip().lower(), value.strip()


class Query(LazyMapping):
    """An URL's query string."""

    __slots__ = ()

    def _pairs(self) -> list[tuple[str, str]]:
        return parse_qsl(self._raw.decode("latin-1"), keep_blank_values=True, max_num_fields=None)


@lru_cache(maxsize=64)
def query_of(raw: bytes) -> Mapping[str, str]:
    """A query string, read. Nearly all clients connect with the same one, which they share."""
    return MappingProxyType(Query(raw).read())


class Cookies(LazyMapping):
    """The same lines as `Headers`, for what their Cookie header says."""

    __slots__ = ()

    def _pairs(self) -> Iterator[tuple[str, str]]:
        for name, value in Headers(self._raw)._pairs():
            if name == "cookie":
                yield from _cookies(value)


def _cookies(header: str) -> Iterator[tuple[str, str]]:
    for part in header.split(";"):
        name, found, value = part.partition("=")
        if found:
            yield name.strip(), unquote(value.strip().strip('"'))


NO_COOKIES: Final = Cookies(b"")


def read_scope(scope: Scope) -> Handshake:
    """The handshake of an ASGI request, whose client address and scheme the server has corrected
    for trusted proxies already."""
    client = scope.get("client")
    head = b"\r\n".join(name + b":" + value for name, value in scope["headers"])
    return Handshake(
        path=scope["path"],
        query=Query(scope.get("query_string", b"")),
        headers=Headers(head),
        cookies=Cookies(head),
        client=client[0] if client else "",
        secure=scope.get("scheme") in ("https", "wss"),
    )


def origin_allowed(allowed: tuple[str, ...] | None, headers: Mapping[str, str]) -> bool:
    """Whether a page of this origin may connect (see `SocketSettings.allowed_origins`)."""
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        own = urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    except ValueError:
        return False
    if own:
        return True
    return allowed is not None and ("*" in allowed or origin.lower() in allowed)
