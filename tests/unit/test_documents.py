"""Documents without sockets: the shape of updates, awareness, what is pending, who is there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment, XmlText

from parlour.core.documents import (
    AwarenessState,
    document_of,
    note_of,
    read_awareness,
    read_state_vector,
    scan_update,
    wants_compaction,
    write_awareness,
)
from parlour.core.users import User
from parlour.documents.access import permission_of
from parlour.documents.live import LiveDocument
from parlour.documents.participants import Participant, Participants
from parlour.errors import InvalidPayload
from parlour.ports import NoteRecord, NoteText

NOTE = "0123456789abcdef"


def updates_of(work: Any, *, steps: int = 1) -> list[bytes]:
    """The updates of a document on which something was done, one per step."""
    doc: Doc[Any] = Doc(client_id=7)
    found: list[bytes] = []
    subscription = doc.observe(lambda event: found.append(event.update))
    for step in range(steps):
        with doc.transaction():
            work(doc, step)
    doc.unobserve(subscription)
    return found


def everything(doc: Doc[Any], step: int) -> None:
    """Every kind of content that Yjs writes."""
    text = doc.get("text", type=Text)
    text.insert(0, f"héllo 😀 {step}")
    if len(text) > 30:
        del text[0:6]
    values = doc.get("map", type=Map)
    values["k"] = {"a": [1, -5, 2**40, 1.5, None, True, False, "x", b"bytes"], "b": {}}
    values["inner"] = Map({"deep": Array([1, 2, 3])})
    fragment = doc.get("default", type=XmlFragment)
    block = fragment.children.append(XmlElement("heading", {"level": "2"}))
    inside = block.children.append(XmlText("some words"))
    inside.format(0, 4, {"bold": {}, "link": {"href": "http://x"}})
    inside.insert_embed(2, {"image": "x"})


SAMPLES = updates_of(everything, steps=3)


class TestNames:
    def test_a_document_has_one_name(self) -> None:
        assert note_of(document_of(NOTE)) == NOTE

    @pytest.mark.parametrize(
        "name",
        ["", NOTE, "note:", "note:short", f"note:{NOTE}:2", f"note:{NOTE}\n", f" note:{NOTE}"],
    )
    def test_anything_else_is_none(self, name: str) -> None:
        with pytest.raises(InvalidPayload):
            note_of(name)


class TestUpdates:
    def test_every_kind_of_content_is_walked_over_to_its_end(self) -> None:
        doc: Doc[Any] = Doc()
        for update in updates_of(everything, steps=12):
            doc.apply_update(update)
            state = read_state_vector(doc.get_state())

            shape = scan_update(update)

            assert shape.covered_by(state)
            assert dict(shape.ends).items() <= state.items()

    def test_a_whole_document_covers_its_own_state(self) -> None:
        doc: Doc[Any] = Doc()
        for update in updates_of(everything, steps=5):
            doc.apply_update(update)

        shape = scan_update(doc.get_update())

        assert dict(shape.ends) == read_state_vector(doc.get_state())

    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(st.data())
    def test_damage_is_refused_or_harmless(self, data: st.DataObject) -> None:
        """Bytes that were changed anywhere either are no update, or are one that can be applied."""
        update = bytearray(data.draw(st.sampled_from(SAMPLES)))
        at = data.draw(st.integers(0, len(update) - 1))
        update[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        live = LiveDocument()

        try:
            live.apply(bytes(update))
        except InvalidPayload:
            assert live.state() == {}

        live.snapshot()

    @pytest.mark.parametrize(
        "update",
        [
            b"\xff\xff\xff\xff\x07\x00",  # more clients than there are bytes
            b"\x01\xff\xff\xff\xff\x07\x01\x00\x00",  # more structs than there are bytes
            b"\x00\xff\xff\xff\xff\x07",  # more deletions than there are bytes
            b"\x01\x01\x01\x00\x08" + b"\x75\x01" * 200 + b"\x00",  # nested too deeply
            b"\x00\x00\x00",
        ],
    )
    def test_counts_that_promise_more_than_there_is_are_refused(self, update: bytes) -> None:
        with pytest.raises(InvalidPayload):
            scan_update(update)


class TestPending:
    def test_what_waits_is_no_news_until_its_ground_comes(self) -> None:
        updates = updates_of(lambda doc, step: _type(doc, f"{step} "), steps=3)
        live = LiveDocument()

        first, third, second = (live.apply(updates[at]) for at in (0, 2, 1))

        assert (first.news is None, first.complete) == (False, True)
        assert (third.news, third.complete) == (None, False)
        assert second.complete
        assert str(live.doc.get("text", type=Text)) == "0 1 2 "
        assert live.pending == []

    def test_a_deletion_waits_for_what_it_deletes(self) -> None:
        updates = updates_of(_type_then_delete, steps=2)
        live = LiveDocument()

        deleted = live.apply(updates[1])
        typed = live.apply(updates[0])

        assert (deleted.complete, typed.complete) == (False, True)
        assert str(live.doc.get("text", type=Text)) == "lo"
        assert live.pending == []

    def test_who_joins_gets_what_is_pending_too(self) -> None:
        updates = updates_of(lambda doc, step: _type(doc, f"{step} "), steps=4)
        live, joiner = LiveDocument(), LiveDocument()
        for at in (0, 2, 3):
            live.apply(updates[at])

        joiner.apply(live.since(None))
        joiner.apply(updates[1])

        assert str(joiner.doc.get("text", type=Text)) == "0 1 2 3 "

    def test_the_same_again_is_known(self) -> None:
        updates = updates_of(lambda doc, step: _type(doc, f"{step} "), steps=2)
        live = LiveDocument()
        for update in updates:
            live.apply(update)

        assert live.apply(updates[0]).known
        assert live.apply(live.snapshot()).known


def _type(doc: Doc[Any], words: str) -> None:
    text = doc.get("text", type=Text)
    text.insert(len(text), words)


def _type_then_delete(doc: Doc[Any], step: int) -> None:
    text = doc.get("text", type=Text)
    if step == 0:
        text.insert(0, "hello")
    else:
        del text[0:3]


class TestAwareness:
    def test_states_come_back_as_they_were(self) -> None:
        states = [AwarenessState(2**52, 7, {"user": {"name": "é"}}), AwarenessState(1, 300, None)]

        assert read_awareness(write_awareness(states)) == states

    @pytest.mark.parametrize(
        "update",
        [
            b"",
            b"\x01",
            b"\x01\x01\x01\x03[1]",
            b"\x01\x01\x01\x02{}"[:-1],
            b"\x09" + b"\x01" * 60,
            b"x" * 20_000,
        ],
    )
    def test_what_is_no_awareness_is_refused(self, update: bytes) -> None:
        with pytest.raises(InvalidPayload):
            read_awareness(update)


def person(sid: str, user: str = "ann", client: int | None = None) -> Participant:
    states = {} if client is None else {client: AwarenessState(client, 1, {"cursor": 1})}
    return Participant(sid, f"session-{sid}", user, user.capitalize(), "#111111", states)


class TestParticipants:
    def test_a_user_comes_with_the_first_connection_and_leaves_with_the_last(self) -> None:
        people = Participants()

        came = [people.enter("n1", [person("a")]), people.enter("n2", [person("b")])]
        went = [people.leave("n1", ["a"]), people.leave("n2", ["b"])]

        assert [[one.user_id for one in moved.joined] for moved in came] == [["ann"], []]
        assert [[one.user_id for one in moved.left] for moved in went] == [[], ["ann"]]

    def test_a_node_that_dies_takes_its_people_and_their_cursors(self) -> None:
        people = Participants()
        people.enter("n1", [person("a", "ann", 1)])
        people.enter("n2", [person("b", "bob", 2), person("c", "cid", 3)])

        moved = people.depart("n2")

        assert sorted(one.user_id for one in moved.left) == ["bob", "cid"]
        assert sorted((s.client, s.clock, s.state) for s in moved.states) == [
            (2, 2, None),
            (3, 2, None),
        ]
        assert [state.client for state in people.states()] == [1]

    def test_a_full_list_replaces_what_was_known_of_a_node(self) -> None:
        people = Participants()
        people.enter("n2", [person("b", "bob", 2), person("c", "cid", 3)])

        moved = people.replace("n2", [person("c", "cid", 3), person("d", "dan", 4)])

        assert [one.user_id for one in moved.left] == ["bob"]
        assert [one.user_id for one in moved.joined] == ["dan"]

    def test_a_state_bears_the_verified_name(self) -> None:
        people = Participants()
        people.enter("n1", [person("a")])
        state = AwarenessState(5, 1, {"user": {"name": "Root", "id": "x", "color": "#fff"}})

        (told,) = people.tell("n1", "a", [state])

        assert told.state == {"user": {"name": "Ann", "id": "ann", "color": "#fff"}}

    def test_somebody_elses_client_cannot_be_spoken_for(self) -> None:
        people = Participants()
        people.enter("n1", [person("a", "ann", 5), person("e", "eve")])

        told = people.tell("n1", "e", [AwarenessState(5, 9, None)])

        assert told == []
        assert [state.client for state in people.states()] == [5]

    def test_an_older_state_is_no_news(self) -> None:
        people = Participants()
        people.enter("n1", [person("a", "ann")])
        people.tell("n1", "a", [AwarenessState(5, 9, {"cursor": 1})])

        assert people.tell("n1", "a", [AwarenessState(5, 8, {"cursor": 0})]) == []

    def test_what_one_connection_says_is_bounded(self) -> None:
        people = Participants()
        people.enter("n1", [person("a", "ann")])
        for client in range(100):
            people.tell("n1", "a", [AwarenessState(client, 1, {"cursor": client})])

        found = people.find("n1", "a")

        assert found is not None
        assert len(found.states) <= 8
        assert 99 in found.states


class TestAccess:
    @pytest.mark.parametrize(
        ("user", "granted", "permission"),
        [
            (User("ann", "Ann"), (False, False), "owner"),
            (User("bob", "Bob"), (False, False), None),
            (User("bob", "Bob"), (True, False), "read"),
            (User("bob", "Bob"), (True, True), "write"),
            (User("root", "Root", "admin"), (False, False), "owner"),
        ],
    )
    def test_a_note_is_for_its_owner_for_whom_it_is_shared_with_and_for_administrators(
        self, user: User, granted: tuple[bool, bool], permission: str | None
    ) -> None:
        said = NoteText("", "", "", "", 1, "", 0)
        note = NoteRecord(NOTE, "ann", "Ann", said, 0, 0, 0, 0, granted)

        assert permission_of(note, user) == permission


class TestCompaction:
    @pytest.mark.parametrize(
        ("updates", "log_bytes", "snapshot_bytes", "wanted"),
        [
            (1, 10_000_000, 0, False),
            (100, 5_000, 0, False),
            (100, 70_000, 0, True),
            (500, 15_000, 0, True),
            (500, 15_000, 1_000_000, False),
            (100, 70_000, 1_000_000, False),
            (5_000, 1_000_001, 1_000_000, True),
        ],
    )
    def test_a_log_is_compacted_when_it_has_grown(
        self, updates: int, log_bytes: int, snapshot_bytes: int, wanted: bool
    ) -> None:
        assert wants_compaction(updates, log_bytes, snapshot_bytes) is wanted
