"""Presence as a value: nodes may exchange it in any order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parlour.core.presence import AWAY_AFTER_MS, Presence, Present, Slot, Status, status_at

PEOPLE = st.builds(
    Present,
    id=st.sampled_from(["u1", "u2", "u3"]),
    name=st.sampled_from(["Ada", "Bob"]),
    away=st.booleans(),
)
SLOTS = st.builds(
    Slot,
    version=st.integers(1, 4),
    people=st.lists(PEOPLE, max_size=3).map(lambda people: {one.id: one for one in people}),
)
PRESENCES = st.dictionaries(st.sampled_from(["a", "b", "c"]), SLOTS).map(Presence)

ADA = Present("u1", "Ada")
BOB = Present("u2", "Bob")


@given(PRESENCES, PRESENCES)
def test_merging_is_commutative(one: Presence, other: Presence) -> None:
    assert one.merge(other) == other.merge(one)


@given(PRESENCES, PRESENCES, PRESENCES)
def test_merging_is_associative(one: Presence, two: Presence, three: Presence) -> None:
    assert one.merge(two).merge(three) == one.merge(two.merge(three))


@given(PRESENCES, PRESENCES)
def test_merging_twice_is_merging_once(one: Presence, other: Presence) -> None:
    assert one.merge(one) == one
    assert one.merge(other).merge(other) == one.merge(other)


@given(st.lists(st.tuples(st.booleans(), PEOPLE), max_size=8), st.randoms(use_true_random=False))
def test_changes_of_a_node_may_arrive_in_any_order_and_twice(changes, random) -> None:  # type: ignore[no-untyped-def]
    states = [Presence()]
    for version, (joins, person) in enumerate(changes, start=1):
        last = states[-1]
        states.append(
            last.join("a", person, version) if joins else last.leave("a", person.id, version)
        )
    arriving = [*states, *states]
    random.shuffle(arriving)

    merged = Presence()
    for state in arriving:
        merged = merged.merge(state)

    assert merged == states[-1]


@given(PRESENCES, PRESENCES)
def test_a_difference_applied_to_what_was_there_gives_what_is_there(
    before: Presence, after: Presence
) -> None:
    difference = before.difference(after)

    people = before.people()
    for one in difference.left:
        del people[one.id]
    people.update((one.id, one) for one in (*difference.joined, *difference.changed))

    assert people == after.people()


def test_a_person_with_two_tabs_on_two_nodes_leaves_with_the_last_one() -> None:
    both = Presence().join("a", ADA, 1).join("b", ADA, 1)

    one_left = both.leave("a", ADA.id, 2)
    none_left = one_left.leave("b", ADA.id, 2)

    assert one_left.people() == {ADA.id: ADA}
    assert not both.difference(one_left)
    assert none_left.people() == {}
    assert one_left.difference(none_left).left == (ADA,)


def test_a_person_is_away_only_where_every_node_says_so() -> None:
    away = Present(ADA.id, ADA.name, away=True)
    presence = Presence().join("a", away, 1).join("b", ADA, 1)

    only_away = presence.leave("b", ADA.id, 2)

    assert presence.person(ADA.id) == ADA
    assert presence.difference(only_away).changed == (away,)


def test_a_dead_node_takes_its_people_along() -> None:
    presence = Presence().join("a", ADA, 1).join("b", BOB, 1)

    rest = presence.without("a")

    assert rest.people() == {BOB.id: BOB}
    assert presence.difference(rest).left == (ADA,)


def test_status_follows_the_newest_activity_of_all_connections() -> None:
    now = 10 * AWAY_AFTER_MS

    assert status_at([], now) is Status.OFFLINE
    assert status_at([now - AWAY_AFTER_MS, now - 1], now) is Status.ONLINE
    assert status_at([now - AWAY_AFTER_MS], now) is Status.AWAY
