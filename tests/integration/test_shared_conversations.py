"""Several people in one conversation, on two nodes with one Redis and one PostgreSQL."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

import parlour as cl
from parlour.chat.application import ChatApp
from parlour.chat.registry import Registry, registering
from parlour.client import Refused, Snapshot, connect
from parlour.input_widget import Switch
from parlour.testing.servers import PostgresServer, RedisServer
from tests.integration.test_conversations import ended
from tests.rest import code_of, rest, sent_events
from tests.serving import LIMIT_S, Client, Served, serve

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

SSE = {"accept": "text/event-stream"}
PNG = b"\x89PNG\r\n\x1a\n the bytes of nobody else"


def make_app() -> ChatApp:
    with registering(Registry()) as registry:

        @cl.on_chat_start
        async def start() -> None:
            cl.user_session.set("entered", "started")

        @cl.on_chat_resume
        async def resume(thread: Any) -> None:
            cl.user_session.set("entered", "resumed")

        @cl.on_message
        async def reply(message: cl.Message) -> None:
            await ANSWERS[message.content.partition(" ")[0]](message)

        @cl.on_settings_update
        async def settings(values: Any) -> None:
            await cl.Message(f"settings {values}").send()

        return ChatApp(registry)


async def who(message: cl.Message) -> None:
    user = cl.user_session.get("user")
    assert user is not None
    assert user.identifier == message.author
    await cl.Message(f"{user.identifier} {cl.user_session.get('entered')}").send()


async def endless(message: cl.Message) -> None:
    answer = cl.Message("")
    while True:
        await answer.stream_token("tick ")
        await asyncio.sleep(0.02)


async def ask(message: cl.Message) -> None:
    answer = await cl.AskUserMessage("which colour?", timeout=LIMIT_S).send()
    await cl.Message(f"{answer['name']}: {answer['output']}" if answer else "nothing").send()


async def picture(message: cl.Message) -> None:
    element = cl.Image(name="p.png", content=PNG)
    await cl.Message("look", elements=[element]).send()


async def offer(message: cl.Message) -> None:
    switch = Switch(id="loud", label="Loud", initial=False)
    values = await cl.ChatSettings([switch]).send()
    await cl.Message(f"offered {values}").send()


ANSWERS = {"who": who, "endless": endless, "ask": ask, "picture": picture, "offer": offer}


@dataclass
class Nodes:
    a: Served
    b: Served

    async def user_id(self, name: str) -> str:
        await self.a.user(name)
        record = await self.a.node.users.user_by_login(name)
        assert record is not None
        return record.id


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def nodes(
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: RedisServer,
    postgres_server: PostgresServer,
) -> AsyncIterator[Nodes]:
    folder = tmp_path_factory.mktemp("shared")
    shared: dict[str, Any] = {
        "redis_url": redis_server.url,
        "redis_key_prefix": folder.name,
        "database_url": await postgres_server.create_database("shared_conversations"),
        "database_pool_size": 5,
    }
    async with (
        serve(make_app(), folder / "a", **shared) as a,
        serve(make_app(), folder / "b", **shared) as b,
    ):
        yield Nodes(a, b)


class Case:
    """A conversation of an owner, who is on node `a`; the guest is on node `b`."""

    def __init__(self, nodes: Nodes, stack: AsyncExitStack) -> None:
        mark = uuid.uuid4().hex[:8]
        self.nodes = nodes
        self.stack = stack
        self.owner, self.guest = f"owner-{mark}", f"guest-{mark}"
        self.thread = f"thread-{mark}"
        self.stream = f"thread:{self.thread}"
        self.guest_id = ""
        self.on_a: Client
        self.on_b: Client
        self.api: httpx.AsyncClient
        self.guest_api: httpx.AsyncClient

    async def open(self) -> None:
        enter = self.stack.enter_async_context
        self.guest_id = await self.nodes.user_id(self.guest)
        self.on_a = await enter(Client.open(self.nodes.a, self.owner, session_id=new()))
        self.on_b = await enter(Client.open(self.nodes.b, self.guest, session_id=new()))
        self.api = await enter(rest(self.nodes.a, self.owner))
        self.guest_api = await enter(rest(self.nodes.b, self.guest))
        joined = await self.on_a.call("subscribe", stream=self.stream)
        assert joined["permission"] == "owner"

    async def share(self, right: str | None, principal: str | None = None) -> Any:
        wanted = {principal or f"user:{self.guest_id}": right}
        path = f"/api/threads/{self.thread}/grants"
        answer = await self.api.patch(path, json={"grants": wanted})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def join(self) -> Any:
        """The guest follows the conversation."""
        return await self.on_b.call("subscribe", stream=self.stream)

    async def send(self, client: Client, text: str) -> Any:
        sent = await client.call(
            "message:send", thread_id=self.thread, content=text, command_id=new()
        )
        assert sent["ok"], sent
        return sent

    async def say(self, client: Client, text: str) -> str:
        """Send, wait for the end of the run at both, and give back what the app said."""
        sent = await self.send(client, text)
        for one in (self.on_a, self.on_b):
            await one.until(ended(sent["run_id"]))
        said = [m for m in client.events("message") if m.get("run_id") == sent["run_id"]]
        return str(said[-1]["content"])

    async def say_alone(self, text: str) -> None:
        """The owner says something before anybody else is there."""
        sent = await self.send(self.on_a, text)
        await self.on_a.until(ended(sent["run_id"]))

    def heard(self, client: Client, event: str) -> list[Any]:
        return [p for e, p in client.heard if e == event and p.get("room") == self.stream]

    async def told(self, client: Client, reason: str) -> Any:
        """The news about access of this kind."""

        def wanted(event: str, payload: Any) -> bool:
            about = event == "access:updated" and payload["room"] == self.stream
            return about and payload["reason"] == reason

        return await client.until(wanted)


def new() -> str:
    return uuid.uuid4().hex


@pytest_asyncio.fixture(loop_scope="module")
async def case(nodes: Nodes) -> AsyncIterator[Case]:
    async with AsyncExitStack() as stack:
        opened = Case(nodes, stack)
        await opened.open()
        yield opened


def is_event(kind: str) -> Any:
    return lambda event, payload: event == "events" and payload["data"]["type"] == kind


def codes(*answers: Any) -> list[str]:
    return [answer["error"]["code"] for answer in answers]


# -- reading ---------------------------------------------------------------------------------------


async def test_a_reader_on_another_node_hears_everything_and_is_present(case: Case) -> None:
    await case.share("read")
    joined = await case.join()

    await case.say(case.on_a, "who are you")

    both = [
        [(p["offset"], p["data"]) for e, p in client.heard if p and p.get("stream") == case.stream]
        for client in (case.on_a, case.on_b)
    ]
    assert joined["permission"] == "read"
    assert both[1] == both[0][-len(both[1]) :]
    assert len(both[1]) >= 5

    def both_are_there(event: str, payload: Any) -> bool:
        there = [one["name"] for one in payload["joined"]] if event == "presence" else []
        return case.guest in there and payload["room"] == case.stream

    await case.on_a.until(both_are_there)


async def test_a_reader_changes_nothing(case: Case) -> None:
    await case.share("read")
    await case.send(case.on_a, "ask me")
    asked = (await case.on_a.until(is_event("ask")))["data"]["data"]
    joined = await case.join()
    thread = {"thread_id": case.thread, "command_id": new()}
    commands: dict[str, dict[str, Any]] = {
        "message:send": {**thread, "content": "blue"},
        "message:edit": {**thread, "message_id": "m", "content": "x"},
        "message:delete": {**thread, "message_id": "m"},
        "ask:answer": {"ask_id": asked["ask_id"], "answer": "blue", "command_id": new()},
        "run:stop": thread,
        "action:call": {**thread, "action": {"id": "a", "name": "a"}},
        "settings:update": {**thread, "settings": {}},
        "window:message": {**thread, "data": 1},
        "typing": {"room": case.stream},
        "thread:update": {**thread, "title": "mine"},
        "thread:share": {**thread, "grants": {"everyone": "write"}},
        "thread:delete": thread,
    }

    answers = {event: await case.on_b.call(event, **body) for event, body in commands.items()}
    upload = await case.guest_api.post(
        "/api/files", data={"thread_id": case.thread}, files={"file": b"x"}
    )

    assert {event: one["error"]["code"] for event, one in answers.items()} == dict.fromkeys(
        commands, "forbidden"
    )
    assert code_of(upload) == (403, "forbidden")
    assert [one["ask_id"] for one in joined["snapshot"]["asks"]] == [asked["ask_id"]]
    assert "ask" not in [event for event, _ in case.on_b.heard]
    answered = await case.on_a.call(
        "ask:answer", ask_id=asked["ask_id"], answer="red", command_id=new()
    )
    assert answered["accepted"]


async def test_a_stranger_gets_an_error_and_no_data_by_any_way(case: Case) -> None:
    sent = await case.send(case.on_a, "picture")
    await case.on_a.until(ended(sent["run_id"]))
    (file,) = case.on_a.events("message")[-1]["files"]
    position = f"{sent['position']['epoch']}:0"
    names: dict[str, Any] = {"thread_id": case.thread, "command_id": new()}
    at_connect = Client()
    token = await case.nodes.b.user(case.guest)
    paths = [
        f"/api/threads/{case.thread}",
        f"/api/threads/{case.thread}/messages",
        f"/api/threads/{case.thread}/grants",
        f"/api/streams/{case.stream}",
        f"/api/streams/{case.stream}?after={position}",
        f"/api/streams/{case.stream}?after={position}&wait=5",
        file["url"],
    ]

    joined = await case.join()
    resumed = await case.on_b.call(
        "subscribe", stream=case.stream, position={**sent["position"], "offset": 0}
    )
    refused = [
        await case.on_b.call("message:send", **names, content="x"),
        await case.on_b.call("run:stop", **names),
        await case.on_b.call("thread:share", **names, grants={"everyone": "read"}),
        await case.on_b.call("thread:share", **names, grants={f"user:{case.guest_id}": None}),
        await case.on_b.call("thread:delete", **names),
        await case.on_b.call("typing", room=case.stream),
    ]
    await at_connect.connect(case.nodes.b.url, token=token, thread_id=case.thread)
    told = await at_connect.until(lambda event, payload: event == "error")
    await at_connect.close()
    answers = [await case.guest_api.get(path) for path in paths]
    events = await case.guest_api.get(f"/api/streams/{case.stream}", headers=SSE)
    lists = [
        (await case.guest_api.get("/api/threads", params={"search": "look", **more})).json()
        for more in ({}, {"shared": "true"})
    ]

    assert codes(joined, resumed) == ["forbidden", "forbidden"]
    assert set(codes(*refused)) == {"forbidden", "not_found"}
    assert told["error"]["code"] == "forbidden"
    assert [one.status_code for one in answers] == [404, 404, 404, 403, 403, 403, 404]
    assert events.status_code == 403
    assert [one["items"] for one in lists] == [[], []]
    assert {event for event, _ in case.on_b.heard} <= {"presence"}
    assert {event for event, _ in at_connect.heard} == {"error"}


# -- writing ---------------------------------------------------------------------------------------


async def test_a_guest_who_writes_is_served_in_a_session_of_ones_own(case: Case) -> None:
    await case.share("write")
    joined = await case.join()
    own = await case.say(case.on_a, "who am I")
    quiet = [p for _, p in case.on_b.heard if p and p.get("handler")]

    guests = await case.say(case.on_b, "who am I")
    again = await case.say(case.on_b, "who am I")

    handlers = [started["handler"] for started in case.on_a.events("run:started")]
    authors = [m["author"]["name"] for m in case.on_a.events("message") if m["role"] == "user"]
    assert joined["permission"] == "write"
    assert quiet == []
    assert (own, guests, again) == (
        f"{case.owner} started",
        f"{case.guest} resumed",
        f"{case.guest} resumed",
    )
    assert authors == [case.owner, case.guest, case.guest]
    assert handlers[-4:] == ["on_message", "on_chat_resume", "on_message", "on_message"]


async def test_a_guest_who_writes_answers_and_stops_what_runs_on_another_node(case: Case) -> None:
    await case.share("write")
    await case.join()
    asking = await case.send(case.on_a, "ask me")
    asked = (await case.on_b.until(is_event("ask")))["data"]["data"]

    answered = await case.on_b.call(
        "ask:answer", ask_id=asked["ask_id"], answer="blue", command_id=new()
    )
    await case.on_a.until(ended(asking["run_id"]))
    endless = await case.send(case.on_a, "endless")
    await case.on_b.until(is_event("message:delta"))
    stopped = await case.on_b.call("run:stop", thread_id=case.thread, command_id=new())

    over = await case.on_a.until(ended(endless["run_id"]))
    said = [m["content"] for m in case.on_a.events("message") if m["role"] == "assistant"]
    assert answered["accepted"]
    assert f"{case.guest}: blue" in said
    assert stopped["accepted"]
    assert over["data"]["data"]["outcome"] == "stopped"


async def test_settings_are_each_person_s_own(case: Case) -> None:
    await case.share("write")
    await case.join()
    await case.say(case.on_a, "offer")
    await case.say(case.on_b, "offer")

    changed = await case.on_b.call(
        "settings:update", thread_id=case.thread, settings={"loud": True}, command_id=new()
    )
    await case.on_a.until(ended(changed["run_id"]))

    whose = [(one["user_id"] == case.guest_id) for one in case.on_a.events("settings")]
    chats = [
        chat.chat_settings
        for node in (case.nodes.a, case.nodes.b)
        for chat in node.node.chats.of_thread(case.thread)
    ]
    assert whose == [False, True, True]
    assert chats == [{"loud": False}, {"loud": True}]


async def test_typing_of_a_guest_is_told_to_the_others(case: Case) -> None:
    await case.share("write")
    await case.join()

    answer = await case.on_b.call("typing", room=case.stream)

    told = await case.on_a.until(lambda event, payload: event == "typing")
    assert answer["ok"]
    assert (told["room"], told["user"]["name"], told["typing"]) == (case.stream, case.guest, True)


async def test_the_python_client_serves_a_second_person(case: Case) -> None:
    token = await case.nodes.b.user(case.guest)

    async with (
        asyncio.timeout(LIMIT_S),
        connect(case.nodes.b.url, token=token) as client,
        client.follow(case.stream) as following,
    ):
        with pytest.raises(Refused) as refused:
            await anext(following)
        await case.share("write")
        first = await anext(following)
        await client.send(case.thread, "who am I")
        said = []
        async for item in following:
            assert not isinstance(item, Snapshot)
            said += [item.data["content"]] if item.data.get("role") == "assistant" else []
            if said and item.type == "run:ended":
                break

    assert refused.value.wire_code == "forbidden"
    assert isinstance(first, Snapshot)
    assert said == [f"{case.guest} resumed"]


async def test_a_file_that_a_guest_attaches_can_be_read_by_all(case: Case) -> None:
    await case.share("write")
    await case.join()
    loose = (await case.guest_api.post("/api/files", files={"file": b"plans"})).json()
    # The nodes of this test have a folder each.
    owner_api = await case.stack.enter_async_context(rest(case.nodes.b, case.owner))

    before = await owner_api.get(loose["url"])
    await case.on_b.call(
        "message:send",
        thread_id=case.thread,
        content="who",
        files=[loose["id"]],
        command_id=new(),
    )
    after = await owner_api.get(loose["url"])

    assert before.status_code == 404
    assert after.content == b"plans"


async def test_a_picture_of_the_app_does_not_stay_with_a_guest(case: Case) -> None:
    await case.share("write")
    await case.join()
    sent = await case.send(case.on_b, "picture")
    await case.on_b.until(ended(sent["run_id"]))
    (file,) = case.on_b.events("message")[-1]["files"]

    before = await case.guest_api.get(file["url"])
    await case.share(None)
    after = await case.guest_api.get(file["url"])

    assert before.content == PNG
    assert code_of(after) == (404, "not_found")


# -- revoking --------------------------------------------------------------------------------------


async def test_nothing_reaches_a_guest_after_access_is_revoked_in_mid_answer(case: Case) -> None:
    await case.share("write")
    await case.join()
    tab = await case.stack.enter_async_context(Client.open(case.nodes.a, case.guest))
    await tab.call("subscribe", stream=case.stream)
    sent = await case.send(case.on_a, "endless")
    url = f"/api/streams/{case.stream}"
    flows, polls = asyncio.Event(), asyncio.Event()

    async def follow() -> list[Any]:
        heard = []
        async with case.guest_api.stream("GET", url, headers=SSE) as response:
            async for one in sent_events(response):
                heard.append(one)
                flows.set()
        return heard

    async def poll() -> httpx.Response:
        head = (await case.guest_api.get(url)).json()["head"]
        while True:
            params = {"after": f"{head['epoch']}:{head['offset']}", "wait": "20"}
            answer = await case.guest_api.get(url, params=params)
            if answer.status_code != 200:
                return answer
            head = answer.json()["position"]
            polls.set()

    readers = asyncio.gather(follow(), poll())
    async with asyncio.timeout(LIMIT_S):
        await flows.wait()
        await polls.wait()
    for client in (case.on_b, tab):
        await client.until(is_event("message:delta"))

    await case.share(None)
    for client in (case.on_b, tab):
        await case.told(client, "removed")
    deltas = len(case.on_a.events("message:delta"))
    await case.on_a.until(lambda *_: len(case.on_a.events("message:delta")) > deltas + 20)
    flow, polled = await asyncio.wait_for(readers, LIMIT_S)
    for client in (case.on_b, tab):
        assert (await client.call("heartbeat"))["ok"]

    for client in (case.on_b, tab):
        names = [(e, p.get("room") or p.get("stream")) for e, p in client.heard if p]
        last = names.index(("access:updated", case.stream))
        assert case.stream not in [about for _, about in names[last + 1 :]]
    assert flow[-1].name == "error"
    assert flow[-1].data["code"] == "forbidden"
    assert code_of(polled) == (403, "forbidden")
    assert codes(await case.join()) == ["forbidden"]
    refused = await case.on_b.call(
        "message:send", thread_id=case.thread, content="x", command_id=new()
    )
    assert codes(refused) == ["forbidden"]
    await case.on_a.call("run:stop", thread_id=case.thread, command_id=new())
    await case.on_a.until(ended(sent["run_id"]))


async def test_who_is_granted_again_is_told_and_comes_back(case: Case) -> None:
    await case.share("read")
    await case.join()
    await case.share(None)
    await case.told(case.on_b, "removed")
    refused = await case.join()

    await case.share("write")
    told = await case.told(case.on_b, "granted")
    joined = await case.join()

    assert codes(refused) == ["forbidden"]
    assert told == {"room": case.stream, "reason": "granted"}
    assert joined["permission"] == "write"
    assert await case.say(case.on_b, "who am I") == f"{case.guest} resumed"


async def test_a_smaller_right_takes_effect_on_who_is_there(case: Case) -> None:
    await case.share("write")
    await case.join()
    await case.share("read")

    told = await case.told(case.on_b, "permission")
    refused = [
        await case.on_b.call("typing", room=case.stream),
        await case.on_b.call("message:send", thread_id=case.thread, content="x", command_id=new()),
    ]
    await case.say(case.on_a, "who")

    assert told["permission"] == "read"
    assert codes(*refused) == ["forbidden", "forbidden"]


async def test_a_grant_to_everyone_reaches_whoever_was_refused_and_ends_for_all(
    case: Case,
) -> None:
    first = await case.join()

    await case.share("read", "everyone")
    await case.told(case.on_b, "granted")
    joined = await case.join()
    listed = (await case.guest_api.get("/api/threads", params={"shared": "true"})).json()
    await case.share(None, "everyone")
    await case.told(case.on_b, "removed")

    assert codes(first) == ["forbidden"]
    assert joined["permission"] == "read"
    assert case.thread in [one["id"] for one in listed["items"]]


async def test_a_deleted_conversation_ends_for_guests_on_every_node(case: Case) -> None:
    await case.share("write")
    await case.join()
    await case.say(case.on_b, "who am I")

    await case.api.delete(f"/api/threads/{case.thread}")

    await case.told(case.on_b, "deleted")
    gone = await case.on_b.until(is_event("thread:deleted"))
    answers = [
        await case.on_b.call("message:send", thread_id=case.thread, content="x", command_id=new()),
        await case.join(),
    ]
    history = await case.guest_api.get(f"/api/threads/{case.thread}/messages")
    assert gone["data"]["data"] == {"id": case.thread}
    assert codes(*answers) == ["conflict", "conflict"]
    assert history.status_code == 404


# -- lists and rules -------------------------------------------------------------------------------


async def test_lists_of_guests_are_live(case: Case) -> None:
    await case.share("read")
    shared = (await case.on_b.until(is_event("thread:shared")))["data"]["data"]
    sent = await case.send(case.on_a, "who am I really")
    await case.on_a.until(ended(sent["run_id"]))

    def titled(event: str, payload: Any) -> bool:
        kind = is_event("thread:shared:updated")(event, payload)
        return bool(kind and payload["data"]["data"]["thread"]["title"])

    updated = (await case.on_b.until(titled))["data"]["data"]["thread"]
    listed = (await case.guest_api.get("/api/threads", params={"shared": "true"})).json()
    row = (await case.guest_api.get(f"/api/threads/{case.thread}")).json()
    own = (await case.api.get(f"/api/threads/{case.thread}")).json()
    await case.share(None)
    unshared = (await case.on_b.until(is_event("thread:unshared")))["data"]["data"]

    assert (shared["new"], shared["by"]["name"]) == (True, case.owner)
    assert updated["title"] == "who am I really"
    assert (updated["owner"]["name"], updated["permission"]) == (case.owner, "read")
    assert [one["id"] for one in listed["items"] if one["owner"]["name"] == case.owner] == [
        case.thread
    ]
    assert (row["permission"], row["shared"], row["owner"]["name"]) == ("read", True, case.owner)
    assert (own["permission"], own["shared"]) == ("owner", True)
    assert unshared["id"] == case.thread


@pytest.mark.parametrize("group", ["everyone", "role:user"])
async def test_lists_of_those_whom_a_group_s_grant_concerns_are_live(
    case: Case, group: str
) -> None:
    await case.say_alone("what is this")

    await case.share("read", group)
    came = await case.on_b.until(listing(case, "read"))
    await case.share("write", group)
    changed = await case.on_b.until(listing(case, "write"))
    await case.share(None, group)
    await case.on_b.until(unlisting(case))

    listed = (await case.guest_api.get("/api/threads", params={"shared": "true"})).json()
    assert came["thread"]["title"] == "what is this"
    assert came["thread"]["owner"]["name"] == changed["thread"]["owner"]["name"] == case.owner
    assert case.thread not in [one["id"] for one in listed["items"]]
    assert [e for e, _ in case.on_a.heard if e in ("thread:listed", "thread:unlisted")] == []


async def test_who_is_named_as_well_keeps_what_a_group_loses(case: Case) -> None:
    await case.share("read")
    await case.share("write", "everyone")
    await case.on_b.until(listing(case, "write"))

    await case.share(None, "everyone")

    await case.on_b.until(listing(case, "read"))
    assert [e for e, _ in case.on_b.heard if e == "thread:unlisted"] == []


async def test_a_deleted_conversation_goes_from_the_lists_of_a_group(case: Case) -> None:
    await case.share("read", "everyone")
    await case.on_b.until(listing(case, "read"))

    await case.api.delete(f"/api/threads/{case.thread}")

    await case.on_b.until(unlisting(case))


def listing(case: Case, permission: str) -> Any:
    def wanted(event: str, payload: Any) -> bool:
        row = payload["thread"] if event == "thread:listed" else {}
        return row.get("id") == case.thread and row["permission"] == permission

    return wanted


def unlisting(case: Case) -> Any:
    return lambda event, payload: event == "thread:unlisted" and payload == {"id": case.thread}


async def test_who_it_is_shared_with_is_the_owner_s_to_say(case: Case) -> None:
    grants = f"/api/threads/{case.thread}/grants"
    given = await case.share("write")
    await case.share("read", "role:editor")

    read = (await case.api.get(grants)).json()
    replaced = await case.api.put(grants, json={"grants": {f"user:{case.guest_id}": "read"}})
    wrong = [
        await case.guest_api.get(grants),
        await case.guest_api.put(grants, json={"grants": {}}),
        await case.api.put(grants, json={"grants": {"nobody": "read"}}),
        await case.api.put(grants, json={"grants": {"everyone": "own"}}),
        await case.api.patch(grants, json={"grants": {f"user:{new()}": "read"}}),
        await case.api.get(f"/api/threads/{new()}/grants"),
    ]
    left = await case.guest_api.delete(f"{grants}/user:{case.guest_id}")
    after = (await case.api.get(grants)).json()

    assert given["people"] == {case.guest_id: case.guest}
    assert given["position"]["offset"] > 0
    assert read["grants"] == {f"user:{case.guest_id}": "write", "role:editor": "read"}
    assert replaced.json()["grants"] == {f"user:{case.guest_id}": "read"}
    assert [code_of(one) for one in wrong] == [
        (403, "forbidden"),
        (403, "forbidden"),
        (422, "invalid_payload"),
        (422, "invalid_payload"),
        (404, "not_found"),
        (404, "not_found"),
    ]
    assert left.status_code == 204
    assert after["grants"] == {}


async def test_an_administrator_changes_grants_without_reading(case: Case) -> None:
    sent = await case.send(case.on_a, "who am I")
    await case.on_a.until(ended(sent["run_id"]))
    await case.share("read", "everyone")
    await case.nodes.a.node.users.update_user(case.guest_id, role="admin")
    admin = await case.stack.enter_async_context(rest(case.nodes.a, case.guest))
    grants = f"/api/threads/{case.thread}/grants"

    seen = await admin.get(grants)
    taken = await admin.put(grants, json={"grants": {}})
    history = await admin.get(f"/api/threads/{case.thread}/messages")
    deleted = await admin.delete(f"/api/threads/{case.thread}")

    assert seen.json()["grants"] == {"everyone": "read"}
    assert taken.json()["grants"] == {}
    assert [one.status_code for one in (history, deleted)] == [404, 404]


async def test_a_standard_channel_that_is_open_again_lets_in_who_was_refused(case: Case) -> None:
    made = await case.on_a.call(
        "channel:create",
        kind="standard",
        name="Open",
        grants={"everyone": "read"},
        command_id=new(),
    )
    channel = made["channel"]["id"]
    room = f"channel:{channel}"

    async def grant(grants: dict[str, str]) -> None:
        body = {"channel_id": channel, "grants": grants, "command_id": new()}
        assert (await case.on_a.call("channel:update", **body))["ok"]

    await case.on_b.call("subscribe", stream=room)
    await grant({})
    await case.on_b.until(lambda e, p: e == "access:updated" and p["room"] == room)
    refused = await case.on_b.call("subscribe", stream=room)

    await grant({"everyone": "read"})
    wanted = {"room": room, "reason": "granted"}
    await case.on_b.until(lambda e, p: e == "access:updated" and p == wanted)
    joined = await case.on_b.call("subscribe", stream=room)

    assert codes(refused) == ["forbidden"]
    assert joined["ok"]
