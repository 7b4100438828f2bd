"""Who may do what: the rules, without a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlour.core.access import (
    Facts,
    Grant,
    Kind,
    decide,
    granted_facts,
    is_principal,
    may_share,
    principals_of,
    right_of,
    users_of,
)
from parlour.core.users import ANONYMOUS, User

ANN, BOB = User("ann", "Ann"), User("bob", "Bob", "editor")
ADMIN = User("root", "Root", "admin")
THREAD = "thread-0001"

RIGHTS = st.sampled_from(["read", "write"])
PRINCIPALS = st.sampled_from(
    ["everyone", "user:ann", "user:bob", "role:user", "role:editor", "role:admin"]
)
GRANTS = st.dictionaries(PRINCIPALS, RIGHTS)


def in_thread(user: User, owner: User, grants: dict[str, str]) -> Grant:
    return decide(user, Kind.THREAD, THREAD, granted_facts(user, owner.id, right_of(grants, user)))


@pytest.mark.parametrize(
    ("grants", "permission"),
    [
        ({}, None),
        ({"user:ann": "write"}, None),
        ({"user:bob": "read"}, "read"),
        ({"user:bob": "write"}, "write"),
        ({"role:editor": "write"}, "write"),
        ({"role:user": "write"}, None),
        ({"everyone": "read"}, "read"),
        ({"everyone": "write", "user:bob": "read"}, "write"),
    ],
)
def test_a_guest_has_the_most_that_is_granted(
    grants: dict[str, str], permission: str | None
) -> None:
    grant = in_thread(BOB, ANN, grants)

    assert grant.permission == permission
    assert not grant.own
    assert not grant.create


@given(GRANTS)
def test_the_owner_may_everything_whatever_is_granted(grants: dict[str, str]) -> None:
    assert in_thread(ANN, ANN, grants) == Grant(read=True, write=True, own=True)


@given(GRANTS, PRINCIPALS, RIGHTS)
def test_one_more_grant_never_takes_anything_away(
    grants: dict[str, str], principal: str, right: str
) -> None:
    more = {**grants, principal: "write" if "write" in (right, grants.get(principal)) else "read"}

    before, after = in_thread(BOB, ANN, grants), in_thread(BOB, ANN, more)

    assert after.read >= before.read
    assert after.write >= before.write


@given(GRANTS)
def test_only_principals_of_the_user_count(grants: dict[str, str]) -> None:
    mine = {one: right for one, right in grants.items() if one in principals_of(BOB)}

    assert right_of(grants, BOB) == right_of(mine, BOB)
    assert (right_of(grants, BOB) is None) == (not mine)


def test_a_new_id_is_anybody_s_and_a_foreign_one_nobody_s() -> None:
    new = decide(BOB, Kind.THREAD, THREAD, Facts())
    foreign = in_thread(BOB, ANN, {})
    badly_named = decide(BOB, Kind.THREAD, "no", Facts())

    assert new == Grant(read=True, write=True, create=True)
    assert (foreign, badly_named) == (Grant(), Grant())


def test_who_writes_in_a_channel_or_note_does_not_own_it() -> None:
    facts = granted_facts(BOB, ANN.id, "write")

    for kind in (Kind.CHANNEL, Kind.NOTE):
        assert decide(BOB, kind, "x", facts) == Grant(read=True, write=True)


@pytest.mark.parametrize(
    ("user", "grant", "shares"),
    [
        (ANN, Grant(read=True, write=True, own=True), True),
        (BOB, Grant(read=True, write=True), False),
        (ADMIN, Grant(), True),
        (User("guest", "Guest", ANONYMOUS), Grant(read=True, write=True, own=True), False),
    ],
)
def test_owners_and_administrators_share_and_nobody_anonymous(
    user: User, grant: Grant, shares: bool
) -> None:
    assert may_share(user, grant) is shares


def test_an_administrator_reads_nothing_that_is_not_shared() -> None:
    assert in_thread(ADMIN, ANN, {"user:bob": "write"}) == Grant()


def test_principals_have_three_forms() -> None:
    good = ["everyone", "user:a", "role:editor"]
    bad = ["", "Everyone", "user:", "role:a b", "group:x", "user:a\0", "everyone ", "user:a\n"]

    assert [is_principal(one) for one in good] == [True] * len(good)
    assert [is_principal(one) for one in bad] == [False] * len(bad)
    assert users_of(["everyone", "user:a:b", "role:c", "user:d"]) == ["a:b", "d"]
