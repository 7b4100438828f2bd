"""Agent sessions over REST and sockets, with a real workspace and the demo's model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from parlour.agents.events import FinishAction, RunAction
from parlour.agents.kinds import Planned, Situation
from parlour.agents.service import Agents
from parlour.demo.agent import install
from parlour.errors import Forbidden, Lagged
from tests.serving import Client, Served, serve

PATIENCE_S = 60.0

install()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    folder = tmp_path_factory.mktemp("agents")
    async with serve(None, folder, agent_model="demo", demo_tokens_per_second=0) as served:
        yield served


pytestmark = pytest.mark.asyncio(loop_scope="module")


class Rest:
    """One person's REST calls."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    @classmethod
    async def of(cls, server: Served, name: str) -> Rest:
        headers = {"authorization": f"Bearer {await server.user(name)}"}
        return cls(httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30))

    async def __call__(self, method: str, path: str, status: int = 200, **body: Any) -> Any:
        params = body.pop("params", None)
        answer = await self.http.request(
            method, f"/api/agents{path}", json=body or None, params=params
        )
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def begin(self, message: str = "Count words", **more: Any) -> str:
        settings = {"confirmation": "never", **more.pop("settings", {})}
        session = await self("POST", "", 201, message=message, settings=settings, **more)
        return str(session["id"])

    async def until(self, session_id: str, *states: str) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                session = await self("GET", f"/{session_id}")
                if session["detail"]["state"] in states and not session["detail"]["inputs"]:
                    return session
                await asyncio.sleep(0.05)


async def _named(server: Served, name: str) -> str:
    await server.user(name)
    record = await server.node.users.user_by_login(name)
    assert record is not None
    return record.id


async def test_the_demo_agent_mends_its_program(server: Served) -> None:
    ann = await Rest.of(server, "ann")
    session_id = await ann.begin()
    session = await ann.until(session_id, "finished", "error")

    page = await ann("GET", f"/{session_id}/events", params={"types": "run", "limit": 10})
    results = [one for one in page["events"] if one.get("observation") == "run"]
    assert session["state"] == "finished"
    assert [one["extras"]["exit_code"] for one in results] == [1, 0]
    assert "FAILED" in results[0]["content"]
    assert "OK" in results[1]["content"]
    files = await ann("GET", f"/{session_id}/files")
    assert {"words.py", "test_words.py"} <= {one["path"] for one in files["files"]}
    mended = await ann("GET", f"/{session_id}/files/words.py")
    assert "text.lower().split()" in mended["content"]


async def test_a_client_that_comes_back_hears_what_it_missed_and_what_follows(
    server: Served,
) -> None:
    ann = await Rest.of(server, "ann")
    session_id = await ann.begin(settings={"confirmation": "commands"})
    await ann.until(session_id, "awaiting_user_confirmation")
    token = await server.user("ann")
    client = Client()
    query = f"conversation_id={session_id}&latest_event_id=2"

    await client.socket.connect(
        f"{server.url}?{query}",
        auth={"token": token},
        socketio_path="/ws/socket.io",
        transports=["websocket"],
        wait_timeout=10,
    )
    asked = await client.until(
        lambda e, p: e == "oh_event" and p.get("extras", {}).get("ask_id") is not None, PATIENCE_S
    )
    confirm = {"agent_state": "user_confirmed", "ask_id": asked["extras"]["ask_id"]}
    answer = await client.call("oh_user_action", action="change_agent_state", args=confirm)
    assert answer["ok"]
    assert answer["accepted"]
    await client.until(lambda e, p: e == "oh_event" and p.get("observation") == "run", PATIENCE_S)
    ids = [payload["id"] for event, payload in client.heard if event == "oh_event"]
    assert ids == list(range(3, 3 + len(ids)))
    await client.call(
        "oh_user_action", action="change_agent_state", args={"agent_state": "stopped"}
    )
    await client.until(
        lambda e, p: e == "oh_event" and p.get("extras", {}).get("agent_state") == "stopped",
        PATIENCE_S,
    )
    await client.close()


async def test_a_second_person_steers_and_is_named(server: Served) -> None:
    ann, bob = await Rest.of(server, "ann"), await Rest.of(server, "bob")
    session_id = await ann.begin(settings={"confirmation": "commands"})
    await ann.until(session_id, "awaiting_user_confirmation")
    bob_id = await _named(server, "bob")
    await bob("GET", f"/{session_id}", 404)
    await ann("PUT", f"/{session_id}/members/{bob_id}", role="watch")
    shared = await bob("GET", f"/{session_id}")
    assert shared["role"] == "watch"
    said = {"action": "message", "args": {"content": "Mention Ada"}}
    await bob("POST", f"/{session_id}/actions", 403, **said)
    await ann("PUT", f"/{session_id}/members/{bob_id}", role="drive")

    await bob("POST", f"/{session_id}/actions", **said)
    pending = (await bob("GET", f"/{session_id}"))["detail"]["pending"]["id"]
    confirm = {"agent_state": "user_confirmed", "ask_id": pending}
    await bob("POST", f"/{session_id}/actions", action="change_agent_state", args=confirm)
    session = await ann.until(session_id, "awaiting_user_confirmation", "error")

    page = await ann("GET", f"/{session_id}/events", params={"limit": 200})
    steered = [one for one in page["events"] if one.get("user", {}).get("id") == bob_id]
    assert [one["action"] for one in steered] == ["message", "change_agent_state"]
    notes = await ann("GET", f"/{session_id}/files/NOTES.md")
    assert "Mention Ada" in notes["content"]
    assert session["detail"]["inputs"] == []
    await ann("POST", f"/{session_id}/stop")


async def test_who_is_removed_hears_nothing_any_more(server: Served) -> None:
    ann = await Rest.of(server, "ann")
    session_id = await ann.begin(settings={"confirmation": "commands"})
    await ann.until(session_id, "awaiting_user_confirmation")
    cyd_id = await _named(server, "cyd")
    await ann("PUT", f"/{session_id}/members/{cyd_id}", role="watch")
    async with Client.open(server, "cyd") as cyd:
        answer = await cyd.call("subscribe", stream=f"agent:{session_id}")
        assert answer["snapshot"]["state"]["state"] == "awaiting_user_confirmation"

        await ann("DELETE", f"/{session_id}/members/{cyd_id}", 204)
        left = await cyd.until(lambda event, payload: event == "access:updated")
        assert left["room"] == f"agent:{session_id}"
        heard = len(cyd.heard)
        await ann("POST", f"/{session_id}/stop")
        await ann.until(session_id, "stopped")
        refused = await cyd.call("subscribe", stream=f"agent:{session_id}")

    assert [e for e, _ in cyd.heard[heard:] if e == "oh_event"] == []
    assert refused["error"]["code"] == "forbidden"


async def test_who_is_removed_is_shut_out_of_a_stream_that_is_followed_over_http(
    server: Served,
) -> None:
    ann = await Rest.of(server, "ann")
    session_id = await ann.begin(settings={"confirmation": "commands"})
    await ann.until(session_id, "awaiting_user_confirmation")
    eve_id = await _named(server, "eve")
    await ann("PUT", f"/{session_id}/members/{eve_id}", role="watch")
    user = await server.node.user(eve_id)
    assert user is not None
    caller = server.node.caller(user)

    async with server.node.recovery.follow(caller, f"agent:{session_id}", None) as news:
        await ann("DELETE", f"/{session_id}/members/{eve_id}", 204)
        await ann("POST", f"/{session_id}/stop")
        await ann.until(session_id, "stopped")
        heard = await anext(news)
        with pytest.raises(Lagged):
            await anext(news)

    assert [event["extras"]["status"] for event in heard] == ["member_removed"]
    with pytest.raises(Forbidden):
        await server.node.permissions.require_read(user, f"agent:{session_id}")


async def test_words_and_output_are_shown_while_they_come(server: Served) -> None:
    ann = await Rest.of(server, "ann")
    session_id = await ann.begin(settings={"confirmation": "commands"})
    await ann.until(session_id, "awaiting_user_confirmation")
    async with Client.open(server, "ann") as watching:
        await watching.call("subscribe", stream=f"agent:{session_id}")
        command = "for i in 1 2 3 4 5 6; do echo line $i; sleep 0.1; done"
        server.node.part(Agents).agents["loud"] = Loud(command)
        loud = await ann.begin(settings={"agent": "loud"})
        await watching.call("subscribe", stream=f"agent:{loud}")
        shown = await watching.until(
            lambda e, p: e == "oh_signal" and p["conversation_id"] == loud, PATIENCE_S
        )
        await ann.until(loud, "finished")

    assert shown["type"] == "output"
    assert "line" in shown["text"]
    await ann("POST", f"/{session_id}/stop")


class Loud:
    """An agent that runs one command."""

    def __init__(self, command: str) -> None:
        self._command = command

    async def step(self, situation: Situation) -> list[Planned]:
        if len(situation.messages) > 1:
            return [Planned(FinishAction(content="done"))]
        return [Planned(RunAction(command=self._command))]


async def test_events_are_found_by_number_from_both_ends(server: Served) -> None:
    ann = await Rest.of(server, "ann")
    session_id = await ann.begin()
    latest = (await ann.until(session_id, "finished"))["latest_event_id"]
    path = f"/{session_id}/events"

    forward = await ann("GET", path, params={"start_id": 3, "limit": 4})
    backward = await ann("GET", path, params={"end_id": 9, "reverse": True, "limit": 3})
    last = await ann("GET", path, params={"start_id": latest})

    assert [one["id"] for one in forward["events"]] == [3, 4, 5, 6]
    assert forward["next_id"] == 7
    assert [one["id"] for one in backward["events"]] == [9, 8, 7]
    assert ([one["id"] for one in last["events"]], last["next_id"]) == ([latest], None)


async def test_a_history_can_be_taken_out_and_brought_back_and_forked(server: Served) -> None:
    ann, bob = await Rest.of(server, "ann"), await Rest.of(server, "bob")
    session_id = await ann.begin(title="Words")
    await ann.until(session_id, "finished")
    trajectory = await ann("GET", f"/{session_id}/trajectory")

    kept = await ann("POST", f"/{session_id}/trajectory", 201)
    store = server.node.part(Agents).file_store
    assert store is not None
    assert json.loads(await store.read(kept["path"]))["events"] == trajectory["events"]
    copy = await bob("POST", "/import", 201, trajectory=trajectory)
    forked = await ann("POST", f"/{session_id}/fork", 201, at=7)
    await ann("POST", f"/{session_id}/fork", 404, at=7000)
    broken = {**trajectory, "events": trajectory["events"][1:]}
    await bob("POST", "/import", 422, trajectory=broken)

    again = await bob("GET", f"/{copy['id']}/trajectory")
    names = ("action", "observation", "args", "content")
    assert [[e.get(k) for k in names] for e in again["events"]] == [
        [e.get(k) for k in names] for e in trajectory["events"]
    ]
    assert {e["user"]["name"] for e in again["events"] if e["source"] == "user"} == {"bob"}
    assert forked["forked_from"] == f"{session_id}:7"
    assert forked["state"] == "stopped"
    latest = trajectory["events"][-1]["id"]
    whole = await ann("POST", f"/{session_id}/fork", 201, at=latest)
    mended = await ann("GET", f"/{whole['id']}/files/words.py")
    assert "text.lower().split()" in mended["content"]
    assert (await ann("GET", f"/{forked['id']}/files"))["files"] == []
    await ann("POST", f"/{forked['id']}/actions", action="message", args={"content": "Go on"})
    session = await ann.until(forked["id"], "finished", "error")
    assert session["state"] == "finished"


async def test_administrators_see_what_sessions_do_and_use(server: Served) -> None:
    ann, root = await Rest.of(server, "ann"), await Rest.of(server, "root")
    record = await server.node.users.user_by_login("root")
    assert record is not None
    await server.node.users.update_user(record.id, role="admin")
    session_id = await ann.begin()
    await ann.until(session_id, "finished")

    await ann("GET", "/overview", 403)
    told = await root("GET", "/overview")

    row = next(one for one in told["sessions"] if one["id"] == session_id)
    assert (row["phase"], row["state"], row["events_queued"]) == ("running", "finished", 0)
    assert row["owner"] == {"id": row["owner_id"], "name": "ann"}
    assert row["used"]["iterations"] == 6
    assert row["used"]["phases"].keys() >= {"runtime_setup", "controller_setup"}
    assert told["failures"] == {}


async def test_a_session_is_deleted_by_its_owner_or_an_administrator_and_nobody_else(
    server: Served,
) -> None:
    ann, bob = await Rest.of(server, "ann"), await Rest.of(server, "bob")
    eve, root = await Rest.of(server, "eve"), await Rest.of(server, "root")
    record = await server.node.users.user_by_login("root")
    assert record is not None
    await server.node.users.update_user(record.id, role="admin")
    session_id = await ann.begin()
    await ann("PUT", f"/{session_id}/members/{await _named(server, 'bob')}", role="drive")

    await bob("DELETE", f"/{session_id}", 403)
    await eve("DELETE", f"/{session_id}", 404)
    await root("DELETE", f"/{session_id}", 204)

    await ann("GET", f"/{session_id}", 404)
    await root("DELETE", f"/{session_id}", 404)


async def test_who_takes_part_is_told_by_name(server: Served) -> None:
    ann = await Rest.of(server, "ann")
    session_id = await ann.begin()
    bob_id = await _named(server, "bob")
    await ann("PUT", f"/{session_id}/members/{bob_id}", role="comment")

    told = await ann("GET", f"/{session_id}/members")

    assert told["owner"] == {"id": told["owner_id"], "name": "ann"}
    assert told["members"] == [{"user": {"id": bob_id, "name": "bob"}, "role": "comment"}]


async def test_a_session_is_listed_renamed_and_deleted(server: Served) -> None:
    dora = await Rest.of(server, "dora")
    ids = [await dora.begin() for _ in range(3)]
    for session_id in ids:
        await dora.until(session_id, "finished")
    await dora("PATCH", f"/{ids[0]}", title="The first")

    page = await dora("GET", "", params={"limit": 2})
    rest = await dora("GET", "", params={"limit": 2, "cursor": page["next_cursor"]})
    await dora("DELETE", f"/{ids[1]}", 204)

    listed = {one["id"]: one["title"] for one in [*page["items"], *rest["items"]]}
    assert listed.keys() == set(ids)
    assert listed[ids[0]] == "The first"
    await dora("GET", f"/{ids[1]}", 404)
    await dora("POST", "", 409, id=ids[1], message="again")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"settings": {"confirmation": "sometimes"}}, 422),
        ({"settings": {"no_such": 1}}, 422),
        ({"settings": {"agent": "nobody"}, "message": "x"}, 404),
        ({"settings": {"model": "nothing"}, "message": "x"}, 404),
        ({"id": "no good"}, 422),
        ({"replay": {"events": [{"id": 1, "source": "user", "action": "fly"}]}}, 422),
    ],
)
async def test_what_does_not_fit_is_refused(
    server: Served, body: dict[str, Any], status: int
) -> None:
    ann = await Rest.of(server, "ann")

    await ann("POST", "", status, **body)


async def test_a_workspace_does_not_show_what_is_outside(server: Served) -> None:
    ann = await Rest.of(server, "ann")
    session_id = await ann.begin()
    await ann.until(session_id, "finished")

    for path in ("%2e%2e/%2e%2e/parlour.db", "%2Fetc%2Fpasswd"):
        answer = await ann.http.get(f"/api/agents/{session_id}/files/{path}")
        assert answer.status_code in (404, 422)
