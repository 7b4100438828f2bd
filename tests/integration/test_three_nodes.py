"""Three processes, real clients on each: every routing call reaches exactly those whom it addresses.

On one Redis in every run. `THREE_NODES_ON=sentinel,cluster` runs it on those as well, before and
after a fail-over or a migration of slots (`make fault`).
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from parlour.testing.servers import PostgresServer, RedisServer, ServerMissing
from tests.conftest import missing
from tests.integration.three_nodes import (
    LIMIT_S,
    Listener,
    Person,
    Stores,
    Trio,
    on_cluster,
    on_one_redis,
    on_sentinel,
    running_trio,
)

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("moved"),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Where Redis can move, everything is run before and after it did."""
    cases = [("one redis", False)]
    for topology in filter(None, os.environ.get("THREE_NODES_ON", "").split(",")):
        cases += [(topology, False), (topology, True)]
    names = [f"{topology}, moved" if moved else topology for topology, moved in cases]
    metafunc.parametrize(("stores", "moved"), cases, indirect=True, ids=names, scope="module")


@pytest.fixture(scope="module")
def stores(request: pytest.FixtureRequest, redis_server: RedisServer) -> Iterator[Stores]:
    opened = {"one redis": lambda: on_one_redis(redis_server)}
    opened |= {"sentinel": on_sentinel, "cluster": on_cluster}
    try:
        with opened[request.param]() as ready:
            yield ready
    except ServerMissing as error:
        missing(error)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def trio(
    tmp_path_factory: pytest.TempPathFactory, stores: Stores, postgres_server: PostgresServer
) -> AsyncIterator[Trio]:
    async with running_trio(tmp_path_factory.mktemp("trio"), stores, postgres_server) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def moved(request: pytest.FixtureRequest, trio: Trio) -> bool:
    """Whether Redis has moved before the tests. The same clients are connected all the time."""
    if request.param:
        assert trio.stores.disturb is not None
        async with AsyncExitStack() as opened:
            _, (listener,) = await trio.somebody(opened, "a")
            channel = await make_channel(listener)
            await say(listener, channel, "before")
            await trio.stores.disturb(f"channel:{channel}")
            await asyncio.gather(*(trio.ready(node) for node in trio.nodes))
    return bool(request.param)


@pytest_asyncio.fixture(loop_scope="module")
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


async def heard(listener: Listener, event: str) -> list[Any]:
    """What somebody heard of one kind, after everything that was sent to it so far."""
    answer = await listener.call("heartbeat")
    assert answer["ok"], answer
    return [payload for name, payload in listener.heard if name == event]


def room() -> str:
    return f"doc_{uuid.uuid4().hex}"


# -- telling ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sender", ["a", "b", "c"])
async def test_users_are_reached_on_every_node_and_nobody_else(
    trio: Trio, stack: AsyncExitStack, sender: str
) -> None:
    ada, on_all = await trio.somebody(stack, "a", "b", "c")
    bob, on_one = await trio.somebody(stack, "c")
    _, others = await trio.somebody(stack, "a", "c")

    reached = await trio.order(
        sender, "emit_to_users", event="note", data={"n": 1}, user_ids=[ada.id, bob.id]
    )

    assert reached == {"connections": 4, "failures": {}}
    for listener in (*on_all, *on_one):
        assert await heard(listener, "note") == [{"n": 1}]
    for listener in others:
        assert await heard(listener, "note") == []


@pytest.mark.parametrize("home", ["a", "c"])
async def test_a_session_is_reached_wherever_it_is(
    trio: Trio, stack: AsyncExitStack, home: str
) -> None:
    person, session = await trio.person(), uuid.uuid4().hex
    mine = await trio.listen(stack, home, person, session_id=session)
    other = await trio.listen(stack, home, person)
    await trio.known(person, 2)

    reached = await trio.order("b", "emit_to_session", event="x", data=2, session_id=session)

    assert reached == {"connections": 1, "failures": {}}
    assert await heard(mine, "x") == [2]
    assert await heard(other, "x") == []


async def test_a_user_hears_the_own_stream_on_every_node(trio: Trio, stack: AsyncExitStack) -> None:
    ada, listeners = await trio.somebody(stack, "b", "c")

    await trio.order("a", "notify", user_id=ada.id, event={"type": "hello", "data": {"n": 3}})

    for listener in listeners:
        told = await listener.until(lambda e, p: e == "events" and p["data"]["type"] == "hello")
        assert told["data"]["data"] == {"n": 3}


# -- rooms -----------------------------------------------------------------------------------------


async def test_rooms_span_the_nodes_until_they_are_left(trio: Trio, stack: AsyncExitStack) -> None:
    one = room()
    ada, ada_on = await trio.somebody(stack, "a", "c")
    bob, bob_on = await trio.somebody(stack, "b")
    _, others = await trio.somebody(stack, "c")
    entered = await trio.order("b", "enter_room_for_users", room=one, user_ids=[ada.id, bob.id])

    reached = await trio.order("c", "emit_to_room", event="note", data=1, room=one)
    left = await trio.order(
        "a", "leave_room_for_users", room=one, user_ids=[ada.id], reason="removed"
    )
    after = await trio.order("b", "emit_to_room", event="note", data=2, room=one)

    assert [entered["connections"], reached["connections"]] == [3, 3]
    assert [left["connections"], after["connections"]] == [2, 1]
    for listener in ada_on:
        assert await heard(listener, "note") == [1]
        assert await heard(listener, "access:updated") == [{"room": one, "reason": "removed"}]
    assert await heard(bob_on[0], "note") == [1, 2]
    assert await heard(others[0], "note") == []


async def test_members_of_a_room_are_known_on_every_node(trio: Trio, stack: AsyncExitStack) -> None:
    one, sessions = room(), [uuid.uuid4().hex, uuid.uuid4().hex]
    ada, bob = await trio.person(), await trio.person()
    await trio.listen(stack, "a", ada, session_id=sessions[0])
    await trio.listen(stack, "c", bob, session_id=sessions[1])
    for person in (ada, bob):
        await trio.known(person, 1)
    await trio.order("b", "enter_room_for_users", room=one, user_ids=[ada.id, bob.id])

    told = [
        (
            await trio.order(node, "get_user_ids_from_room", room=one),
            await trio.order(node, "get_session_ids_from_room", room=one),
        )
        for node in "abc"
    ]

    assert told == [(sorted([ada.id, bob.id]), sorted(sessions))] * 3


# -- calling ---------------------------------------------------------------------------------------


async def called(trio: Trio, node: str, session: str, name: str, timeout: float = 20) -> Any:
    return await trio.order(
        node, "call", session_id=session, name=name, args={"n": 21}, timeout=timeout
    )


async def test_a_call_gives_the_answer_the_refusal_or_the_silence(
    trio: Trio, stack: AsyncExitStack
) -> None:
    person, session = await trio.person(), uuid.uuid4().hex
    await trio.listen(stack, "c", person, session_id=session)
    await trio.known(person, 1)

    answered = await called(trio, "a", session, "double")
    asked = await trio.order(
        "b", "event_call", session_id=session, event={"type": "double", "data": {"n": 4}}
    )
    refused = await called(trio, "a", session, "refuse")
    silent = await called(trio, "a", session, "unknown", timeout=0.5)
    nobody = await called(trio, "a", uuid.uuid4().hex, "double")

    assert [answered, asked] == [42, 8]
    assert refused == {"error": "call_refused", "message": "no"}
    assert silent["error"] == "call_timeout"
    assert nobody["error"] == "call_gone"


async def test_a_call_to_somebody_who_comes_back_elsewhere_is_delivered_once_there(
    trio: Trio, stack: AsyncExitStack
) -> None:
    person, session = await trio.person(), uuid.uuid4().hex
    first = await trio.listen(stack, "b", person, session_id=session)
    await trio.known(person, 1)
    asked = asyncio.create_task(called(trio, "a", session, "double", timeout=LIMIT_S))
    before = await first.until(lambda event, payload: event == "call")
    await first.close()

    second = await trio.listen(stack, "c", person, session_id=session)
    answer = await asked

    calls = await heard(second, "call")
    assert answer == 42
    assert [call["call_id"] for call in calls] == [before["call_id"]]


# -- conversations ---------------------------------------------------------------------------------


async def test_an_event_emitter_changes_the_message_for_readers_on_other_nodes(
    trio: Trio, stack: AsyncExitStack
) -> None:
    _, readers = await trio.somebody(stack, "b", "c")
    thread, message = uuid.uuid4().hex, uuid.uuid4().hex
    for reader in readers:
        assert (await reader.call("subscribe", stream=f"thread:{thread}"))["ok"]
    await trio.order("a", "say", thread_id=thread, message_id=message)

    await trio.order(
        "a",
        "event_emitter",
        thread_id=thread,
        message_id=message,
        events=[
            {"type": "status", "data": {"description": "Searching"}},
            {"type": "message", "data": {"content": "one "}},
            {"type": "message", "data": {"content": "two"}},
            {"type": "citation", "data": {"source": {"name": "A book"}}},
        ],
    )

    for reader in readers:
        await reader.until(lambda e, p: e == "events" and p["data"]["type"] == "source")
        text = [
            payload["data"]["data"]["text"]
            for payload in await heard(reader, "events")
            if payload["data"]["type"] == "message:delta"
        ]
        assert "".join(text) == "one two"


# -- channels --------------------------------------------------------------------------------------


async def make_channel(owner: Listener, *members: Person) -> str:
    made = await owner.call(
        "channel:create",
        kind="group",
        name="Plans",
        user_ids=[member.id for member in members],
        command_id=uuid.uuid4().hex,
    )
    assert made["ok"], made
    return str(made["channel"]["id"])


async def say(speaker: Listener, channel: str, text: str) -> Any:
    said = await speaker.call(
        "message:send", channel_id=channel, content=text, command_id=uuid.uuid4().hex
    )
    assert said["ok"], said
    return said


def said_in(channel: str, text: str) -> Any:
    def wanted(event: str, payload: Any) -> bool:
        return (
            event == "events:channel"
            and payload["channel_id"] == channel
            and payload["data"]["type"] == "message"
            and payload["data"]["data"]["content"] == text
        )

    return wanted


def texts(listener: Listener) -> list[str]:
    return [
        payload["data"]["data"]["content"]
        for event, payload in listener.heard
        if event == "events:channel" and payload["data"]["type"] == "message"
    ]


async def test_who_is_added_on_one_node_hears_the_channel_on_another_at_once(
    trio: Trio, stack: AsyncExitStack
) -> None:
    _, (owner,) = await trio.somebody(stack, "a")
    carl, (listener,) = await trio.somebody(stack, "c")
    channel = await make_channel(owner)

    added = await owner.call(
        "channel:members:add", channel_id=channel, user_ids=[carl.id], command_id="add"
    )
    await say(owner, channel, "welcome")

    assert added["ok"], added
    await listener.until(said_in(channel, "welcome"))
    assert texts(listener) == ["welcome"]


async def test_who_is_removed_hears_nothing_a_second_later(
    trio: Trio, stack: AsyncExitStack
) -> None:
    _, (owner,) = await trio.somebody(stack, "a")
    bob, (on_b, on_c) = await trio.somebody(stack, "b", "c")
    stays, (witness,) = await trio.somebody(stack, "c")
    channel = await make_channel(owner, bob, stays)
    await say(owner, channel, "before")
    for listener in (on_b, on_c, witness):
        await listener.until(said_in(channel, "before"))
    removed_at = time.monotonic()
    removed = await owner.call(
        "channel:members:remove", channel_id=channel, user_id=bob.id, command_id="remove"
    )
    answered_after = time.monotonic() - removed_at

    # Said right behind the removal, not a second later: the stricter promise is kept as well.
    await say(owner, channel, "secret")
    await witness.until(said_in(channel, "secret"))

    assert removed["ok"], removed
    for listener in (on_b, on_c):
        assert [one["reason"] for one in await heard(listener, "access:updated")] == ["removed"]
        assert texts(listener) == ["before"]
        refused = await listener.call("subscribe", stream=f"channel:{channel}")
        assert refused["error"]["code"] == "forbidden"
    print(f"the removal was answered after {answered_after * 1000:.0f} ms")


async def test_who_was_removed_and_is_added_again_hears_the_channel_again(
    trio: Trio, stack: AsyncExitStack
) -> None:
    _, (owner,) = await trio.somebody(stack, "a")
    bob, (listener,) = await trio.somebody(stack, "c")
    channel = await make_channel(owner, bob)
    for event, more in (
        ("channel:members:remove", {"user_id": bob.id}),
        ("channel:members:add", {"user_ids": [bob.id]}),
    ):
        done = await owner.call(event, channel_id=channel, command_id=event, **more)
        assert done["ok"], done

    await say(owner, channel, "again")

    await listener.until(said_in(channel, "again"))
    assert texts(listener) == ["again"]
    # The event that lets somebody in is the first one heard: who was shut out learns by it.
    changes = [
        (payload["data"]["type"], payload["data"]["data"]["user_id"])
        for payload in await heard(listener, "events:channel")
        if payload["data"]["type"].startswith("member:")
    ]
    assert changes[-2:] == [("member:removed", bob.id), ("member:added", bob.id)]


# -- closing ---------------------------------------------------------------------------------------


async def test_a_user_is_disconnected_on_every_node(trio: Trio, stack: AsyncExitStack) -> None:
    ada, listeners = await trio.somebody(stack, "a", "b", "c")
    _, others = await trio.somebody(stack, "c")

    reached = await trio.order("b", "disconnect_user", user_id=ada.id, reason="locked")

    assert reached == {"connections": 3, "failures": {}}
    for listener in listeners:
        told = await listener.until(lambda event, payload: event == "reconnect")
        assert told["reason"] == "locked"
    assert await heard(others[0], "reconnect") == []


# -- models in use ---------------------------------------------------------------------------------

ENTRY_S = 3.0
"""How long an entry lives after its last renewal."""


async def until_used_by(trio: Trio, model: str, sessions: int, *renewing: Listener) -> float:
    """Wait until so many sessions use a model, while some say so again and again; gives back when
    (monotonic seconds)."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            # At the same moment, on different nodes: no entry may be lost.
            told = await asyncio.gather(*(one.call("usage", model=model) for one in renewing))
            assert all(one["ok"] for one in told), told
            used = await trio.order("b", "in_use")
            if used.get(model, 0) == sessions:
                return time.monotonic()


async def test_a_model_is_free_some_seconds_after_the_last_client_is_killed(
    trio: Trio, stack: AsyncExitStack
) -> None:
    model = f"model-{uuid.uuid4().hex}"
    _, (on_a,) = await trio.somebody(stack, "a")
    _, (on_c,) = await trio.somebody(stack, "c")
    await until_used_by(trio, model, 2, on_a, on_c)
    left = await on_a.call("usage", model=model, action="release")
    await until_used_by(trio, model, 1, on_c)
    last = time.monotonic()
    await on_c.call("usage", model=model)

    await on_c.close()
    free_after = await until_used_by(trio, model, 0) - last

    assert left["ok"], left
    assert free_after > ENTRY_S - 0.6  # a renewal within half a second of another is the same one
    print(f"the model was free {free_after:.1f} s after the last renewal of a killed client")


async def test_a_model_stays_in_use_while_an_answer_streams(
    trio: Trio, stack: AsyncExitStack
) -> None:
    model = f"model-{uuid.uuid4().hex}"
    answering = asyncio.create_task(trio.order("a", "use_model", model=model))
    began = await until_used_by(trio, model, 1)
    seen = set()
    while time.monotonic() - began < ENTRY_S + 0.7:
        seen.add((await trio.order("b", "in_use")).get(model, 0))
    await trio.order("a", "finish", model=model)
    await answering
    over = time.monotonic()

    free_after = await until_used_by(trio, model, 0) - over

    assert seen == {1}
    print(f"the model was free {free_after:.1f} s after the answer")


# -- without Redis ---------------------------------------------------------------------------------


async def test_without_redis_a_node_serves_what_it_can_and_catches_up_afterwards(
    trio: Trio, stack: AsyncExitStack
) -> None:
    if trio.stores.away is None:
        pytest.skip("this Redis cannot be paused as one")
    ann, (owner,) = await trio.somebody(stack, "a")
    bob, (near, far) = await trio.somebody(stack, "a", "c")
    channel = await make_channel(owner, bob)
    await say(owner, channel, "before")
    for listener in (owner, near, far):
        await listener.until(said_in(channel, "before"))
    send = {"channel_id": channel, "content": "during", "command_id": "during"}
    typing = {"channel_id": channel, "data": {"type": "typing", "data": {"typing": True}}}

    with trio.stores.away():
        parts = await asyncio.gather(*(trio.ready(node, False) for node in trio.nodes))
        alive = await owner.call("heartbeat")
        signalled = await owner.call("events:channel", **typing)
        await near.until(
            lambda e, p: e == "events:channel" and p["data"]["type"] == "typing", LIMIT_S
        )
        refused = await owner.call("message:send", **send)
        read = await trio.read(ann, "a", f"/api/channels/{channel}/messages")
    await asyncio.gather(*(trio.ready(node) for node in trio.nodes))
    again = await owner.call("message:send", **send)

    for listener in (owner, near, far):
        await listener.until(said_in(channel, "during"), LIMIT_S)
        await heard(listener, "access:updated")
        assert texts(listener) == ["before", "during"]
    assert [part["redis"] for part in parts] == [False, False, False]
    assert [one["ok"] for one in (alive, signalled, again)] == [True, True, True]
    assert (refused["error"]["code"], refused["error"]["retryable"]) == ("unavailable", True)
    assert "before" in [message["content"] for message in read["items"]]
    reached = await trio.order(
        "b", "emit_to_users", event="note", data=1, user_ids=[ann.id, bob.id]
    )
    assert reached == {"connections": 3, "failures": {}}
