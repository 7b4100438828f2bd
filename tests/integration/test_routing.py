"""Three nodes on one Redis: everybody is reached wherever they are, and nobody else."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from parlour.core.usage import ENTRY_MS
from parlour.errors import CallGone, CallRefused, CallTimeout
from parlour.server.conversation_events import get_event_call, get_event_emitter
from parlour.testing.servers import PostgresServer, RedisServer
from tests.apps import ScriptedApp
from tests.rest import code_of, rest
from tests.serving import LIMIT_S, Client, Served, serve

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Cluster:
    """Three nodes that know each other."""

    a: Served
    b: Served
    c: Served

    @property
    def nodes(self) -> tuple[Served, Served, Served]:
        return self.a, self.b, self.c

    async def user_id(self, name: str) -> str:
        record = await self.a.node.users.user_by_login(name)
        assert record is not None
        return record.id


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def cluster(
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: RedisServer,
    postgres_server: PostgresServer,
) -> AsyncIterator[Cluster]:
    folder = tmp_path_factory.mktemp("routing")
    shared: dict[str, Any] = {
        "redis_url": redis_server.url,
        "redis_key_prefix": folder.name,
        "database_url": await postgres_server.create_database("routing"),
        "database_pool_size": 3,
        # Long, so that a node whose neighbours take the processors is not taken for dead.
        "node_lease_seconds": 30.0,
    }
    async with AsyncExitStack() as stack:
        served = [
            await stack.enter_async_context(serve(ScriptedApp(), folder / name, **shared))
            for name in "abc"
        ]
        yield Cluster(*served)


@pytest_asyncio.fixture(loop_scope="module")
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


def name() -> str:
    return f"user-{uuid.uuid4().hex[:8]}"


def room() -> str:
    return f"doc_{uuid.uuid4().hex}"


async def join(
    cluster: Cluster, stack: AsyncExitStack, served: Served, user: str, **auth: Any
) -> Client:
    """A connection that every node knows of."""
    client = await stack.enter_async_context(Client.open(served, user, **auth))
    await served.node.registrar.settled()
    return client


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = LIMIT_S) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


async def heard(client: Client, event: str) -> list[Any]:
    """What a client heard of one kind, after everything that was sent to it so far."""
    await client.call("heartbeat")
    return [payload for name, payload in client.heard if name == event]


async def user_on(
    cluster: Cluster, stack: AsyncExitStack, *nodes: Served
) -> tuple[str, list[Client]]:
    """A new user with one connection on each of these nodes: id and connections."""
    user = name()
    clients = [await join(cluster, stack, served, user) for served in nodes]
    return await cluster.user_id(user), clients


# -- telling ---------------------------------------------------------------------------------------


async def test_users_are_reached_on_every_node_and_nobody_else(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    ada, ada_on = await user_on(cluster, stack, cluster.a, cluster.b)
    bob, bob_on = await user_on(cluster, stack, cluster.c)
    _, other_on = await user_on(cluster, stack, cluster.b)

    reached = await cluster.a.node.routing.emit_to_users("note", {"n": 1}, [ada, bob])

    assert (reached.connections, reached.failures) == (3, {})
    for client in (*ada_on, *bob_on):
        assert await heard(client, "note") == [{"n": 1}]
    assert await heard(other_on[0], "note") == []


async def test_binary_values_reach_other_nodes_as_they_are(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    ada, (client,) = await user_on(cluster, stack, cluster.b)

    await cluster.a.node.routing.emit_to_users("blob", {"data": b"\x00\xff"}, [ada])

    assert await heard(client, "blob") == [{"data": b"\x00\xff"}]


async def test_a_session_is_reached_from_another_node(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    user, session = name(), uuid.uuid4().hex
    mine = await join(cluster, stack, cluster.b, user, session_id=session)
    other = await join(cluster, stack, cluster.b, user)

    reached = await cluster.c.node.routing.emit_to_session("note", {"n": 2}, session)

    assert reached.connections == 1
    assert await heard(mine, "note") == [{"n": 2}]
    assert await heard(other, "note") == []


async def test_a_push_to_a_session_reaches_it_on_another_node(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    session = uuid.uuid4().hex
    client = await join(cluster, stack, cluster.b, name(), session_id=session)

    await cluster.a.node.push([("notification", {"text": "hi"})], session_id=session)

    assert await heard(client, "notification") == [{"text": "hi"}]


async def test_a_user_hears_events_of_the_own_stream_without_subscribing(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    ada, clients = await user_on(cluster, stack, cluster.a, cluster.b)

    await cluster.c.node.notify_user(ada, ("hello", {"n": 3}))

    for client in clients:
        told = await client.until(lambda e, p: e == "events" and p["data"]["type"] == "hello")
        assert told["data"]["data"] == {"n": 3}


# -- rooms -----------------------------------------------------------------------------------------


async def test_users_who_enter_a_room_hear_it_from_every_node(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    one = room()
    ada, ada_on = await user_on(cluster, stack, cluster.a, cluster.b)
    bob, bob_on = await user_on(cluster, stack, cluster.c)
    await cluster.b.node.routing.enter_room_for_users(one, [ada, bob])

    reached = await cluster.c.node.routing.emit_to_room("note", {"n": 4}, one)

    assert reached.connections == 3
    for client in (*ada_on, *bob_on):
        assert await heard(client, "note") == [{"n": 4}]


async def test_the_sender_of_a_signal_can_be_skipped_from_another_node(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    one = room()
    ada, (first, second) = await user_on(cluster, stack, cluster.a, cluster.b)
    await cluster.a.node.routing.enter_room_for_users(one, [ada])
    sid = first.socket.get_sid()

    reached = await cluster.b.node.routing.emit_to_room("note", {"n": 5}, one, skip_sid=sid)

    assert reached.connections == 1
    assert await heard(first, "note") == []
    assert await heard(second, "note") == [{"n": 5}]


async def test_users_who_left_a_room_hear_nothing_of_it(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    one = room()
    ada, (gone,) = await user_on(cluster, stack, cluster.b)
    bob, (stays,) = await user_on(cluster, stack, cluster.b)
    await cluster.a.node.routing.enter_room_for_users(one, [ada, bob])

    left = await cluster.a.node.routing.leave_room_for_users(one, [ada], reason="removed")

    await cluster.c.node.routing.emit_to_room("note", {"n": 6}, one)
    assert left.connections == 1
    assert await heard(gone, "note") == []
    assert await heard(gone, "access:updated") == [{"room": one, "reason": "removed"}]
    assert await heard(stays, "note") == [{"n": 6}]


async def test_members_of_a_room_are_known_over_all_nodes(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    one, session = room(), uuid.uuid4().hex
    user = name()
    await join(cluster, stack, cluster.c, user, session_id=session)
    bob, _ = await user_on(cluster, stack, cluster.a)
    ada = await cluster.user_id(user)
    await cluster.b.node.routing.enter_room_for_users(one, [ada, bob])
    routing = cluster.b.node.routing

    users = await routing.get_user_ids_from_room(one)
    sessions = await routing.get_session_ids_from_room(one)

    assert users == {ada, bob}
    assert session in sessions
    assert len(sessions) == 2


async def test_a_channel_entered_for_a_user_is_heard_from_its_stream(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    channel = f"channel:{uuid.uuid4().hex}"
    ada, (client,) = await user_on(cluster, stack, cluster.b)

    await cluster.a.node.routing.enter_room_for_users(channel, [ada])
    await cluster.c.node.streams.append(
        channel, ("member:removed", {"body": {"user_id": "somebody else"}})
    )

    told = await client.until(lambda event, payload: event == "events:channel")
    assert told["stream"] == channel
    assert told["data"]["type"] == "member:removed"


# -- closing ---------------------------------------------------------------------------------------


async def test_a_user_is_disconnected_on_every_node(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    ada, clients = await user_on(cluster, stack, cluster.a, cluster.b)
    _, (other,) = await user_on(cluster, stack, cluster.b)

    reached = await cluster.c.node.routing.disconnect_user(ada, "locked")

    assert reached.connections == 2
    for client in clients:
        told = await client.until(lambda event, payload: event == "reconnect")
        assert told["reason"] == "locked"
    assert await heard(other, "reconnect") == []


async def test_a_connection_that_is_gone_is_gone_from_the_pool(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    user = name()
    async with Client.open(cluster.a, user):
        ada = await cluster.user_id(user)
        await cluster.a.node.registrar.settled()
        there = await cluster.b.node.pool.of_users([ada])

    async def gone() -> bool:
        return not await cluster.b.node.pool.of_users([ada])

    await eventually(gone)

    statuses = await cluster.b.node.presence.statuses([ada])

    assert [entry.node for entry in there] == [cluster.a.node.id]
    assert statuses[ada]["status"] == "offline"


# -- a store that forgets --------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["user", "session", "room", "generation"])
async def test_what_the_pool_lost_is_registered_anew(
    cluster: Cluster, stack: AsyncExitStack, redis_server: RedisServer, lost: str
) -> None:
    one, user, session = room(), name(), uuid.uuid4().hex
    pool = cluster.c.node.pool
    client = await join(cluster, stack, cluster.b, user, session_id=session)
    ada = await cluster.user_id(user)
    await cluster.a.node.routing.enter_room_for_users(one, [ada])
    # What a shard that lost its data, or a replica that took over too early, does not have.
    keys = {
        "user": [f"{{user:{ada}}}"],
        "session": [f"{{user:{ada}}}", f"{{session:{session}}}"],
        "room": [f"{{room:{one}}}"],
        "generation": [f"{{user:{ada}}}", "generation"],
    }
    prefix = cluster.b.node.settings.redis_key_prefix
    async with Redis(port=redis_server.port) as admin:
        assert await admin.delete(*(f"{prefix}:pool:{key}" for key in keys[lost]))

    cluster.b.node.rooms.broken()

    async def back() -> bool:
        return len(await pool.of_users([ada])) == len(
            await pool.of_session(session)
        ) == 1 and cluster.b.node.id in await pool.nodes_of(one)

    await eventually(back, 30)
    await client.close()

    async def gone() -> bool:
        return not await pool.of_users([ada]) and not await pool.of_session(session)

    await eventually(gone)
    assert (await cluster.a.node.routing.emit_to_users("note", 1, [ada])).connections == 0


# -- calling ---------------------------------------------------------------------------------------


async def test_a_client_is_called_from_another_node(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    session = uuid.uuid4().hex
    client = await join(cluster, stack, cluster.b, name(), session_id=session)

    @client.socket.on("call")
    async def double(payload: Any) -> Any:
        return payload["args"]["n"] * 2

    answer = await cluster.a.node.routing.call(session, "double", {"n": 21}, 10)

    assert answer == 42


async def test_a_refusal_of_a_client_on_another_node_is_told(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    session = uuid.uuid4().hex
    client = await join(cluster, stack, cluster.b, name(), session_id=session)

    @client.socket.on("call")
    async def refuse(payload: Any) -> Any:
        return {"ok": False, "error": {"message": "no"}}

    with pytest.raises(CallRefused, match="no"):
        await cluster.a.node.routing.call(session, "double", {}, 10)


async def test_a_client_that_does_not_answer_runs_out_of_time(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    session = uuid.uuid4().hex
    client = await join(cluster, stack, cluster.b, name(), session_id=session)
    never = asyncio.Event()

    @client.socket.on("call")
    async def wait(payload: Any) -> None:
        await never.wait()

    with pytest.raises(CallTimeout):
        await cluster.a.node.routing.call(session, "double", {}, 0.3)
    never.set()


async def test_calling_a_session_that_was_never_here_says_so_at_once(cluster: Cluster) -> None:
    with pytest.raises(CallGone):
        await cluster.a.node.routing.call(uuid.uuid4().hex, "double", {}, 10)


async def test_a_client_that_comes_back_elsewhere_gets_the_call_once_more(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    user, session = name(), uuid.uuid4().hex
    calls: list[str] = []
    called = asyncio.Event()
    first = await join(cluster, stack, cluster.b, user, session_id=session)

    @first.socket.on("call")
    async def vanish(payload: Any) -> None:
        calls.append(payload["call_id"])
        called.set()
        await first.socket.shutdown()

    asked = asyncio.create_task(cluster.a.node.routing.call(session, "double", {}, 20))
    await asyncio.wait_for(called.wait(), LIMIT_S)
    back = Client()

    @back.socket.on("call")
    async def answer(payload: Any) -> Any:
        calls.append(payload["call_id"])
        return "back"

    await back.connect(cluster.c.url, token=await cluster.c.user(user), session_id=session)
    stack.push_async_callback(back.close)

    assert await asked == "back"
    assert len(calls) == 2
    assert calls[0] == calls[1]


FILE = {"id": "f1", "name": "a.txt", "mime": "text/plain", "size": 1, "url": "/api/files/f1"}


async def test_emitted_events_change_the_message_for_readers_on_other_nodes(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    user, thread = name(), f"thread-{uuid.uuid4().hex}"
    reader = await join(cluster, stack, cluster.b, user)
    await reader.call("subscribe", stream=f"thread:{thread}")
    answer = {"id": "m1", "role": "assistant", "author": None, "content": ""}
    await cluster.a.node.streams.append(f"thread:{thread}", ("message", answer))
    emit = get_event_emitter(cluster.c.node, thread, "m1")

    await emit({"type": "status", "data": {"description": "Searching", "done": False}})
    await emit({"type": "message", "data": {"content": "one "}})
    await emit({"type": "message", "data": {"content": "two"}})
    await emit({"type": "citation", "data": {"source": {"name": "A book"}}})
    await emit({"type": "files", "data": {"files": [FILE]}})
    await emit({"type": "done", "data": {}})

    await reader.until(lambda e, p: e == "events" and p["data"]["type"] == "done")
    state = await cluster.a.node.state_of(f"thread:{thread}")
    assert state.messages["m1"]["content"] == "one two"
    assert state.messages["m1"]["sources"] == [{"name": "A book"}]
    assert state.messages["m1"]["files"] == [FILE]
    assert reader.events("status")[0]["text"] == "Searching"


async def test_a_conversation_s_call_gives_the_client_s_answer(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    session = uuid.uuid4().hex
    client = await join(cluster, stack, cluster.b, name(), session_id=session)

    @client.socket.on("call")
    async def confirm(payload: Any) -> Any:
        return payload["name"] == "confirmation" and payload["args"]["title"] == "Really?"

    call = get_event_call(cluster.a.node, session, timeout=10)

    assert await call({"type": "confirmation", "data": {"title": "Really?"}}) is True


# -- presence and typing ---------------------------------------------------------------------------


async def test_people_of_a_room_see_each_other_come_and_go_over_nodes(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    one = room()
    ada, (on_a,) = await user_on(cluster, stack, cluster.a)
    bob, (on_b,) = await user_on(cluster, stack, cluster.b)
    await cluster.a.node.routing.enter_room_for_users(one, [ada])
    await cluster.a.node.routing.enter_room_for_users(one, [bob])

    def about(user_id: str, change: str) -> Any:
        return lambda event, payload: (
            event == "presence"
            and payload["room"] == one
            and user_id in [user["id"] for user in payload[change]]
        )

    await on_a.until(about(bob, "joined"))
    await on_b.until(about(ada, "joined"))
    await on_b.close()

    left = await on_a.until(about(bob, "left"))
    assert [user["id"] for user in left["left"]] == [bob]
    assert [person.id for person in cluster.a.node.presence.people(one)] == [ada]


async def test_a_person_who_says_to_be_away_is_shown_as_away_elsewhere(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    one = room()
    ada, (on_a,) = await user_on(cluster, stack, cluster.a)
    bob, (on_b,) = await user_on(cluster, stack, cluster.b)
    await cluster.a.node.routing.enter_room_for_users(one, [ada, bob])
    await on_a.until(lambda e, p: e == "presence" and bob in [user["id"] for user in p["joined"]])

    await on_b.call("heartbeat", active=False)

    told = await on_a.until(lambda event, payload: event == "presence" and payload["changed"])
    assert [(user["id"], user["status"]) for user in told["changed"]] == [(bob, "away")]


async def test_a_subscriber_gets_the_full_list(cluster: Cluster, stack: AsyncExitStack) -> None:
    user, thread = name(), f"thread-{uuid.uuid4().hex}"
    client = await join(cluster, stack, cluster.a, user)

    await client.call("subscribe", stream=f"thread:{thread}")

    told = await client.until(lambda event, payload: event == "presence" and payload.get("full"))
    assert [person["name"] for person in told["joined"]] == [user]


async def test_typing_is_told_to_others_once_within_its_throttle(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    one = room()
    ada, (on_a,) = await user_on(cluster, stack, cluster.a)
    bob, (on_b,) = await user_on(cluster, stack, cluster.b)
    await cluster.a.node.routing.enter_room_for_users(one, [ada, bob])
    for _ in range(3):
        await on_a.call("typing", room=one)

    await on_a.call("typing", room=one, typing=False)

    await on_b.until(lambda event, payload: event == "typing" and not payload["typing"])
    assert [payload["typing"] for payload in await heard(on_b, "typing")] == [True, False]


async def test_nobody_types_in_a_room_of_others(cluster: Cluster, stack: AsyncExitStack) -> None:
    _, (client,) = await user_on(cluster, stack, cluster.a)

    answer = await client.call("typing", room=room())

    assert answer["error"]["code"] == "forbidden"


# -- usage and administration ----------------------------------------------------------------------


async def test_models_in_use_are_counted_over_nodes_and_run_out(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    model, clock = f"model-{uuid.uuid4().hex}", cluster.a.node.clock
    _, clients = await user_on(cluster, stack, cluster.a, cluster.b)

    async def all_of_them() -> bool:
        for client in clients:
            await client.call("usage", model=model)
        return (await cluster.c.node.usage.in_use()).get(model) == 2

    async def nobody() -> bool:
        return model not in await cluster.c.node.usage.in_use()

    await eventually(all_of_them)
    renewed = clock.monotonic()
    await eventually(nobody)

    # Renewals that follow each other closely are one.
    assert clock.monotonic() - renewed > ENTRY_MS / 1000 - 0.6


async def test_models_in_use_are_served_over_rest(cluster: Cluster, stack: AsyncExitStack) -> None:
    model, user = f"model-{uuid.uuid4().hex}", name()
    async with rest(cluster.b, user) as http:

        async def told() -> bool:
            return model in (await http.get("/api/usage")).json()["model_ids"]

        with cluster.a.node.usage.during(model, "session"):
            await eventually(told)
            answer = (await http.get("/api/usage")).json()

    assert {"id": model, "sessions": 1} in answer["models"]


async def test_exactly_one_node_cleans_up_models(cluster: Cluster) -> None:
    async def begun() -> bool:
        return any(served.node.usage.cleaning for served in cluster.nodes)

    await eventually(begun, 20)

    assert sum(served.node.usage.cleaning for served in cluster.nodes) == 1


async def test_an_administrator_sees_and_closes_connections_of_all_nodes(
    cluster: Cluster, stack: AsyncExitStack
) -> None:
    ada, (client, _) = await user_on(cluster, stack, cluster.b, cluster.c)
    boss = name()
    await cluster.a.user(boss)
    await cluster.a.node.accounts.set_role(await cluster.user_id(boss), "admin")
    async with rest(cluster.a, boss) as http:
        overview = (await http.get("/api/admin/overview")).json()
        rows = [row for row in overview["connections"] if row["user"]["id"] == ada]
        one = next(row for row in rows if row["node"] == cluster.b.node.id)

        closed = await http.post("/api/admin/disconnect", json={"sid": one["sid"]})

    assert {row["node"] for row in rows} == {cluster.b.node.id, cluster.c.node.id}
    assert len(overview["nodes"]) == 3
    assert overview["failures"] == {}
    assert closed.json() == {"connections": 1, "failures": {}}
    assert await client.until(lambda event, payload: event == "reconnect")


async def test_only_administrators_see_connections(cluster: Cluster) -> None:
    async with rest(cluster.a, name()) as http:
        answers = [
            await http.get("/api/admin/overview"),
            await http.post("/api/admin/disconnect", json={"user_id": "x"}),
        ]

    assert [code_of(answer) for answer in answers] == [(403, "forbidden")] * 2
