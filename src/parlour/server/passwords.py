"""Password hashes: argon2id with the library's current parameters, away from the event loop.

A hash costs tens of milliseconds and 64 MiB by design, so only a few run at once and the queue
before them is bounded; past it people are asked to try again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from parlour.errors import Unavailable

AT_ONCE: Final = 2
WAITING: Final = 64
LONGEST_BYTES: Final = 1024
"""No password may be longer: hashing time must not depend on what a stranger sends."""

T = TypeVar("T")


class Passwords:
    """Hashes and verifies. `hasher` sets the cost; tests pass a cheap one."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._decoy: str | None = None

    async def hash(self, password: str) -> str:
        """Raises `Unavailable` where too many wait."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password fits. With no stored hash the same work is done in vain, so that the
        answer takes as long for a login that nobody has."""
        return await self._run(lambda: self._verify(stored, password))

    def is_stale(self, stored: str) -> bool:
        """Whether the parameters changed since: then hash again, now that the password is known."""
        return self._hasher.check_needs_rehash(stored)

    def _verify(self, stored: str | None, password: str) -> bool:
        if self._decoy is None:
            self._decoy = self._hasher.hash(secrets.token_hex(16))
        if len(password.encode("utf-8", "replace")) > LONGEST_BYTES:
            password, stored = "", None
        try:
            self._hasher.verify(stored or self._decoy, password)
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING:
            raise Unavailable("Too many people are signing in at once.", retry_after_ms=2000)
        self._waiting += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1
