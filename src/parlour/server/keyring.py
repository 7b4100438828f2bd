"""Access tokens: JWTs signed with the newest stored key and read with any that is not too old.

A key is named by `kid`. Rotation adds one; a replaced key goes on verifying for as long as a token
may live that it signed, and not longer, so that a key which leaked is worthless after that.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import jwt

from parlour.errors import TokenExpired, Unauthenticated
from parlour.ports import Clock, UserStore

ALGORITHM: Final = "HS256"
KEY_BYTES: Final = 32
LONGEST_TOKEN: Final = 4096
RELOAD_MS: Final = 1_000
"""Unknown key ids make the keys be read again at most this often: strangers can send any `kid`."""
FRESH_MS: Final = 60_000
"""Keys are read again before signing after this long: another process may have rotated them."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says; times are milliseconds since 1970 UTC."""

    user_id: str
    jti: str
    issued_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class _Key:
    kid: str
    secret: bytes
    created_at: int
    replaced_at: int | None


class Keyring:
    """Signs and reads tokens with the keys of the store. `ttl_ms` is the longest life of a token
    that a replaced key still vouches for."""

    def __init__(self, users: UserStore, clock: Clock, ttl_ms: int) -> None:
        self._users = users
        self._clock = clock
        self._ttl_ms = ttl_ms
        self._keys: dict[str, _Key] = {}
        self._newest: _Key | None = None
        self._read_at: int | None = None

    async def rotate(self) -> str:
        """Add a key, which signs from now on; gives back its id."""
        await self._read()
        kid = secrets.token_hex(8)
        newest = self._newest.created_at if self._newest else 0
        created_at = max(self._clock.now_ms(), newest + 1)
        await self._users.add_signing_key(kid, secrets.token_bytes(KEY_BYTES), created_at)
        await self._read()
        return kid

    async def sign(self, claims: Claims) -> str:
        key = await self._signing_key()
        payload = {
            "sub": claims.user_id,
            "jti": claims.jti,
            "iat": claims.issued_at / 1000,
            "exp": claims.expires_at / 1000,
        }
        return jwt.encode(payload, key.secret, algorithm=ALGORITHM, headers={"kid": key.kid})

    async def read(self, token: str) -> Claims:
        """Verify signature and time. Raises `Unauthenticated` or `TokenExpired`."""
        key = await self._key(_kid(token))
        now = self._clock.now_ms()
        if key is None or (key.replaced_at is not None and now >= key.replaced_at + self._ttl_ms):
            raise Unauthenticated("The token is not one of this server.")
        claims = _decode(token, key.secret)
        if claims.expires_at <= now:
            raise TokenExpired("The token has expired; sign in again.")
        return claims

    async def _signing_key(self) -> _Key:
        if self._read_at is None or self._clock.now_ms() - self._read_at >= FRESH_MS:
            await self._read()
        if self._newest is None:
            await self.rotate()
        if self._newest is None:  # the store took a key and does not give it back
            raise Unauthenticated("There is no key to sign with.")
        return self._newest

    async def _key(self, kid: str) -> _Key | None:
        if kid not in self._keys and self._may_read():
            await self._read()
        return self._keys.get(kid)

    def _may_read(self) -> bool:
        return self._read_at is None or self._clock.now_ms() - self._read_at >= RELOAD_MS

    async def _read(self) -> None:
        stored = await self._users.signing_keys()
        self._read_at = self._clock.now_ms()
        self._keys = {key.kid: key for key in _linked(stored)}
        self._newest = next(iter(self._keys.values()), None)


def _linked(stored: Sequence[tuple[str, bytes, int]]) -> list[_Key]:
    """Newest first; each knows when the next newer one replaced it."""
    keys: list[_Key] = []
    for kid, secret, created_at in stored:
        replaced_at = keys[-1].created_at if keys else None
        keys.append(_Key(kid, secret, created_at, replaced_at))
    return keys


def _kid(token: str) -> str:
    if len(token) > LONGEST_TOKEN:
        raise Unauthenticated("The token is not one of this server.")
    try:
        return _kid_of(token.partition(".")[0])
    except jwt.InvalidTokenError:
        raise Unauthenticated("The token is not one of this server.") from None


@lru_cache(maxsize=64)
def _kid_of(header: str) -> str:
    """The key that a token's header names. All tokens of one key begin alike, and strangers, who send any
    header, only push others out."""
    kid = jwt.get_unverified_header(f"{header}.e30.").get("kid")
    return kid if isinstance(kid, str) else ""


def _decode(token: str, secret: bytes) -> Claims:
    """Times are compared by the caller, with the injected clock."""
    try:
        payload: dict[str, Any] = jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            options={
                "require": ["sub", "jti", "iat", "exp"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
        return Claims(
            user_id=str(payload["sub"]),
            jti=str(payload["jti"]),
            issued_at=round(float(payload["iat"]) * 1000),
            expires_at=round(float(payload["exp"]) * 1000),
        )
    except (jwt.InvalidTokenError, TypeError, ValueError, OverflowError):
        raise Unauthenticated("The token is not one of this server.") from None
