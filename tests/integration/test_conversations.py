"""A conversation over a real server and a real Socket.IO client: order, retries, Stop, asks, resume."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from parlour.core.streams import Event
from parlour.core.thread import ThreadState, fold
from tests.apps import ScriptedApp
from tests.serving import Client, Served, serve

THREAD = "thread-00000001"
STREAM = f"thread:{THREAD}"


@pytest.fixture
def app() -> ScriptedApp:
    return ScriptedApp()


@pytest.fixture(params=["stored", "hot", "redis", "redis stored"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Each way to keep a conversation: written through, written behind, shared."""
    kind, _, durability = request.param.partition(" ")
    if kind != "redis":
        return {"durability": kind}
    return {
        "redis_url": request.getfixturevalue("redis_server").url,
        "redis_key_prefix": tmp_path.name,
        "durability": durability or "hot",
    }


@pytest.fixture
async def server(app: ScriptedApp, tmp_path: Path, store: dict[str, Any]) -> AsyncIterator[Served]:
    async with serve(app, tmp_path, **store) as served:
        yield served


@pytest.fixture
async def alice(server: Served) -> AsyncIterator[Client]:
    async with connected(server, "alice", session_id="session-alice") as client:
        await client.call("subscribe", stream=STREAM)
        yield client


def connected(server: Served, name: str, **auth: Any) -> Any:
    return Client.open(server, name, **auth)


async def send(client: Client, text: str, command_id: str, thread: str = THREAD) -> Any:
    return await client.call("message:send", thread_id=thread, content=text, command_id=command_id)


def ended(run_id: str | None = None) -> Any:
    return of_run("run:ended", run_id)


def started(run_id: str) -> Any:
    return of_run("run:started", run_id)


def of_run(kind: str, run_id: str | None) -> Any:
    def wanted(event: str, payload: Any) -> bool:
        data = payload["data"] if event == "events" else {}
        return data.get("type") == kind and run_id in (None, data["data"]["run_id"])

    return wanted


def as_events(client: Client, stream: str = STREAM) -> list[Event]:
    return [
        Event(stream, p["epoch"], p["offset"], p["data"]["type"], p["data"]["data"], 0)
        for e, p in client.heard
        if e == "events" and p["stream"] == stream
    ]


async def test_answer_streams_and_is_stored_as_shown(alice: Client, server: Served) -> None:
    answer = await send(alice, "say one two three", "c1")
    await alice.until(ended(answer["run_id"]))

    shown = "".join(delta["text"] for delta in alice.events("message:delta"))
    stored = (await server.node.state_of(STREAM)).messages

    assert shown == "one two three"
    assert [m["content"] for m in stored.values()] == ["say one two three", "one two three"]


async def test_offsets_are_contiguous_and_fold_to_the_snapshot(
    alice: Client, server: Served
) -> None:
    for number in range(3):
        answer = await send(alice, f"say {number}", f"c{number}")
        await alice.until(ended(answer["run_id"]))
    snapshot = await alice.call("subscribe", stream=STREAM)

    heard = as_events(alice)
    state, _ = fold(ThreadState(), heard)

    assert [event.offset for event in heard] == list(range(1, len(heard) + 1))
    assert [m["content"] for m in state.to_wire()["messages"]] == [
        m["content"] for m in snapshot["snapshot"]["messages"]
    ]


async def test_retried_command_appears_once_with_the_same_answer(alice: Client) -> None:
    first = await send(alice, "say hello", "same")
    second = await send(alice, "say hello", "same")

    snapshot = (await alice.call("subscribe", stream=STREAM))["snapshot"]

    assert second["message"] == first["message"]
    assert second["position"] == first["position"]
    assert sum(m["role"] == "user" for m in snapshot["messages"]) == 1


async def test_two_quick_messages_are_answered_one_after_the_other(alice: Client) -> None:
    first = await send(alice, "say a b c d", "c1")
    second = await send(alice, "say e", "c2")
    await alice.until(ended(second["run_id"]))

    order = [
        (p["data"]["type"], p["data"]["data"]["run_id"])
        for e, p in alice.heard
        if e == "events" and p["data"]["type"] in ("run:started", "run:ended")
    ]

    assert order == [
        ("run:started", first["run_id"]),
        ("run:ended", first["run_id"]),
        ("run:started", second["run_id"]),
        ("run:ended", second["run_id"]),
    ]


async def test_stop_ends_running_and_waiting_runs_and_keeps_the_text(
    alice: Client, server: Served
) -> None:
    await send(alice, "endless", "c1")
    await send(alice, "endless", "c2")
    await alice.until(lambda e, p: e == "events" and p["data"]["type"] == "message:delta")

    stopped = await alice.call("run:stop", thread_id=THREAD, command_id="stop")

    state = await server.node.state_of(STREAM)
    answers = [m for m in state.messages.values() if m["role"] == "assistant"]
    assert stopped["accepted"]
    assert not state.runs
    assert answers[0]["content"].startswith("tick ")
    assert not answers[0]["streaming"]
    assert state.last_run is not None
    assert state.last_run["outcome"] == "stopped"


async def test_failing_handler_is_shown_with_a_reference_and_without_its_trace(
    alice: Client,
) -> None:
    answer = await send(alice, "fail", "c1")

    over = await alice.until(ended(answer["run_id"]))

    shown = [m for m in alice.events("message") if m["role"] == "error"]
    assert over["data"]["data"]["outcome"] == "failed"
    assert shown[0]["data"]["reference"] in shown[0]["content"]
    assert "secret of the trace" not in str(alice.heard)


async def test_reader_that_comes_back_gets_exactly_what_it_missed(
    alice: Client, server: Served
) -> None:
    async with connected(server, "alice", session_id="session-other") as other:
        position = (await other.call("subscribe", stream=STREAM))["position"]
        before = len(as_events(other))
        await other.call("unsubscribe", stream=STREAM)
        run = await send(alice, "say some words while away", "c1")
        await alice.until(ended(run["run_id"]))

        resumed = await other.call("subscribe", stream=STREAM, position=position)

    offsets = [event["offset"] for event in resumed["events"]]
    assert before == 0
    assert resumed["status"] == "replayed"
    assert offsets == list(range(position["offset"] + 1, resumed["position"]["offset"] + 1))


@pytest.mark.parametrize(
    "position", [{"epoch": "another", "offset": 1}, {"epoch": None, "offset": 10_000}]
)
async def test_foreign_or_future_position_is_answered_with_a_snapshot(
    alice: Client, position: dict[str, Any]
) -> None:
    known = (await alice.call("subscribe", stream=STREAM))["position"]

    answer = await alice.call(
        "subscribe",
        stream=STREAM,
        position={**position, "epoch": position["epoch"] or known["epoch"]},
    )

    assert answer["status"] == "snapshot"
    assert answer["position"] == known


async def test_stranger_sees_nothing(alice: Client, server: Served) -> None:
    await send(alice, "say private", "c1")
    async with connected(server, "mallory", session_id="session-mallory") as mallory:
        refused = [
            await mallory.call("subscribe", stream=STREAM),
            await send(mallory, "hello", "c1"),
            await mallory.call("run:stop", thread_id=THREAD, command_id="s"),
            await mallory.call("subscribe", stream=f"user:{(await user_id(server, 'alice'))}"),
        ]

        heard = [payload for event, payload in mallory.heard if event == "events"]

    assert [answer["error"]["code"] for answer in refused] == [
        "forbidden",
        "forbidden",
        "not_found",
        "forbidden",
    ]
    assert heard == []


async def user_id(server: Served, name: str) -> str:
    record = await server.node.users.user_by_login(name)
    assert record is not None
    return record.id


async def test_session_of_another_user_is_refused(server: Served) -> None:
    async with connected(server, "alice", session_id="session-shared"):
        refusal = await Client.refused(server, "mallory", session_id="session-shared")

    assert refusal["data"]["code"] == "forbidden"


# -- asks ------------------------------------------------------------------------------------------


def is_ask(event: str, payload: Any) -> bool:
    return event == "events" and payload["data"]["type"] == "ask"


async def test_ask_is_answered_once_from_any_tab(alice: Client, server: Served) -> None:
    run = await send(alice, "ask", "c1")
    ask_id = (await alice.until(is_ask))["data"]["data"]["ask_id"]
    async with connected(server, "alice", session_id="session-tab-2") as tab:
        shown = (await tab.call("subscribe", stream=STREAM))["snapshot"]["asks"]

        first = await tab.call("ask:answer", ask_id=ask_id, answer="blue", command_id="a1")
        again = await tab.call("ask:answer", ask_id=ask_id, answer="blue", command_id="a1")
        second = await alice.call("ask:answer", ask_id=ask_id, answer="red", command_id="a2")
    await alice.until(ended(run["run_id"]))

    state = await server.node.state_of(STREAM)
    assert [ask["ask_id"] for ask in shown] == [ask_id]
    assert (first["accepted"], again["accepted"], second["accepted"]) == (True, True, False)
    assert second["answered_by"]["name"] == "alice"
    assert not state.asks
    assert [m["content"] for m in state.messages.values()][-1] == "you said blue"


async def test_ask_survives_the_connection_that_it_was_shown_on(server: Served) -> None:
    async with connected(server, "alice", session_id="session-alice") as client:
        await client.call("subscribe", stream=STREAM)
        await send(client, "ask", "c1")
        await client.until(is_ask)
    async with connected(server, "alice", session_id="session-alice") as client:
        snapshot = (await client.call("subscribe", stream=STREAM))["snapshot"]
        ask = snapshot["asks"][0]
        await client.call("ask:answer", ask_id=ask["ask_id"], answer="green", command_id="a")

        over = await client.until(ended(ask["run_id"]))

    assert over["data"]["data"]["outcome"] == "completed"


async def test_ask_that_nobody_answers_expires(alice: Client, server: Served) -> None:
    run = await send(alice, "ask briefly", "c1")
    await alice.until(ended(run["run_id"]))

    state = await server.node.state_of(STREAM)

    assert alice.events("ask:closed")[0]["outcome"] == "expired"
    assert list(state.messages.values())[-1]["content"] == "no answer"


async def test_message_typed_while_the_app_asks_is_the_answer(
    alice: Client, server: Served
) -> None:
    run = await send(alice, "ask", "c1")
    await alice.until(is_ask)
    answer = await send(alice, "purple", "c2")
    again = await send(alice, "purple", "c2")
    await alice.until(ended(run["run_id"]))

    texts = [m["content"] for m in (await server.node.state_of(STREAM)).messages.values()]

    assert answer["answers"] == again["answers"]
    assert texts == ["ask", "which colour?", "purple", "you said purple"]


async def test_stop_cancels_an_open_ask(alice: Client, server: Served) -> None:
    await send(alice, "ask", "c1")
    ask_id = (await alice.until(is_ask))["data"]["data"]["ask_id"]

    await alice.call("run:stop", thread_id=THREAD, command_id="s")

    late = await alice.call("ask:answer", ask_id=ask_id, answer="x", command_id="a")
    assert alice.events("ask:closed")[0]["outcome"] == "cancelled"
    assert late["accepted"] is False


# -- restart ---------------------------------------------------------------------------------------


async def test_restart_keeps_the_conversation_and_ends_what_ran(
    app: ScriptedApp, tmp_path: Path, store: dict[str, Any]
) -> None:
    async with (
        serve(app, tmp_path, shutdown_runs_seconds=0.1, **store) as server,
        connected(server, "alice", session_id="session-alice") as client,
    ):
        await client.call("subscribe", stream=STREAM)
        await send(client, "endless", "c1")
        await client.until(lambda e, p: e == "events" and p["data"]["type"] == "message:delta")

    async with (
        serve(app, tmp_path, **store) as server,
        connected(server, "alice", session_id="session-alice") as client,
    ):
        snapshot = (await client.call("subscribe", stream=STREAM))["snapshot"]

    answer = snapshot["messages"][1]
    assert snapshot["runs"] == []
    assert snapshot["last_run"]["outcome"] == "interrupted"
    assert answer["content"].startswith("tick ")
    assert not answer["streaming"]


async def test_answer_to_an_ask_of_a_former_life_reaches_on_message(
    app: ScriptedApp, tmp_path: Path, store: dict[str, Any]
) -> None:
    async with (
        serve(app, tmp_path, shutdown_runs_seconds=0.1, **store) as server,
        connected(server, "alice", session_id="session-alice") as client,
    ):
        await client.call("subscribe", stream=STREAM)
        await send(client, "ask", "c1")
        ask_id = (await client.until(is_ask))["data"]["data"]["ask_id"]

    async with (
        serve(app, tmp_path, **store) as server,
        connected(server, "alice", session_id="session-alice") as client,
    ):
        await client.call("subscribe", stream=STREAM)
        answer = await client.call("ask:answer", ask_id=ask_id, answer="grey", command_id="a")
        await client.until(ended())
        state = await server.node.state_of(STREAM)

    assert answer["accepted"]
    assert list(state.messages.values())[-1]["content"] == "late answer grey to which colour?"


async def test_session_end_is_not_a_disconnect(app: ScriptedApp, tmp_path: Path) -> None:
    async with serve(app, tmp_path, session_timeout_seconds=1) as server:
        async with connected(server, "alice", session_id="session-alice") as client:
            await client.call("subscribe", stream=STREAM)
        at_disconnect = list(app.ended)
        async with asyncio.timeout(15):
            await app.end_heard.wait()

    assert at_disconnect == []
    assert app.ended == [("session-alice", THREAD)]


async def test_message_that_still_waited_for_its_turn_is_answered_after_a_restart(
    app: ScriptedApp, tmp_path: Path, store: dict[str, Any]
) -> None:
    """Input that came in the last moments was stranded."""
    brief = {**store, "node_lease_seconds": 1.0}
    async with (
        serve(app, tmp_path, shutdown_runs_seconds=0.1, **brief) as server,
        connected(server, "alice", session_id="session-alice") as client,
    ):
        await client.call("subscribe", stream=STREAM)
        running = await send(client, "endless", "c1")
        waiting = await send(client, "say still here", "c2")
        await client.until(started(running["run_id"]))

    async with (
        serve(app, tmp_path, **brief) as server,
        connected(server, "alice", session_id="session-alice") as client,
    ):
        snapshot = await client.call("subscribe", stream=STREAM)
        if waiting["run_id"] in [run["run_id"] for run in snapshot["snapshot"]["runs"]]:
            await client.until(ended(waiting["run_id"]))
        state = await server.node.state_of(STREAM)

    assert list(state.messages.values())[-1]["content"] == "still here"
    assert not state.runs


async def test_what_waits_on_a_node_that_is_going_away_is_left_for_the_next(
    alice: Client, server: Served
) -> None:
    """Its own sweeper took it for left behind, once its lease had run out, and ended it."""
    await alice.call("subscribe", stream=STREAM)
    running = await send(alice, "endless", "c1")
    waiting = await send(alice, "say still here", "c2")
    await alice.until(started(running["run_id"]))
    await server.node.runs.finish(0.1)

    await server.node.sweeper.interrupt_dead_runs(owner=server.node.id)

    state = await server.node.state_of(STREAM)
    assert list(state.runs) == [waiting["run_id"]]


async def test_what_is_about_to_begin_while_its_node_goes_away_does_not_begin(
    alice: Client, server: Served
) -> None:
    """It was no task yet when the tasks were cancelled, and began after that, for ever."""
    await send(alice, "endless", "c1")
    waiting = await send(alice, "say still here", "c2")

    await server.node.runs.finish(0.01)

    state = await server.node.state_of(STREAM)
    assert server.node.runs.active(THREAD) == []
    assert list(state.runs)[-1] == waiting["run_id"]


async def test_client_cannot_claim_what_the_server_notes_in_a_message(alice: Client) -> None:
    claimed = {"ask": {"content": "forged"}, "answers": "another.ask", "mood": "calm"}

    answer = await alice.call(
        "message:send", thread_id=THREAD, content="say hi", command_id="c1", data=claimed
    )

    assert answer["message"]["data"] == {"mood": "calm"}
