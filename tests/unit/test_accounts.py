"""Accounts over a real database: passwords, tokens, rotation, revocation, limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from argon2 import PasswordHasher

from parlour.backends.sql import SqlStore, open_sql
from parlour.config import Settings
from parlour.core.users import User
from parlour.errors import (
    Conflict,
    Forbidden,
    InvalidPayload,
    NotFound,
    RateLimited,
    TokenExpired,
    Unauthenticated,
    Unavailable,
)
from parlour.server.accounts import Accounts, Revocation
from parlour.server.attempts import MOST_KEYS, Attempts
from parlour.server.passwords import LONGEST_BYTES, WAITING, Passwords

PASSWORD = "correct horse"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""So that a hundred hashes cost nothing."""


class Clock:
    """Time that stands until it is told."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000

    def pass_by(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)


class CallbackApp:
    """An app with checks of its own: `bob` with `open sesame`, or whoever the proxy names."""

    name = "Test"
    description = ""

    def __init__(self) -> None:
        self.said_goodbye: list[str] = []
        self.role = "user"

    def handles(self, handler: str) -> bool:
        return handler in ("password_auth_callback", "header_auth_callback", "on_logout")

    async def authenticate_password(self, login: str, password: str) -> User | None:
        return (
            User("bob", "Bob", self.role) if (login, password) == ("bob", "open sesame") else None
        )

    async def authenticate_headers(self, headers: Any) -> User | None:
        name = headers.get("x-forwarded-user")
        return User(f"proxy-{name}", name) if name else None

    async def logout(self, user: User) -> None:
        self.said_goodbye.append(user.id)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock: Clock) -> AsyncIterator[SqlStore]:
    opened = await open_sql("sqlite://", None, clock=clock)
    yield opened
    await opened.close()


def build(store: SqlStore, clock: Clock, app: Any = None, **settings: Any) -> Accounts:
    return Accounts(store.users, Settings(**settings), clock, app, Passwords(CHEAP))


@pytest.fixture
def accounts(store: SqlStore, clock: Clock) -> Accounts:
    return build(store, clock, sign_up=True)


@pytest.fixture
async def ann(accounts: Accounts) -> User:
    return await accounts.add_user("Ann", PASSWORD, "ann@example.org")


# -- passwords -------------------------------------------------------------------------------------


@pytest.mark.parametrize("login", ["Ann", "ann@example.org", "ANN@Example.ORG", " Ann "])
async def test_name_or_address_and_password_sign_in(
    accounts: Accounts, ann: User, login: str
) -> None:
    issued = await accounts.sign_in(login, PASSWORD)

    assert issued.user == ann
    assert (await accounts.verify(issued.token)).user == ann


@pytest.mark.parametrize(
    ("login", "password"),
    [("Ann", "wrong"), ("nobody", PASSWORD), ("", ""), ("Ann", "x" * (LONGEST_BYTES + 1))],
)
async def test_unknown_login_and_wrong_password_get_the_same_answer(
    accounts: Accounts, ann: User, login: str, password: str
) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await accounts.sign_in(login, password)

    assert caught.value.message == "The name or the password is wrong."


async def test_an_unknown_login_costs_a_hash_too(clock: Clock, store: SqlStore) -> None:
    class Counting(PasswordHasher):
        verified = 0

        def verify(self, *args: Any, **kwargs: Any) -> Any:
            Counting.verified += 1
            return super().verify(*args, **kwargs)

    hasher = Counting(time_cost=1, memory_cost=8, parallelism=1)
    accounts = Accounts(store.users, Settings(), clock, None, Passwords(hasher))

    with pytest.raises(Unauthenticated):
        await accounts.sign_in("nobody", PASSWORD)

    assert Counting.verified == 1


async def test_a_hash_with_old_parameters_is_renewed_at_sign_in(
    store: SqlStore, clock: Clock, accounts: Accounts, ann: User
) -> None:
    stronger = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    later = Accounts(store.users, Settings(), clock, None, Passwords(stronger))

    await later.sign_in("Ann", PASSWORD)

    record = await store.users.user(ann.id)
    assert record is not None
    assert not stronger.check_needs_rehash(record.password_hash or "")


async def test_a_new_password_ends_the_old_one_and_every_token(
    accounts: Accounts, ann: User
) -> None:
    before = await accounts.sign_in("Ann", PASSWORD)

    await accounts.set_password(ann.id, "another one")

    with pytest.raises(Unauthenticated):
        await accounts.verify(before.token)
    with pytest.raises(Unauthenticated):
        await accounts.sign_in("Ann", PASSWORD)
    assert (await accounts.sign_in("Ann", "another one")).user == ann


async def test_too_many_hashes_at_once_are_refused_as_retryable() -> None:
    passwords = Passwords(CHEAP)

    results = await asyncio.gather(
        *(passwords.hash(PASSWORD) for _ in range(WAITING + 5)), return_exceptions=True
    )

    refused = [result for result in results if isinstance(result, Unavailable)]
    assert len(refused) == 5
    assert refused[0].retryable


# -- limits ----------------------------------------------------------------------------------------


async def test_a_login_is_closed_after_too_many_failures_until_the_window_has_passed(
    store: SqlStore, clock: Clock
) -> None:
    accounts = build(store, clock, sign_in_attempts=3, sign_in_window_seconds=60)
    await accounts.add_user("Ann", PASSWORD)
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await accounts.sign_in("ann", "wrong", "1.2.3.4")

    with pytest.raises(RateLimited) as caught:
        await accounts.sign_in("Ann", PASSWORD, "5.6.7.8")

    assert 0 < caught.value.details["retry_after_ms"] <= 60_000
    clock.pass_by(60)
    assert (await accounts.sign_in("Ann", PASSWORD)).user.name == "Ann"


async def test_successes_do_not_count(store: SqlStore, clock: Clock) -> None:
    accounts = build(store, clock, sign_in_attempts=2)
    await accounts.add_user("Ann", PASSWORD)

    users = [(await accounts.sign_in("Ann", PASSWORD)).user.name for _ in range(5)]

    assert users == ["Ann"] * 5


async def test_an_address_is_limited_over_all_logins(store: SqlStore, clock: Clock) -> None:
    accounts = build(store, clock, sign_in_attempts_per_address=4)
    for number in range(4):
        with pytest.raises(Unauthenticated):
            await accounts.sign_in(f"nobody{number}", "wrong", "1.2.3.4")

    with pytest.raises(RateLimited):
        await accounts.sign_in("somebody", "wrong", "1.2.3.4")


async def test_attempts_that_run_at_the_same_time_count(store: SqlStore, clock: Clock) -> None:
    # Checking before and counting after the hash would let all of them through.
    accounts = build(store, clock, sign_in_attempts=3)
    await accounts.add_user("Ann", PASSWORD)

    results = await asyncio.gather(
        *(accounts.sign_in("Ann", f"wrong{n}") for n in range(10)), return_exceptions=True
    )

    assert sum(isinstance(result, Unauthenticated) for result in results) == 3
    assert sum(isinstance(result, RateLimited) for result in results) == 7


def test_the_number_of_remembered_keys_is_bounded() -> None:
    attempts = Attempts(1, 1000)

    for number in range(MOST_KEYS + 10):
        attempts.begin(f"key{number}", 0)

    attempts.begin("key0", 0)  # was forgotten
    with pytest.raises(RateLimited):
        attempts.begin(f"key{MOST_KEYS}", 0)


# -- tokens ----------------------------------------------------------------------------------------


async def test_a_token_expires(accounts: Accounts, ann: User, clock: Clock) -> None:
    issued = await accounts.issue(ann.id, ttl_seconds=10)
    assert issued.expires_at == clock.now_ms() + 10_000

    clock.pass_by(10)

    with pytest.raises(TokenExpired):
        await accounts.verify(issued.token)


async def test_a_token_that_expires_within_the_remembered_second_is_refused(
    accounts: Accounts, ann: User, clock: Clock
) -> None:
    issued = await accounts.issue(ann.id, ttl_seconds=1)
    clock.pass_by(0.9)
    await accounts.verify(issued.token)

    clock.pass_by(0.1)

    with pytest.raises(TokenExpired):
        await accounts.verify(issued.token)


def forged(token: str, **changes: Any) -> str:
    """The same claims under a key of our own."""
    claims = jwt.decode(token, options={"verify_signature": False})
    header = jwt.get_unverified_header(token)
    return jwt.encode({**claims, **changes}, "k" * 32, headers={"kid": header["kid"]})


async def test_forged_tokens_are_refused(accounts: Accounts, ann: User) -> None:
    token = (await accounts.issue(ann.id)).token
    head, body, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    unsigned = jwt.encode(claims, None, algorithm="none", headers={"kid": "x"})

    for bad in (
        "",
        "x",
        "a.b.c",
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{head}.{body}.",
        forged(token),
        forged(token, sub="somebody"),
        unsigned,
        "e" * 10_000,
        jwt.encode(claims, "k" * 32, headers={"kid": "unknown"}),
        jwt.encode(claims, "k" * 32),
    ):
        with pytest.raises(Unauthenticated):
            await accounts.verify(bad)


async def test_refresh_gives_a_token_that_lives_longer(
    accounts: Accounts, ann: User, clock: Clock
) -> None:
    first = await accounts.issue(ann.id)
    clock.pass_by(60)

    second = await accounts.refresh(first.token)

    assert second.expires_at == first.expires_at + 60_000
    assert (await accounts.verify(first.token)).user == ann


async def test_after_rotation_new_tokens_have_the_new_key_and_old_ones_still_verify(
    accounts: Accounts, ann: User, clock: Clock
) -> None:
    old = await accounts.issue(ann.id)
    clock.pass_by(5)

    kid = await accounts.rotate_keys()

    new = await accounts.issue(ann.id)
    assert jwt.get_unverified_header(new.token)["kid"] == kid
    assert jwt.get_unverified_header(old.token)["kid"] != kid
    assert (await accounts.verify(old.token)).user == (await accounts.verify(new.token)).user


async def test_a_replaced_key_is_worthless_once_its_last_token_has_expired(
    store: SqlStore, clock: Clock
) -> None:
    # Whoever stole it could otherwise sign tokens with any expiry for ever.
    accounts = build(store, clock, token_ttl_seconds=100)
    ann = await accounts.add_user("Ann", PASSWORD)
    stolen = await accounts.issue(ann.id, ttl_seconds=10_000)
    await accounts.rotate_keys()
    clock.pass_by(99)
    assert (await accounts.verify(stolen.token)).user == ann

    clock.pass_by(2)

    with pytest.raises(Unauthenticated):
        await accounts.verify(stolen.token)


async def test_another_process_sees_a_rotation(store: SqlStore, clock: Clock) -> None:
    one, two = build(store, clock), build(store, clock)
    ann = await one.add_user("Ann", PASSWORD)
    await two.verify((await one.issue(ann.id)).token)
    await one.rotate_keys()
    clock.pass_by(2)

    identity = await two.verify((await one.issue(ann.id)).token)

    assert identity.user == ann


async def test_tokens_survive_a_restart(store: SqlStore, clock: Clock) -> None:
    before = build(store, clock)
    ann = await before.add_user("Ann", PASSWORD)
    token = (await before.issue(ann.id)).token

    identity = await build(store, clock).verify(token)

    assert identity.user == ann


# -- revocation ------------------------------------------------------------------------------------


async def test_a_revoked_token_ends_at_once_and_only_that_one(
    accounts: Accounts, ann: User
) -> None:
    one, other = await accounts.issue(ann.id), await accounts.issue(ann.id)
    identity = await accounts.verify(one.token)
    told: list[Revocation] = []
    accounts.on_revoked(told.append)

    await accounts.revoke(identity.jti, user_id=ann.id, expires_at=identity.expires_at)

    with pytest.raises(Unauthenticated):
        await accounts.verify(one.token)
    assert (await accounts.verify(other.token)).user == ann
    assert told == [Revocation(ann.id, identity.jti)]


async def test_revoking_a_user_ends_every_token_but_not_the_next_one(
    accounts: Accounts, ann: User
) -> None:
    tokens = [(await accounts.issue(ann.id)).token for _ in range(3)]

    await accounts.revoke_user(ann.id)

    for token in tokens:
        with pytest.raises(Unauthenticated):
            await accounts.verify(token)
    assert (await accounts.verify((await accounts.issue(ann.id)).token)).user == ann


async def test_a_listener_that_left_hears_nothing(accounts: Accounts, ann: User) -> None:
    told: list[Revocation] = []
    leave = accounts.on_revoked(told.append)
    leave()
    leave()

    await accounts.revoke_user(ann.id)

    assert told == []


async def test_a_revocation_during_a_verification_is_not_forgotten(
    store: SqlStore, clock: Clock, ann: User
) -> None:
    # The answer of the store was on its way when the revocation came: it must not be remembered.
    token = (await build(store, clock).issue(ann.id)).token
    accounts = build(store, clock)
    verifying = asyncio.create_task(accounts.verify(token))
    await asyncio.sleep(0)

    await accounts.revoke_user(ann.id)

    await asyncio.wait({verifying})
    with pytest.raises(Unauthenticated):
        await accounts.verify(token)


async def test_another_node_s_revocation_acts_within_a_second_without_word_of_it(
    store: SqlStore, clock: Clock
) -> None:
    here, there = build(store, clock), build(store, clock)
    ann = await here.add_user("Ann", PASSWORD)
    token = (await here.issue(ann.id)).token
    await here.verify(token)
    await there.revoke_user(ann.id)

    clock.pass_by(1)

    with pytest.raises(Unauthenticated):
        await here.verify(token)


async def test_word_of_another_node_s_revocation_acts_at_once(
    store: SqlStore, clock: Clock
) -> None:
    here, there = build(store, clock), build(store, clock)
    ann = await here.add_user("Ann", PASSWORD)
    token = (await here.issue(ann.id)).token
    await here.verify(token)
    await there.revoke_user(ann.id)
    generation = here.generation

    here.hear(Revocation(ann.id))

    assert here.generation > generation
    with pytest.raises(Unauthenticated):
        await here.verify(token)


async def test_disabling_ends_tokens_and_sign_in_until_it_is_undone(
    accounts: Accounts, ann: User
) -> None:
    issued = await accounts.issue(ann.id)

    await accounts.set_disabled(ann.id, True)

    with pytest.raises(Unauthenticated):
        await accounts.verify(issued.token)
    with pytest.raises(Unauthenticated):
        await accounts.sign_in("Ann", PASSWORD)
    with pytest.raises(Forbidden):
        await accounts.issue(ann.id)
    await accounts.set_disabled(ann.id, False)
    assert (await accounts.sign_in("Ann", PASSWORD)).user == ann


async def test_signing_out_tells_the_app(store: SqlStore, clock: Clock) -> None:
    app = CallbackApp()
    accounts = build(store, clock, app)
    issued = await accounts.sign_in("bob", "open sesame")

    await accounts.sign_out(await accounts.verify(issued.token))

    assert app.said_goodbye == ["bob"]
    with pytest.raises(Unauthenticated):
        await accounts.verify(issued.token)


async def test_a_revocation_behind_this_node_s_back_is_found_once(
    store: SqlStore, clock: Clock
) -> None:
    here, command_line = build(store, clock), build(store, clock)
    ann = await here.add_user("Ann", PASSWORD)
    token = (await here.issue(ann.id)).token
    await here.catch_up()
    await here.verify(token)

    await command_line.set_disabled(ann.id, True)

    assert await here.catch_up() == [Revocation(ann.id)]
    with pytest.raises(Unauthenticated):
        await here.verify(token)
    assert await here.catch_up() == []
    clock.pass_by(60)
    assert await here.catch_up() == []


async def test_revocations_that_were_told_are_not_found_again(
    store: SqlStore, clock: Clock
) -> None:
    here, there = build(store, clock), build(store, clock)
    ann, bea = await here.add_user("Ann", PASSWORD), await here.add_user("Bea", PASSWORD)
    await here.catch_up()
    await here.revoke_user(ann.id)
    await there.revoke_user(bea.id)
    here.hear(Revocation(bea.id))

    found = await here.catch_up()

    assert found == []


async def test_what_was_revoked_before_the_start_is_no_news(store: SqlStore, clock: Clock) -> None:
    before = build(store, clock)
    ann = await before.add_user("Ann", PASSWORD)
    await before.revoke_user(ann.id)
    after = build(store, clock)

    found = [await after.catch_up(), await after.catch_up()]

    assert found == [[], []]


async def test_a_hook_that_fails_keeps_nobody_signed_in(store: SqlStore, clock: Clock) -> None:
    class Failing(CallbackApp):
        async def logout(self, user: User) -> None:
            raise RuntimeError("no")

    accounts = build(store, clock, Failing())
    issued = await accounts.sign_in("bob", "open sesame")

    await accounts.sign_out(await accounts.verify(issued.token))

    with pytest.raises(Unauthenticated):
        await accounts.verify(issued.token)


# -- making users ----------------------------------------------------------------------------------


async def test_sign_up_gives_a_token_of_the_new_user(accounts: Accounts) -> None:
    issued = await accounts.sign_up("  Ann   Lee ", PASSWORD, "Ann@Example.org")

    assert issued.user.name == "Ann Lee"
    assert issued.user.role == "user"
    assert (await accounts.sign_in("ann@example.org", PASSWORD)).user == issued.user


async def test_sign_up_is_off_unless_it_is_switched_on(store: SqlStore, clock: Clock) -> None:
    with pytest.raises(Forbidden):
        await build(store, clock).sign_up("Ann", PASSWORD)


@pytest.mark.parametrize(
    ("name", "password", "email", "field"),
    [
        ("", PASSWORD, None, "name"),
        ("x" * 101, PASSWORD, None, "name"),
        ("a\u202eb", PASSWORD, None, "name"),
        ("ann@example.org", PASSWORD, None, "name"),
        ("Ann", "short", None, "password"),
        ("Ann", "é" * LONGEST_BYTES, None, "password"),
        ("Ann", PASSWORD, "no address", "email"),
    ],
)
async def test_what_does_not_fit_is_refused_with_its_field(
    accounts: Accounts, name: str, password: str, email: str | None, field: str
) -> None:
    with pytest.raises(InvalidPayload) as caught:
        await accounts.sign_up(name, password, email)

    assert caught.value.details["field"] == field


@pytest.mark.parametrize(("name", "email"), [("Ann", None), ("Bea", "ANN@example.org")])
async def test_a_taken_name_or_address_is_a_conflict(
    accounts: Accounts, ann: User, name: str, email: str | None
) -> None:
    with pytest.raises(Conflict):
        await accounts.sign_up(name, PASSWORD, email)


async def test_one_of_two_simultaneous_sign_ups_gets_the_name(accounts: Accounts) -> None:
    results = await asyncio.gather(
        accounts.sign_up("Ann", PASSWORD), accounts.sign_up("Ann", PASSWORD), return_exceptions=True
    )

    assert sum(isinstance(result, Conflict) for result in results) == 1


async def test_private_fields_stay_inside(accounts: Accounts, ann: User) -> None:
    identity = await accounts.verify((await accounts.issue(ann.id)).token)

    assert identity.user.public() == {"id": ann.id, "name": "Ann", "role": "user"}
    assert "example.org" not in repr(identity)


async def test_unknown_users_are_not_found(accounts: Accounts) -> None:
    with pytest.raises(NotFound):
        await accounts.issue("nobody")
    with pytest.raises(NotFound):
        await accounts.find("nobody")
    assert await accounts.public_user("nobody") is None


async def test_anonymous_visitors_are_users_of_their_own(store: SqlStore, clock: Clock) -> None:
    accounts = build(store, clock, anonymous=True)

    one, two = await accounts.sign_in_anonymously(), await accounts.sign_in_anonymously()

    assert one.user.id != two.user.id
    assert one.user.role == "anonymous"
    assert (await accounts.verify(one.token)).user == one.user


async def test_anonymous_use_is_off_unless_it_is_switched_on(accounts: Accounts) -> None:
    with pytest.raises(Forbidden):
        await accounts.sign_in_anonymously()


# -- the app's own checks --------------------------------------------------------------------------


async def test_the_app_s_password_check_makes_a_local_user_once(
    store: SqlStore, clock: Clock
) -> None:
    accounts = build(store, clock, CallbackApp())

    first = await accounts.sign_in("bob", "open sesame")
    second = await accounts.sign_in("bob", "open sesame")

    assert first.user == second.user == User("bob", "Bob")
    assert await accounts.count() == 1


async def test_a_role_that_the_app_changes_arrives(store: SqlStore, clock: Clock) -> None:
    app = CallbackApp()
    accounts = build(store, clock, app)
    await accounts.sign_in("bob", "open sesame")
    app.role = "admin"

    again = await accounts.sign_in("bob", "open sesame")

    assert again.user.role == "admin"


async def test_local_users_can_sign_in_beside_the_app_s(store: SqlStore, clock: Clock) -> None:
    accounts = build(store, clock, CallbackApp())
    root = await accounts.add_user("root", PASSWORD, role="admin")

    issued = await accounts.sign_in("root", PASSWORD)

    assert issued.user == root


async def test_the_app_cannot_take_over_a_user_with_a_password_here(
    store: SqlStore, clock: Clock
) -> None:
    local = await build(store, clock).add_user("root", PASSWORD)

    class Impostor(CallbackApp):
        async def authenticate_password(self, login: str, password: str) -> User | None:
            return User(local.id, "root", "admin")

    with pytest.raises(Conflict):
        await build(store, clock, Impostor()).sign_in("bob", "x")


async def test_the_app_s_header_check_signs_in(store: SqlStore, clock: Clock) -> None:
    accounts = build(store, clock, CallbackApp())

    issued = await accounts.sign_in_by_headers({"x-forwarded-user": "eve"})

    assert issued is not None
    assert issued.user == User("proxy-eve", "eve")
    assert await accounts.sign_in_by_headers({}) is None
    assert await build(store, clock).sign_in_by_headers({"x-forwarded-user": "eve"}) is None
