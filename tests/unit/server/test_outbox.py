"""The bounded outbox of a connection."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from parlour.server.outbox import Outbox, OutboxLimits
from parlour.wire.packets import Delta, Encoded, join_encoded
from parlour.wire.socketio import Decoder, encode_event


def delta_packet(stream: str, message: str, since: int, last: int, text: str) -> Encoded:
    def encode(first: int, end: int, joined: str) -> Encoded:
        return delta_packet(stream, message, first, end, joined)

    data = {"s": stream, "m": message, "since": since, "last": last, "text": text}
    delta = Delta(stream, message, "e", since, last, text, encode)
    return encode_event("delta", [data], delta=delta)


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
        if "text" in data:
            texts[data["m"]] = texts.get(data["m"], "") + data["text"]
        state[data["s"]] = (data["last"], texts)
    return state


@given(steps)
def test_a_slow_reader_gets_every_stream_whole_and_in_order(script):
    sources = {name: Source(name) for name in ("s1", "s2")}
    outbox = Outbox(OutboxLimits(high_water=200, hard=1_000_000, chunk=300))
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

    assert read([packet])[0][1] == {"s": "s", "m": "m", "since": 0, "last": 5, "text": "hello"}


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
    assert second.delta is not None
    second.delta = Delta("s", "m", "other", 1, 2, "b", second.delta.encode)

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

    assert read([packet])[0][1] == {"s": "s", "m": "m", "since": 0, "last": 6, "text": "ababab"}


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
