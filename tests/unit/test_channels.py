"""The rules of channels: who may do what, what is unread, who is mentioned."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from parlour.core.access import is_principal, principals_of
from parlour.core.channels import (
    MENTIONS_KEPT,
    Act,
    ChannelKind,
    Reader,
    Role,
    Said,
    Standing,
    direct_key,
    ends_access,
    ends_access_of,
    format_mention,
    is_unread,
    keeps_owner,
    may_remove,
    mentions,
    permits,
)
from parlour.core.users import User

IDS = st.text("abcdef0123456789-", min_size=1, max_size=12)
STANDINGS = st.builds(
    Standing,
    st.sampled_from(ChannelKind),
    st.none() | st.sampled_from(Role),
    granted_read=st.booleans(),
    granted_write=st.booleans(),
    admin=st.booleans(),
)


# -- who may ---------------------------------------------------------------------------------------


@given(st.sampled_from(ChannelKind), st.sampled_from(Act))
def test_whoever_may_not_read_may_nothing(kind: ChannelKind, act: Act) -> None:
    assert not permits(Standing(kind), act)


@given(st.sampled_from([ChannelKind.GROUP, ChannelKind.DIRECT]), st.sampled_from(Act))
def test_an_administrator_may_nothing_in_other_people_s_private_channels(
    kind: ChannelKind, act: Act
) -> None:
    assert not permits(Standing(kind, admin=True), act)


@given(STANDINGS, st.sampled_from(Act))
def test_a_higher_role_never_may_less(standing: Standing, act: Act) -> None:
    ranks: list[Role | None] = [None, Role.MEMBER, Role.MANAGER, Role.OWNER]

    allowed = [
        permits(Standing(standing.kind, role, standing.granted_read, standing.granted_write), act)
        for role in ranks
    ]

    assert allowed == sorted(allowed)


@given(STANDINGS, st.sampled_from([Act.UPDATE, Act.ADD, Act.REMOVE, Act.SET_ROLE, Act.DELETE]))
def test_a_direct_channel_stays_what_it_is(standing: Standing, act: Act) -> None:
    standing = replace(standing, kind=ChannelKind.DIRECT)

    assert not permits(standing, act)
    assert not any(
        may_remove(standing, oneself=oneself, target=target)
        for oneself in (True, False)
        for target in Role
    )


@pytest.mark.parametrize(
    ("role", "target", "allowed"),
    [
        (Role.OWNER, Role.OWNER, True),
        (Role.OWNER, Role.MEMBER, True),
        (Role.MANAGER, Role.MEMBER, True),
        (Role.MANAGER, Role.MANAGER, False),
        (Role.MANAGER, Role.OWNER, False),
        (Role.MEMBER, Role.MEMBER, False),
        (None, Role.MEMBER, False),
    ],
)
def test_who_may_remove_whom(role: Role | None, target: Role, allowed: bool) -> None:
    assert may_remove(Standing(ChannelKind.GROUP, role), oneself=False, target=target) is allowed


@given(st.sets(IDS), IDS)
def test_a_channel_keeps_an_owner_when_another_one_is_left(owners: set[str], gone: str) -> None:
    assert keeps_owner(owners, without=gone) == bool(owners - {gone})


def test_grants_name_everyone_a_role_or_a_user() -> None:
    assert principals_of(User("u1", "Ann", "guest")) == ("everyone", "role:guest", "user:u1")
    assert all(is_principal(one) for one in principals_of(User("google:1", "Ann")))
    assert not any(is_principal(one) for one in ("", "all", "user:", "role:a b", "everyone:x"))


# -- direct channels -------------------------------------------------------------------------------


@given(st.lists(IDS, min_size=1), st.randoms())
def test_a_direct_channel_has_one_name_for_a_set_of_users(ids: list[str], chance: object) -> None:
    shuffled = [*ids, ids[0]]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]

    assert direct_key(shuffled) == direct_key(ids)


@given(st.sets(st.text(max_size=5)), st.sets(st.text(max_size=5)))
def test_different_sets_have_different_names(first: set[str], second: set[str]) -> None:
    assert (direct_key(first) == direct_key(second)) == (first == second)


# -- mentions --------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(IDS, st.text(max_size=20)), max_size=10), st.text("abc \n@<[(", max_size=9)
)
def test_every_formatted_mention_is_found_in_order_and_once(
    people: list[tuple[str, str]], between: str
) -> None:
    text = between.replace("<", "").replace("[", "").join(format_mention(*one) for one in people)

    found = mentions(text)

    assert list(found) == list(dict.fromkeys(user_id for user_id, _ in people))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hi @[Ann](user:u1)!", ("u1",)),
        ("<@U:u1> and <@U:u2|Bob> and <@U:u1>", ("u1", "u2")),
        ("@Ann user:u1 @[Ann](u1) <@u1> @[](user:u1)", ()),
        ("@[Ann](user:u 1) <@U:>", ()),
    ],
)
def test_what_is_a_mention(text: str, expected: tuple[str, ...]) -> None:
    assert mentions(text) == expected


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    assert len(mentions(text)) <= MENTIONS_KEPT


def test_only_so_many_mentions_count() -> None:
    text = " ".join(format_mention(f"u{number}", "x") for number in range(MENTIONS_KEPT + 9))

    assert len(mentions(text)) == MENTIONS_KEPT


# -- unread ----------------------------------------------------------------------------------------

SAID = st.builds(
    Said,
    st.integers(1, 20),
    st.sampled_from(["ann", "bob"]),
    st.none() | st.sampled_from(["p1", "p2"]),
    st.sets(st.sampled_from(["ann", "bob"])),
    st.booleans(),
)
READERS = st.builds(
    Reader,
    st.sampled_from(["ann", "bob"]),
    st.integers(0, 20),
    st.sets(st.sampled_from(["p1", "p2"])),
)


@given(SAID, READERS)
def test_one_s_own_read_and_deleted_messages_are_never_unread(said: Said, reader: Reader) -> None:
    assume(said.deleted or said.author_id == reader.user_id or said.seq <= reader.read_seq)

    assert not is_unread(said, reader)


@given(SAID, READERS)
def test_a_reply_counts_for_those_who_take_part_or_are_mentioned(
    said: Said, reader: Reader
) -> None:
    reader = Reader("bob", reader.read_seq, reader.follows)
    said = Said(reader.read_seq + said.seq, "ann", said.parent_id, said.mentions)
    concerned = said.parent_id in (None, *reader.follows) or "bob" in said.mentions

    assert is_unread(said, reader) == concerned


@given(SAID, READERS, st.integers(0, 20))
def test_reading_further_never_makes_anything_unread(
    said: Said, reader: Reader, further: int
) -> None:
    later = Reader(reader.user_id, reader.read_seq + further, reader.follows)

    assert is_unread(said, reader) or not is_unread(said, later)


# -- what ends access ------------------------------------------------------------------------------


def test_only_what_takes_access_away_ends_it() -> None:
    removed = ("member:removed", {"user_id": "ann"})

    assert ends_access(*removed)
    assert ends_access_of("ann", *removed)
    assert not ends_access_of("bob", *removed)
    assert ends_access_of("bob", "channel:deleted", {})
    assert ends_access_of("bob", "channel:updated", {"access_changed": True})
    assert not ends_access_of("bob", "channel:updated", {"access_changed": False})
    assert not ends_access("message", {})
