"""Who somebody is: sign-in, sign-up, access tokens and their revocation.

E-mail, password hash and private fields stay inside this module; everything else sees
`core.users.User`. Revocation is stored first, then told to the listeners, so that a listener
that asks again already gets the new answer.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from parlour.config import Settings
from parlour.core.users import ADMIN, ANONYMOUS, User
from parlour.errors import Conflict, Forbidden, InvalidPayload, NotFound, Unauthenticated
from parlour.ports import Clock, UserRecord, UserStore
from parlour.server.app import Application
from parlour.server.attempts import Attempts
from parlour.server.crowd import Crowd
from parlour.server.keyring import Claims, Keyring
from parlour.server.passwords import LONGEST_BYTES, Passwords
from parlour.telemetry import get_logger

REMEMBERED: Final = 20_000
REMEMBER_SECONDS: Final = 1.0
"""How long a verified token is believed without asking the store. A revocation on this node (or one
that the node heard of) acts at once; this bounds the rest, as promise I9 asks."""

SKEW_MS: Final = 2_000
"""How far the clocks of two nodes may differ."""
OVERLAP_MS: Final = 30_000
"""`catch_up` looks back this far, so that a slow commit and a skewed clock are still seen."""

ROLES: Final = ("user", ADMIN)
LONGEST_NAME: Final = 100
BY_APP: Final = "app"
"""`private["provider"]` of users that the app's own callbacks named."""

_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,185}\.[^@\s.]{2,63}\Z")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a token names. Times are milliseconds since 1970 UTC."""

    user: User
    jti: str
    issued_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Issued:
    """A fresh token; `expires_at` is milliseconds since 1970 UTC."""

    token: str
    expires_at: int
    user: User


@dataclass(frozen=True, slots=True)
class Revocation:
    """What is no longer valid: one token, or every token of the user (`jti` None)."""

    user_id: str
    jti: str | None = None


RevocationListener = Callable[[Revocation], None]


class Accounts:
    """Every decision about who somebody is. One per node."""

    def __init__(
        self,
        users: UserStore,
        settings: Settings,
        clock: Clock,
        app: Application | None = None,
        passwords: Passwords | None = None,
    ) -> None:
        window_ms = settings.sign_in_window_seconds * 1000
        self._users = users
        self._settings = settings
        self._clock = clock
        self._app = app
        self._passwords = passwords or Passwords()
        self._keyring = Keyring(users, clock, settings.token_ttl_seconds * 1000)
        self._by_login = Attempts(settings.sign_in_attempts, window_ms)
        self._by_address = Attempts(settings.sign_in_attempts_per_address, window_ms)
        self._naming = asyncio.Lock()
        self._standing = Crowd(users.standing)
        self._remembered = _Remembered()
        self._listeners: list[RevocationListener] = []
        self._seen_until: int | None = None
        self._told_until: dict[str, int] = {}

    # -- tokens ----------------------------------------------------------------------------------

    async def verify(self, token: str) -> Identity:
        """Whom the token names, now. Raises `Unauthenticated` (forged, revoked, user gone or
        disabled) or `TokenExpired`."""
        now = self._clock.now_ms()
        known = self._remembered.get(token, self._clock.monotonic())
        if known is not None and known.expires_at > now:
            return known
        generation = self._remembered.generation
        identity = await self._verify_stored(token)
        # A revocation that came while the store was asked may be newer than its answer.
        if generation == self._remembered.generation:
            self._remembered.put(token, identity, self._clock.monotonic())
        return identity

    async def _verify_stored(self, token: str) -> Identity:
        claims = await self._keyring.read(token)
        record, revoked = await self._standing.ask((claims.user_id, claims.jti))
        if record is None or record.disabled or claims.issued_at < record.tokens_valid_after:
            raise Unauthenticated("The token is no longer valid; sign in again.")
        if revoked:
            raise Unauthenticated("The token is no longer valid; sign in again.")
        return Identity(as_user(record), claims.jti, claims.issued_at, claims.expires_at)

    async def issue(self, user_id: str, ttl_seconds: int | None = None) -> Issued:
        """A token for a user. Raises `NotFound`, or `Forbidden` where the user is disabled."""
        record = await self._record(user_id)
        if record.disabled:
            raise Forbidden("This account is disabled.")
        return await self._issue(record, ttl_seconds)

    async def refresh(self, token: str) -> Issued:
        """A new token for a valid one, which stays valid until it expires: other tabs may still use
        it."""
        identity = await self.verify(token)
        return await self.issue(identity.user.id)

    async def _issue(self, record: UserRecord, ttl_seconds: int | None = None) -> Issued:
        issued_at = max(self._clock.now_ms(), record.tokens_valid_after)
        expires_at = issued_at + (ttl_seconds or self._settings.token_ttl_seconds) * 1000
        claims = Claims(record.id, uuid.uuid4().hex, issued_at, expires_at)
        return Issued(await self._keyring.sign(claims), expires_at, as_user(record))

    async def rotate_keys(self) -> str:
        """Sign with a new key from now on; gives back its id."""
        return await self._keyring.rotate()

    # -- revocation ------------------------------------------------------------------------------

    def on_revoked(self, listener: RevocationListener) -> Callable[[], None]:
        """Call `listener`, synchronously, for every revocation made on this node, after it is
        stored. Gives back a function that ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    @property
    def generation(self) -> int:
        """Rises with every revocation that this node made or heard of: long answers look here whether
        they have to verify again."""
        return self._remembered.generation

    def hear(self, revocation: Revocation) -> None:
        """Another node revoked: forget what is remembered. Listeners are not called."""
        self._remembered.forget()
        if revocation.jti is None:
            self._told_until[revocation.user_id] = self._clock.now_ms() + SKEW_MS

    async def catch_up(self) -> list[Revocation]:
        """Users whose tokens were ended without word to this node: by the command line, or by a node
        whose announcement was lost. To be called every second; the first call only takes note."""
        now = self._clock.now_ms()
        since = (self._seen_until or now) - OVERLAP_MS
        ended = await self._users.revoked_since(since)
        first, self._seen_until = self._seen_until is None, now
        news = [user_id for user_id, at in ended if at > self._told_until.get(user_id, 0)]
        self._told_until = {user_id: t for user_id, t in self._told_until.items() if t > since}
        self._told_until.update(ended)
        if not news or first:
            return []
        self._remembered.forget()
        return [Revocation(user_id) for user_id in news]

    async def revoke(self, jti: str, *, user_id: str, expires_at: int) -> None:
        """End one token."""
        await self._users.revoke_token(jti, expires_at)
        self._tell(Revocation(user_id, jti))

    async def revoke_user(self, user_id: str) -> None:
        """End every token that the user holds. Raises `NotFound`."""
        # A token of this very millisecond must not survive; the next one is issued at this time.
        valid_after = self._clock.now_ms() + 1
        await self._users.update_user(user_id, tokens_valid_after=valid_after)
        self._told_until[user_id] = valid_after
        self._tell(Revocation(user_id))

    async def sign_out(self, identity: Identity) -> None:
        """End the token and tell the app, whose hook cannot keep anybody signed in."""
        await self.revoke(identity.jti, user_id=identity.user.id, expires_at=identity.expires_at)
        if self._app is not None and self._app.handles("on_logout"):
            try:
                await self._app.logout(identity.user)
            except Exception:
                log.exception("on_logout failed", user=identity.user.id)

    def _tell(self, revocation: Revocation) -> None:
        self._remembered.forget()
        for listener in tuple(self._listeners):
            listener(revocation)

    # -- signing in ------------------------------------------------------------------------------

    async def sign_in(self, login: str, password: str, address: str = "") -> Issued:
        """By password: the app's own check where it has one, then the stored users. Raises
        `Unauthenticated` (the same for an unknown login and a wrong password) or `RateLimited`."""
        login = login.strip()[:320]
        with self._attempt(login, address):
            record = await self._by_app_password(login, password)
            if record is None:
                record = await self._by_password(login, password)
            if record is None or record.disabled:
                log.info("sign-in refused", login=login, address=address)
                raise Unauthenticated("The name or the password is wrong.")
        return await self._issue(record)

    @contextmanager
    def _attempt(self, login: str, address: str) -> Iterator[None]:
        """Counts against the limits unless it succeeds, or fails for a reason of ours."""
        now, login = self._clock.now_ms(), login.casefold()
        self._by_address.begin(address, now)
        self._by_login.begin(login, now)
        try:
            yield
        except (Unauthenticated, asyncio.CancelledError):
            raise
        except Exception:
            self._give_back(login, address)
            raise
        self._give_back(login, address)

    def _give_back(self, login: str, address: str) -> None:
        self._by_address.forgive(address)
        self._by_login.forgive(login)

    async def _by_app_password(self, login: str, password: str) -> UserRecord | None:
        if self._app is None or not self._app.handles("password_auth_callback"):
            return None
        user = await self._app.authenticate_password(login, password)
        return None if user is None else await self._adopt(user)

    async def _by_password(self, login: str, password: str) -> UserRecord | None:
        record = await self._users.user_by_login(login)
        stored = record.password_hash if record else None
        if not await self._passwords.verify(stored, password) or record is None or stored is None:
            return None
        if self._passwords.is_stale(stored):
            fresh = await self._passwords.hash(password)
            await self._users.update_user(record.id, password_hash=fresh)
        return record

    async def sign_in_by_headers(self, headers: Mapping[str, str]) -> Issued | None:
        """By the app's `header_auth_callback` (names in lower case); None where it has none or
        does not know the caller."""
        if self._app is None or not self._app.handles("header_auth_callback"):
            return None
        user = await self._app.authenticate_headers(headers)
        if user is None:
            return None
        record = await self._adopt(user)
        if record.disabled:
            raise Forbidden("This account is disabled.")
        return await self._issue(record)

    async def sign_in_anonymously(self, address: str = "") -> Issued:
        """A new user for a visitor without an account. Raises `Forbidden` if not allowed."""
        if not self._settings.anonymous:
            raise Forbidden("Sign in first.")
        self._by_address.begin(address, self._clock.now_ms())
        user_id = uuid.uuid4().hex
        record = UserRecord(
            id=user_id,
            name=f"Guest {user_id[:4]}",
            role=ANONYMOUS,
            created_at=self._clock.now_ms(),
        )
        return await self._issue(await self._users.add_user(record))

    async def _adopt(self, user: User) -> UserRecord:
        """The local record of a user whom the app's own check named; made at the first time.
        Raises `Conflict` where the id is that of a user with a password here."""
        record = await self._users.user(user.id)
        if record is None:
            return await self._add_adopted(user)
        if record.private.get("provider") != BY_APP:
            raise Conflict("The app names a user whose id belongs to somebody else.")
        metadata = dict(user.metadata)
        if (record.name, record.role, record.metadata) == (user.name, user.role, metadata):
            return record
        return await self._users.update_user(
            user.id, name=user.name, role=user.role, metadata=metadata
        )

    async def _add_adopted(self, user: User) -> UserRecord:
        record = UserRecord(
            id=user.id,
            name=user.name,
            role=user.role,
            private={"provider": BY_APP},
            metadata=dict(user.metadata),
            created_at=self._clock.now_ms(),
        )
        try:
            return await self._users.add_user(record)
        except Conflict:  # another sign-in of the same person was faster
            return await self._record(user.id)

    # -- the users themselves --------------------------------------------------------------------

    async def sign_up(
        self, name: str, password: str, email: str | None = None, address: str = ""
    ) -> Issued:
        """An account for anyone. Raises `Forbidden` unless sign-up is on, `InvalidPayload`,
        `Conflict` or `RateLimited`."""
        if not self._settings.sign_up:
            raise Forbidden("Creating accounts is switched off here.")
        self._by_address.begin(address, self._clock.now_ms())
        record = await self._add_user(name, password, email, "user")
        return await self._issue(record)

    async def add_user(
        self, name: str, password: str, email: str | None = None, role: str = "user"
    ) -> User:
        """An account made by an administrator. Raises as `sign_up`, whatever the switch says."""
        return as_user(await self._add_user(name, password, email, role))

    async def _add_user(self, name: str, password: str, email: str | None, role: str) -> UserRecord:
        name, email = _checked_name(name), _checked_email(email)
        if role not in ROLES:
            raise InvalidPayload(f"A role is one of {', '.join(ROLES)}.")
        self._check_password(password)
        record = UserRecord(
            id=uuid.uuid4().hex,
            name=name,
            role=role,
            email=email,
            password_hash=await self._passwords.hash(password),
            created_at=self._clock.now_ms(),
        )
        async with self._naming:
            for login in (name, email):
                if login is not None and await self._users.user_by_login(login) is not None:
                    raise Conflict("This name or e-mail address is taken.")
            return await self._users.add_user(record)

    async def set_password(self, user_id: str, password: str) -> None:
        """Replace a password and end every token. Raises `NotFound` or `InvalidPayload`."""
        self._check_password(password)
        fresh = await self._passwords.hash(password)
        await self._users.update_user(user_id, password_hash=fresh)
        await self.revoke_user(user_id)

    async def change_password(
        self, user_id: str, current: str, password: str, address: str = ""
    ) -> Issued:
        """By the person: ends every token and gives a new one. Raises `Forbidden` (the present password is
        wrong, or there is none here), `InvalidPayload` or `RateLimited`."""
        record = await self._record(user_id)
        try:
            with self._attempt(record.id, address):
                if not await self._passwords.verify(record.password_hash, current):
                    raise Unauthenticated("The present password is wrong.")
        except Unauthenticated as error:
            # The token is good: the page must not take this for the end of the session.
            raise Forbidden("The present password is wrong.") from error
        await self.set_password(user_id, password)
        return await self.issue(user_id)

    async def rename(self, user_id: str, name: str) -> User:
        """Raises `InvalidPayload`, `NotFound`, or `Conflict` where somebody else signs in with this name."""
        name = _checked_name(name)
        async with self._naming:
            other = await self._users.user_by_login(name)
            if other is not None and other.id != user_id:
                raise Conflict("This name is taken.")
            record = await self._users.update_user(user_id, name=name)
        self._remembered.forget()
        return as_user(record)

    async def set_disabled(self, user_id: str, disabled: bool) -> User:
        """Lock an account (its tokens end at once) or open it again."""
        record = await self._users.update_user(user_id, disabled=disabled)
        if disabled:
            await self.revoke_user(user_id)
        return as_user(record)

    async def set_role(self, user_id: str, role: str) -> User:
        """Raises `InvalidPayload` or `NotFound`. Live connections are told to sign in again."""
        if role not in ROLES:
            raise InvalidPayload(f"A role is one of {', '.join(ROLES)}.")
        record = await self._users.update_user(user_id, role=role)
        await self.revoke_user(user_id)
        return as_user(record)

    async def find(self, login: str) -> UserRecord:
        """By id, name or e-mail address. Raises `NotFound`."""
        record = await self._users.user_by_login(login) or await self._users.user(login)
        if record is None:
            raise NotFound(f"There is no user {login!r}.")
        return record

    async def public_user(self, user_id: str) -> User | None:
        """The part of a user that may travel; None where there is no such user."""
        record = await self._users.user(user_id)
        return None if record is None else as_user(record)

    async def users(
        self, cursor: str | None = None, limit: int = 50
    ) -> tuple[Sequence[UserRecord], str | None]:
        """For administrators only; callers choose what they show of a record."""
        return await self._users.users(cursor=cursor, limit=limit)

    async def count(self) -> int:
        return await self._users.count_users()

    async def _record(self, user_id: str) -> UserRecord:
        record = await self._users.user(user_id)
        if record is None:
            raise NotFound("There is no such user.")
        return record

    def _check_password(self, password: str) -> None:
        least = self._settings.password_min_length
        if len(password) < least:
            raise InvalidPayload(f"A password has at least {least} characters.", field="password")
        if len(password.encode("utf-8", "replace")) > LONGEST_BYTES:
            raise InvalidPayload(f"A password has at most {LONGEST_BYTES} bytes.", field="password")


class _Remembered:
    """Tokens that were verified a moment ago. Any revocation empties it and raises `generation`."""

    def __init__(self) -> None:
        self.generation = 0
        self._entries: OrderedDict[str, tuple[Identity, float]] = OrderedDict()

    def get(self, token: str, now: float) -> Identity | None:
        entry = self._entries.get(token)
        if entry is None or now - entry[1] >= REMEMBER_SECONDS:
            return None
        return entry[0]

    def put(self, token: str, identity: Identity, now: float) -> None:
        self._entries[token] = (identity, now)
        self._entries.move_to_end(token)
        if len(self._entries) > REMEMBERED:
            self._entries.popitem(last=False)

    def forget(self) -> None:
        self.generation += 1
        self._entries.clear()


def as_user(record: UserRecord) -> User:
    """The part of a record that may leave."""
    return User(record.id, record.name, record.role, record.metadata)


def _checked_name(name: str) -> str:
    name = " ".join(name.split())
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise InvalidPayload(f"A name has 1 to {LONGEST_NAME} printable characters.", field="name")
    if "@" in name:
        # Names and e-mail addresses are both logins; a name must never pass for an address.
        raise InvalidPayload("A name has no @; the e-mail address has its own field.", field="name")
    return name


def _checked_email(email: str | None) -> str | None:
    email = (email or "").strip()
    if not email:
        return None
    if not _EMAIL.match(email):
        raise InvalidPayload("This is not an e-mail address.", field="email")
    return email
