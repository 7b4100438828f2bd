"""Which peers may say on whose behalf they connect.

The ASGI path gets this from the server's own middleware; a connection that never becomes an ASGI
request needs the same rule: of `X-Forwarded-For` the last address that is not a trusted proxy
counts."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class TrustedProxies:
    """`trusted` are addresses, networks, names of local sockets, or `*` for every peer."""

    __slots__ = ("_all", "_names", "_networks")

    def __init__(self, trusted: str | Iterable[str]) -> None:
        items = trusted.split(",") if isinstance(trusted, str) else trusted
        words = {word.strip() for word in items if word.strip()}
        self._all = "*" in words
        self._networks: list[Network] = []
        self._names: set[str] = set()
        for word in words - {"*"}:
            try:
                self._networks.append(ipaddress.ip_network(word, strict=False))
            except ValueError:
                self._names.add(word)

    def trusts(self, host: str) -> bool:
        if self._all or host in self._names:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def resolve(self, peer: str, secure: bool, headers: Mapping[str, str]) -> tuple[str, bool]:
        """The client's address and whether it came over TLS."""
        forwarded = headers.get("x-forwarded-for")
        scheme = headers.get("x-forwarded-proto")
        if (forwarded is None and scheme is None) or not self.trusts(peer):
            return peer, secure
        if scheme is not None:
            secure = scheme.split(",")[-1].strip() in ("https", "wss")
        return (peer if forwarded is None else self._client(forwarded) or peer), secure

    def _client(self, forwarded: str) -> str:
        hosts = [_host(part.strip()) for part in forwarded.split(",")]
        if self._all:
            return hosts[0]
        for host in reversed(hosts):
            if not self.trusts(host):
                return host
        return hosts[0]


def _host(text: str) -> str:
    """An address without its port: `1.2.3.4:5`, `[::1]:5`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
