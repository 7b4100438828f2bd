"""The bounded outbox of a connection."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlour.core.streams import Event
from parlour.core.thread import ThreadState, fold
from parlour.server.delivery import encode_stream_event
from parlour.server.outbox import Outbox, OutboxLimits
from parlour.wire.packets import Encoded, join_encoded
from parlour.wire.socketio import Decoder, encode_event


@dataclass
class SomeDelta:
    """`wire.packets.Delta` of a packet that is easy to read."""

    stream: str
    message_id: str
    epoch: str
    since: int
    last: int
    text: str
    namespace: str = "/"

    def encode(self, since: int, last: int, texts: Mapping[str, str]) -> Encoded:
        data = {"s": self.stream, "since": since, "last": last, "texts": dict(texts)}
        return encode_event("delta", [data])


def delta_packet(stream: str, message: str, since: int, last: int, text: str) -> Encoded:
    delta = SomeDelta(stream, message, "e", since, last, text)
    packet = delta.encode(since, last, {message: text})
    packet.delta = delta
    return packet


def read(packets: list[Encoded]) -> list:
    return [Decoder().feed(packet.parts[0], 1).data for packet in packets]


def plain(number: int, size: int = 10) -> Encoded:
    return encode_event("plain", [number, "x" * size])


@dataclass
class Source:
    """One stream of several messages' deltas and other events, numbered without gaps."""

    name: str
    offset: int = 0

    def delta(self, message: str, text: str) -> Encoded:
        self.offset += 1
        return delta_packet(self.name, message, self.offset - 1, self.offset, text)

    def event(self) -> Encoded:
        self.offset += 1
        return encode_event("event", [{"s": self.name, "last": self.offset}])


steps = st.lists(
    st.tuples(
        st.sampled_from(["s1", "s2"]),
        st.sampled_from(["m1", "m2", "event", "take"]),
        st.text(max_size=8),
    ),
    max_size=60,
)


def follow(packets: list[Encoded]) -> dict[str, tuple[int, dict[str, str]]]:
    """What a client has that keeps the rule: a packet must begin where its stream stands."""
    state: dict[str, tuple[int, dict[str, str]]] = {}
    for _, data in read(packets):
        offset, texts = state.setdefault(data["s"], (0, {}))
        assert data.get("since", data["last"] - 1) == offset
        for message, text in data.get("texts", {}).items():
            texts[message] = texts.get(message, "") + text
        state[data["s"]] = (data["last"], texts)
    return state


@pytest.mark.parametrize("mixes", [False, True])
@given(steps)
def test_a_slow_reader_gets_every_stream_whole_and_in_order(mixes, script):
    sources = {name: Source(name) for name in ("s1", "s2")}
    outbox = Outbox(OutboxLimits(high_water=200, hard=1_000_000, chunk=300), mixes=mixes)
    slow, fast = [], []
    for stream, what, text in script:
        if what == "take":
            slow += outbox.take()
            continue
        source = sources[stream]
        packet = source.event() if what == "event" else source.delta(what, text)
        fast.append(packet)
        assert outbox.push(packet)
    while len(outbox):
        slow += outbox.take()

    assert follow(slow) == follow(fast)
    assert outbox.size == 0


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 300))
def test_the_size_never_passes_the_hard_limit_but_for_one_packet(sizes, hard):
    outbox = Outbox(OutboxLimits(high_water=min(50, hard), hard=hard, chunk=100))

    for number, size in enumerate(sizes):
        before = (len(outbox), outbox.size)
        if not outbox.push(plain(number, size)):
            assert (len(outbox), outbox.size) == before
        assert outbox.size <= hard or len(outbox) == 1


def test_below_the_high_water_mark_deltas_stay_as_they_came():
    outbox, source = Outbox(), Source("s")
    packets = [source.delta("m", "a") for _ in range(10)]

    for packet in packets:
        outbox.push(packet)

    assert outbox.take() == packets


def test_beyond_it_contiguous_deltas_become_one_packet_with_the_newest_position():
    outbox, source = Outbox(OutboxLimits(high_water=0)), Source("s")
    for text in "hello":
        outbox.push(source.delta("m", text))

    [packet] = outbox.take()

    assert read([packet])[0][1] == {"s": "s", "since": 0, "last": 5, "texts": {"m": "hello"}}


def test_a_delta_never_moves_in_front_of_an_acknowledgement():
    outbox, source = Outbox(OutboxLimits(high_water=0)), Source("s")
    outbox.push(source.delta("m", "a"))
    outbox.push(plain(1), barrier=True)
    outbox.push(source.delta("m", "b"))

    names = [data[0] for data in read(outbox.take())]

    assert names == ["delta", "plain", "delta"]


def test_another_epoch_is_not_joined():
    outbox = Outbox(OutboxLimits(high_water=0))
    first, second = delta_packet("s", "m", 0, 1, "a"), delta_packet("s", "m", 1, 2, "b")
    second.delta = SomeDelta("s", "m", "other", 1, 2, "b")

    outbox.push(first)
    outbox.push(second)

    assert outbox.take() == [first, second]


def test_an_empty_outbox_takes_one_packet_of_any_size():
    outbox = Outbox(OutboxLimits(high_water=10, hard=100))

    assert outbox.push(plain(1, 5000))
    assert not outbox.push(plain(2, 5))


def test_a_batch_is_joined_like_its_packets():
    outbox, source = Outbox(OutboxLimits(high_water=0)), Source("s")
    for _ in range(3):
        outbox.push(join_encoded([source.delta("m", "a"), source.delta("m", "b")]))

    [packet] = outbox.take()

    assert read([packet])[0][1] == {"s": "s", "since": 0, "last": 6, "texts": {"m": "ababab"}}


def test_a_writer_takes_about_a_chunk_at_a_time():
    outbox = Outbox(OutboxLimits(high_water=1_000_000, chunk=100))
    for number in range(10):
        outbox.push(plain(number, 30))

    first = outbox.take()

    assert 1 <= len(first) < 10
    assert sum(packet.size for packet in first) <= 100


def test_joined_deltas_cost_their_text_only():
    outbox, source = Outbox(OutboxLimits(high_water=0, hard=10_000)), Source("s")

    accepted = sum(outbox.push(source.delta("m", "tok")) for _ in range(3000))

    assert accepted == 3000
    assert len(outbox) == 1


# -- deltas of several messages in turns ---------------------------------------------------------


def test_deltas_in_turns_are_one_packet_for_a_client_that_reads_such():
    outbox, source = Outbox(OutboxLimits(high_water=0), mixes=True), Source("s")
    for message, text in [("a", "A"), ("b", "B"), ("a", "a"), ("c", "C"), ("b", "b")]:
        outbox.push(source.delta(message, text))

    [packet] = outbox.take()

    texts = {"a": "Aa", "b": "Bb", "c": "C"}
    assert read([packet])[0][1] == {"s": "s", "since": 0, "last": 5, "texts": texts}


def test_for_any_other_client_they_stay_apart():
    outbox, source = Outbox(OutboxLimits(high_water=0)), Source("s")
    for message in "abab":
        outbox.push(source.delta(message, "x"))

    packets = outbox.take()

    assert [len(data["texts"]) for _, data in read(packets)] == [1] * 4


def test_what_waits_of_deltas_in_turns_takes_their_text_only():
    outbox, source = Outbox(OutboxLimits(high_water=0, hard=10_000), mixes=True), Source("s")

    turns = cycle(("a", "b", "c"))
    accepted = sum(outbox.push(source.delta(next(turns), "tok")) for _ in range(3000))

    assert accepted == 3000
    assert len(outbox) == 1
    assert outbox.size < 3000 * len("tok") + 500


def test_the_hard_limit_holds_for_deltas_in_turns():
    outbox, source = Outbox(OutboxLimits(high_water=0, hard=1_000), mixes=True), Source("s")

    turns = cycle(("a", "b"))
    accepted = [outbox.push(source.delta(next(turns), "x" * 50)) for _ in range(100)]

    assert 10 < accepted.index(False) < 20
    assert outbox.size <= 1_000


conversation = st.lists(
    st.tuples(
        st.sampled_from(["m1", "m2", "m3", "unknown", "title", "done", "take"]),
        st.text(st.characters(codec="utf-8"), max_size=6),
    ),
    max_size=60,
)


@given(conversation)
def test_a_slow_reader_of_a_conversation_ends_where_a_fast_one_does(script):
    written = [("message", {"id": one, "role": "assistant"}) for one in ("m1", "m2", "m3")]
    outbox = Outbox(OutboxLimits(high_water=300, hard=1_000_000, chunk=400), mixes=True)
    slow: list[Encoded] = []
    events: list[Event] = []

    def append(type: str, data: dict) -> None:
        events.append(Event("thread:t", "e", len(events) + 1, type, data, 1))
        assert outbox.push(encode_stream_event(events[-1]))

    for type, data in written:
        append(type, data)
    for what, text in script:
        if what == "take":
            slow += outbox.take()
        elif what == "title":
            append("chat:title", {"title": text})
        elif what == "done":
            append("message:done", {"id": "m1"})
        else:
            append("message:delta", {"id": what, "text": text})
    while len(outbox):
        slow += outbox.take()

    position, state = 0, ThreadState()
    for _, told in read(slow):
        assert told.get("since", told["offset"] - 1) == position
        position = told["offset"]
        event = replace(events[position - 1], **told["data"])
        state = fold(state, [event])[0]
    assert position == len(events)
    assert state == fold(ThreadState(), events)[0]
