"""What bad clients and bad handlers get: a typed error, and everybody else goes on.

Each test has a bystander: another person, connected before, whose acknowledged message has to be there
afterwards and who is answered as before.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import signal
import sqlite3
import struct
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import parlour as cl
from parlour.chat.application import ChatApp
from parlour.chat.registry import Registry, registering
from parlour.server.handlers import TABLES
from parlour.server.router import COMMANDS_WAITING, Route
from tests.integration.test_cli_serving import ADDRESS, parlour
from tests.rest import code_of, rest
from tests.serving import Client, Served, serve

ROUTES: dict[str, Route] = {
    name: route for routes in TABLES for name, route in routes.table.items()
}


# -- the app ---------------------------------------------------------------------------------------


@dataclass
class Behaviour:
    """What the app's handlers wait for, and what they count."""

    release: threading.Event = field(default_factory=threading.Event)
    stop_may_end: asyncio.Event = field(default_factory=asyncio.Event)
    swallowed: int = 0


@pytest.fixture
def behaviour() -> Iterator[Behaviour]:
    made = Behaviour()
    yield made
    made.release.set()
    made.stop_may_end.set()


@pytest.fixture
def app(behaviour: Behaviour) -> ChatApp:
    """Misbehaves as the message's first word says; answers anything else."""

    async def fail() -> NoReturn:
        await cl.Message("before it failed").send()
        raise RuntimeError("secret of the trace")

    async def leave() -> NoReturn:
        sys.exit("the author's own way out")

    async def cancel_itself() -> NoReturn:
        raise asyncio.CancelledError

    async def block_a_thread() -> None:
        await cl.Message("begun").send()
        await cl.make_async(behaviour.release.wait)()

    async def block_the_loop() -> None:
        time.sleep(0.5)  # noqa: ASYNC251 - this is the mistake
        await cl.Message("sorry").send()

    async def swallow_once() -> None:
        await cl.Message("begun").send()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            behaviour.swallowed += 1
        await asyncio.Event().wait()

    async def swallow_all() -> None:
        await cl.Message("begun").send()
        while not behaviour.release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.1)
        await cl.Message("too late").send()

    async def talk_endlessly() -> None:
        out = cl.Message("")
        while True:
            await out.stream_token("tick ")
            await asyncio.sleep(0.01)

    async def call_the_client() -> None:
        await cl.CopilotFunction("never_answered", {}, timeout=0.3).acall()

    async def say_what_cannot_be_sent() -> None:
        await cl.Message("half a pair: \ud800").send()

    misbehave: dict[str, Callable[[], Any]] = {
        "fail": fail,
        "leave": leave,
        "cancel": cancel_itself,
        "thread": block_a_thread,
        "loop": block_the_loop,
        "swallow": swallow_once,
        "swallow all": swallow_all,
        "endless": talk_endlessly,
        "call": call_the_client,
        "surrogate": say_what_cannot_be_sent,
    }

    with registering(Registry()) as registry:

        @cl.on_message
        async def reply(message: cl.Message) -> None:
            act = misbehave.get(message.content)
            if act is not None:
                await act()
            else:
                await cl.Message(f"you said {message.content}").send()

        @cl.on_stop
        async def stopped() -> None:
            if not behaviour.stop_may_end.is_set() and behaviour.release.is_set():
                await behaviour.stop_may_end.wait()

    return ChatApp(registry)


# -- people ----------------------------------------------------------------------------------------


class Person:
    """A client in a conversation of its own."""

    def __init__(self, client: Client, thread_id: str) -> None:
        self.client = client
        self.thread_id = thread_id

    async def say(self, text: str, **more: Any) -> Any:
        command_id = uuid.uuid4().hex
        payload = {"thread_id": self.thread_id, "content": text, "command_id": command_id}
        return await self.client.call("message:send", **{**payload, **more})

    async def end_of(self, run_id: str) -> dict[str, Any]:
        """The run's terminal event."""

        def wanted(event: str, payload: Any) -> bool:
            data = payload["data"] if event == "events" else {}
            return data.get("type") == "run:ended" and data["data"]["run_id"] == run_id

        found = await self.client.until(wanted)
        ended: dict[str, Any] = found["data"]["data"]
        return ended

    async def outcome_of(self, text: str) -> dict[str, Any]:
        """Say something and wait for the end of what it started."""
        return await self.end_of((await self.say(text))["run_id"])

    async def begun(self) -> None:
        await self.client.until(
            lambda event, payload: event == "events" and payload["data"]["type"] == "message:delta"
        )

    async def stop(self) -> Any:
        return await self.client.call("run:stop", thread_id=self.thread_id, command_id="stop")

    async def texts(self) -> list[str]:
        """The conversation as somebody sees it who opens it now."""
        answer = await self.client.call("subscribe", stream=f"thread:{self.thread_id}")
        return [message["content"] for message in answer["snapshot"]["messages"]]

    def errors(self) -> list[dict[str, Any]]:
        """The messages by which this person learnt that something went wrong."""
        return [m for m in self.client.events("message") if m["role"] == "error"]


class Bystander(Person):
    """Somebody who did nothing wrong."""

    async def is_unharmed(self) -> bool:
        """Still on the same connection, nothing acknowledged is lost, and the app answers."""
        before = await self.texts()
        ended = await self.outcome_of("goodbye")
        return (
            before == ["hello", "you said hello"]
            and ended["outcome"] == "completed"
            and await self.texts() == [*before, "goodbye", "you said goodbye"]
        )


@asynccontextmanager
async def serving(app: ChatApp, folder: Path, **settings: Any) -> AsyncIterator[Served]:
    settings.setdefault("commands_per_second", 10_000)
    settings.setdefault("command_burst", 10_000)
    async with serve(app, folder, **settings) as served:
        yield served


@asynccontextmanager
async def person(
    served: Served, name: str, kind: type[Person] = Person, **auth: Any
) -> AsyncIterator[Any]:
    async with Client.open(served, name, **auth) as client:
        made = kind(client, f"thread-of-{name}")
        await client.call("subscribe", stream=f"thread:{made.thread_id}")
        yield made


@asynccontextmanager
async def bystanding(served: Served) -> AsyncIterator[Bystander]:
    async with person(served, "bystander", Bystander) as made:
        await made.outcome_of("hello")
        yield made


@pytest.fixture
async def server(app: ChatApp, tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(app, tmp_path) as served:
        yield served


@pytest.fixture
async def bystander(server: Served) -> AsyncIterator[Bystander]:
    async with bystanding(server) as made:
        yield made


@pytest.fixture
async def alice(server: Served) -> AsyncIterator[Person]:
    async with person(server, "alice") as made:
        yield made


def refused(answer: Any) -> str:
    """The code of a refusal, which has the documented shape."""
    assert answer["ok"] is False
    assert set(answer["error"]) >= {"code", "message", "retryable"}
    assert answer["error"]["message"]
    code: str = answer["error"]["code"]
    return code


# -- tokens ----------------------------------------------------------------------------------------


def forged(token: str, **claims: Any) -> str:
    """The token with other claims and its old signature."""
    head, body, signature = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(body + "=="))
    changed = base64.urlsafe_b64encode(json.dumps({**told, **claims}).encode()).decode()
    return f"{head}.{changed.rstrip('=')}.{signature}"


def unsigned(token: str) -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    return f"{head}.{token.split('.')[1]}."


@pytest.mark.parametrize(
    "break_token",
    [
        lambda token: None,
        lambda token: "",
        lambda token: "not a token",
        lambda token: "a" * 100_000,
        lambda token: token[:-4] + "AAAA",
        lambda token: forged(token, sub="somebody-else"),
        lambda token: forged(token, exp=4_000_000_000),
        unsigned,
    ],
    ids=["none", "empty", "garbage", "huge", "signature", "other user", "longer life", "unsigned"],
)
async def test_a_connection_without_a_true_token_is_refused(
    server: Served, bystander: Bystander, break_token: Callable[[str], str | None]
) -> None:
    token = break_token(await server.user("alice"))

    told = await Client.refused(server, None, token=token)

    assert told["data"]["code"] == "unauthenticated"
    assert told["data"]["retryable"] is False
    assert await bystander.is_unharmed()


@pytest.mark.parametrize("token", [7, True, ["a"], {"a": "b"}])
async def test_a_token_that_is_no_text_is_refused(
    server: Served, bystander: Bystander, token: Any
) -> None:
    told = await Client.refused(server, None, token=token)

    assert told["data"]["code"] == "invalid_payload"
    assert "token" in told["data"]["message"]
    assert await bystander.is_unharmed()


async def test_an_expired_token_is_refused_by_its_own_code(
    server: Served, bystander: Bystander
) -> None:
    user = await server.node.accounts.add_user("late", "correct horse battery")
    issued = await server.node.accounts.issue(user.id, ttl_seconds=-1)

    told = await Client.refused(server, None, token=issued.token)
    async with rest(server, authorization=f"Bearer {issued.token}") as http:
        answer = await http.get("/api/threads")

    assert told["data"]["code"] == "token_expired"
    assert code_of(answer) == (401, "token_expired")
    assert await bystander.is_unharmed()


async def test_a_connection_is_closed_when_its_token_expires(
    server: Served, bystander: Bystander
) -> None:
    user = await server.node.accounts.add_user("late", "correct horse battery")
    issued = await server.node.accounts.issue(user.id, ttl_seconds=1)
    client = Client()
    await client.connect(server.url, token=issued.token)

    told = await client.until(lambda event, _: event == "reconnect")
    await client.socket.wait()

    assert told["reason"] == "token_expired"
    assert told["after_ms"] > 0
    assert await bystander.is_unharmed()


async def test_a_revoked_token_closes_its_connection_and_opens_no_other(
    server: Served, bystander: Bystander
) -> None:
    token = await server.user("alice")
    client, other_device = Client(), Client()
    await client.connect(server.url, token=token)
    await other_device.connect(server.url, token=await server.user("alice"))

    async with rest(server, authorization=f"Bearer {token}") as http:
        await http.post("/api/auth/sign-out")
    told = await client.until(lambda event, _: event == "reconnect")
    await client.socket.wait()
    refusal = await Client.refused(server, None, token=token)

    assert told["reason"] == "token_revoked"
    assert refusal["data"]["code"] == "unauthenticated"
    assert (await other_device.call("heartbeat"))["ok"]
    await other_device.close()
    assert await bystander.is_unharmed()


async def test_a_disabled_user_is_out_on_every_connection(
    server: Served, bystander: Bystander
) -> None:
    token = await server.user("alice")
    clients = [Client(), Client()]
    for client in clients:
        await client.connect(server.url, token=token)
    record = await server.node.users.user_by_login("alice")
    assert record is not None

    await server.node.accounts.set_disabled(record.id, True)
    for client in clients:
        await client.until(lambda event, _: event == "reconnect")
        await client.socket.wait()

    refusal = await Client.refused(server, None, token=token)
    assert refusal["data"]["code"] == "unauthenticated"
    assert await bystander.is_unharmed()


async def test_the_token_of_a_user_who_is_gone_is_refused(
    server: Served, bystander: Bystander, tmp_path: Path
) -> None:
    token = await server.user("alice")
    with sqlite3.connect(tmp_path / "parlour.db", timeout=10) as database:
        database.execute("DELETE FROM users WHERE name = 'alice'")

    told = await Client.refused(server, None, token=token)

    assert told["data"]["code"] == "unauthenticated"
    assert await bystander.is_unharmed()


@pytest.mark.parametrize(
    ("auth", "code"),
    [
        ({"session_id": "../../etc"}, "invalid_payload"),
        ({"thread_id": 7}, "invalid_payload"),
        ({"user_env": ["a"]}, "invalid_payload"),
        ({"protocol": 99}, "unsupported_protocol"),
    ],
)
async def test_what_else_is_wrong_at_connect_is_told(
    server: Served, bystander: Bystander, auth: dict[str, Any], code: str
) -> None:
    told = await Client.refused(server, "alice", **auth)

    assert told["data"]["code"] == code
    assert await bystander.is_unharmed()


# -- commands --------------------------------------------------------------------------------------

THREAD: dict[str, Any] = {"thread_id": "thread-of-alice", "command_id": "c"}
CHANNEL = {"channel_id": "c", "command_id": "c"}

VALID: dict[str, dict[str, Any]] = {
    "heartbeat": {},
    "user-join": {"auth": {"token": "t"}},
    "subscribe": {"stream": "thread:thread-of-alice", "position": {"epoch": "e", "offset": 1}},
    "unsubscribe": {"stream": "thread:thread-of-alice"},
    "message:send": {**THREAD, "content": "hello", "files": [], "data": {}},
    "message:edit": {**THREAD, "message_id": "m", "content": "hello"},
    "message:delete": {**THREAD, "message_id": "m"},
    "run:stop": THREAD,
    "ask:answer": {**THREAD, "ask_id": "a", "answer": "yes"},
    "action:call": {**THREAD, "action": {"id": "a", "name": "a", "payload": {}}},
    "settings:update": {**THREAD, "settings": {}},
    "window:message": {**THREAD, "data": 1},
    "session:end": {},
    "thread:update": {**THREAD, "title": "t", "tags": ["t"]},
    "thread:delete": THREAD,
    "thread:share": {**THREAD, "grants": {"everyone": "read"}, "replace": False},
    "typing": {"room": "thread:thread-of-alice", "typing": True},
    "usage": {"model": "m", "action": "use", "chat_id": "c"},
    "join-channels": {"auth": {"token": "t"}},
    "events:channel": {**CHANNEL, "message_id": "m", "data": {"type": "typing", "data": {}}},
    "message:react": {**CHANNEL, "message_id": "m", "emoji": "+1", "remove": False},
    "message:pin": {**CHANNEL, "message_id": "m", "pinned": True},
    "channel:create": {"kind": "group", "name": "n", "user_ids": [], "command_id": "c"},
    "channel:update": {**CHANNEL, "name": "n"},
    "channel:delete": CHANNEL,
    "channel:members:add": {**CHANNEL, "user_ids": ["u"]},
    "channel:members:remove": {**CHANNEL, "user_id": "u"},
    "channel:members:role": {**CHANNEL, "user_id": "u", "role": "member"},
    "channel:mute": {**CHANNEL, "muted": True},
}
"""One payload per command that has the documented shape."""

OF_EACH_TYPE: dict[str, Any] = {
    "integer": 7,
    "number": 7.5,
    "boolean": True,
    "array": [7],
    "object": {"a": 7},
    "string": "a text",
    "null": None,
}


def types_of(schema: dict[str, Any], definitions: dict[str, Any]) -> set[str]:
    """The JSON types that a field takes."""
    if "$ref" in schema:
        return types_of(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        return set().union(*(types_of(part, definitions) for part in schema["anyOf"]))
    return {schema["type"]} if "type" in schema else set(OF_EACH_TYPE)


def wrong_values() -> Iterator[Any]:
    """Every field of every command with a value of every type that it does not take."""
    for event, route in sorted(ROUTES.items()):
        schema = route.payload.model_json_schema()
        for name, field_schema in schema.get("properties", {}).items():
            for kind in sorted(
                OF_EACH_TYPE.keys() - types_of(field_schema, schema.get("$defs", {}))
            ):
                yield pytest.param(event, name, OF_EACH_TYPE[kind], id=f"{event} {name} {kind}")


def test_every_command_has_a_payload_here() -> None:
    assert set(VALID) == set(ROUTES)


async def test_a_field_of_a_wrong_type_is_named_and_nothing_is_done(
    alice: Person, bystander: Bystander
) -> None:
    """All in one conversation: a server per field would take minutes."""
    cases = [case.values for case in wrong_values()]
    answers = [
        (event, name, value, await alice.client.call(event, **{**VALID[event], name: value}))
        for event, name, value in cases
    ]

    wrong = [
        (event, name, value, answer)
        for event, name, value, answer in answers
        if refused(answer) != "invalid_payload" or name not in answer["error"]["message"]
    ]
    assert len(cases) > 150
    assert wrong == []
    assert await alice.texts() == []
    assert await bystander.is_unharmed()


NESTED: list[tuple[str, str, Any]] = [
    ("subscribe", "position.offset", {"position": {"epoch": "e", "offset": -1}}),
    ("subscribe", "position.offset", {"position": {"epoch": "e", "offset": True}}),
    ("subscribe", "position.offset", {"position": {"epoch": "e", "offset": 2**53}}),
    ("subscribe", "position.epoch", {"position": {"offset": 1}}),
    ("subscribe", "limit", {"limit": 0}),
    ("subscribe", "limit", {"limit": 1_000_000}),
    ("message:send", "files.0", {"files": [7]}),
    ("message:send", "files.0", {"files": [{"no": "id"}]}),
    ("message:send", "files", {"files": ["f"] * 21}),
    ("message:send", "text or a file", {"content": "  "}),
    ("message:send", "thread_id", {"thread_id": "../../etc/passwd"}),
    ("message:send", "command_id", {"command_id": "c" * 200}),
    ("action:call", "action.payload", {"action": {"id": "a", "name": "a", "payload": []}}),
    ("action:call", "action.name", {"action": {"id": "a"}}),
    ("message:send", "exactly one", {"channel_id": "c"}),
    ("channel:create", "kind", {"kind": "secret"}),
    ("channel:create", "grants", {"grants": {"everyone": "own"}}),
    ("channel:members:role", "role", {"role": "king"}),
    ("channel:members:add", "user_ids", {"user_ids": []}),
    ("events:channel", "data.type", {"data": {"type": "shout"}}),
    ("thread:update", "title", {"title": ""}),
    ("thread:update", "tags.0", {"tags": ["t" * 51]}),
    ("user-join", "auth.token", {"auth": {}}),
]


async def test_what_is_wrong_inside_a_field_is_named(alice: Person, bystander: Bystander) -> None:
    answers = [
        (named, await alice.client.call(event, **{**VALID[event], **wrong}))
        for event, named, wrong in NESTED
    ]

    for named, answer in answers:
        assert refused(answer) == "invalid_payload"
        assert named in answer["error"]["message"]
    assert await bystander.is_unharmed()


@pytest.mark.parametrize("payload", [7, 7.5, True, [7], "a text", [], ""], ids=repr)
async def test_a_payload_that_is_no_object_is_refused(
    alice: Person, bystander: Bystander, payload: Any
) -> None:
    # A list as the data of an emission means several arguments: it is wrapped to arrive as one.
    data = ([payload[:]],) if isinstance(payload, list) else payload
    answers = {
        event: await alice.client.socket.call(event, (data,) if data == "" else data, timeout=10)
        for event in sorted(ROUTES)
    }

    assert {event: refused(answer) for event, answer in answers.items()} == dict.fromkeys(
        ROUTES, "invalid_payload"
    )
    assert await bystander.is_unharmed()


async def test_what_is_missing_is_named(alice: Person) -> None:
    required = {
        event: set(route.payload.model_json_schema().get("required", []))
        for event, route in ROUTES.items()
    }
    needing = [event for event, names in required.items() if names]

    answers = {event: await alice.client.call(event) for event in needing}

    for event, answer in answers.items():
        assert refused(answer) == "invalid_payload"
        assert all(f"{name}: " in answer["error"]["message"] for name in required[event])


async def test_the_same_holds_over_http(server: Served, bystander: Bystander) -> None:
    events = [event for event, route in ROUTES.items() if route.http]
    async with rest(server, "alice") as http:
        answers = {
            (event, name): await http.post(
                f"/api/commands/{event}", json={**VALID[event], name: [[7]]}
            )
            for event in events
            for name in ROUTES[event].payload.model_json_schema()["required"]
            if name != "data"
        }

    assert {code_of(answer) for answer in answers.values()} == {(422, "invalid_payload")}
    assert all(name in answer.json()["detail"] for (_, name), answer in answers.items())
    assert await bystander.is_unharmed()


async def test_an_unknown_event_is_refused(alice: Person, bystander: Bystander) -> None:
    answer = await alice.client.call("message:sned", content="hello")

    assert refused(answer) == "unknown_event"
    assert answer["error"]["retryable"] is False
    assert await bystander.is_unharmed()


async def test_who_asks_for_no_acknowledgement_hears_an_error_event(alice: Person) -> None:
    await alice.client.socket.emit("no such event", {})

    told = await alice.client.until(lambda event, _: event == "error")

    assert told["event"] == "no such event"
    assert told["error"]["code"] == "unknown_event"


async def test_unknown_commands_over_http_are_not_found(server: Served) -> None:
    async with rest(server, "alice") as http:
        unknown = await http.post("/api/commands/no-such-thing", json={})
        sockets_only = await http.post("/api/commands/subscribe", json={"stream": "user:x"})

    assert code_of(unknown) == code_of(sockets_only) == (404, "unknown_event")


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\u202e\ufeff", "\U0010ffff", "é" * 1000])
async def test_odd_texts_are_kept_as_they_are(alice: Person, text: str) -> None:
    ended = await alice.outcome_of(text)

    assert ended["outcome"] == "completed"
    assert await alice.texts() == [text, f"you said {text}"]


# -- sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["fast", "asgi"])
async def test_2_mb_into_a_limit_of_1_mb_end_that_connection_alone(
    app: ChatApp, tmp_path: Path, transport: str
) -> None:
    async with (
        serving(app, tmp_path, transport=transport) as server,
        bystanding(server) as bystander,
        person(server, "alice") as alice,
    ):
        await alice.outcome_of("kept")
        await alice.client.socket.emit(
            "message:send", {**THREAD, "command_id": "big", "content": "x" * 2_000_000}
        )
        await alice.client.socket.wait()

        async with person(server, "alice") as back:
            assert await back.texts() == ["kept", "you said kept"]
            assert (await back.outcome_of("again"))["outcome"] == "completed"
        assert await bystander.is_unharmed()


@pytest.mark.parametrize("transport", ["fast", "asgi"])
async def test_a_socket_is_told_why_it_was_closed(
    app: ChatApp, tmp_path: Path, transport: str
) -> None:
    async with serving(app, tmp_path, transport=transport) as server, raw(server, "eve") as socket:
        await socket.send("42" + json.dumps(["message:send", {"content": "x" * 2_000_000}]))

        assert (await closed(socket)).rcvd.code == 1009


async def test_2_mb_over_http_are_refused(server: Served, bystander: Bystander) -> None:
    body = {**THREAD, "content": "x" * 2_000_000}

    async with rest(server, "alice") as http:
        command = await http.post("/api/commands/message:send", json=body)
        message = await http.post("/api/threads/thread-of-alice/messages", json=body)
        listed = (await http.get("/api/threads")).json()["items"]

    assert code_of(command) == code_of(message) == (413, "too_large")
    assert listed == []
    assert await bystander.is_unharmed()


async def test_2_mb_over_polling_are_refused(server: Served, bystander: Bystander) -> None:
    async with polling(server, "eve") as post:
        answer = await post("42" + "x" * 2_000_000)

    assert answer.status_code == 413
    assert await bystander.is_unharmed()


async def test_a_text_over_its_own_limit_is_refused_and_not_kept(
    alice: Person, bystander: Bystander
) -> None:
    answer = await alice.say("x" * 300_000)

    assert refused(answer) == "too_large"
    assert answer["error"]["limit"] == 256_000
    assert await alice.texts() == []
    assert await bystander.is_unharmed()


# -- packets ---------------------------------------------------------------------------------------


async def closed(socket: ClientConnection) -> ConnectionClosed:
    """Read until the server closes."""
    async with asyncio.timeout(10):
        while True:
            try:
                await socket.recv()
            except ConnectionClosed as end:
                return end


@asynccontextmanager
async def raw(server: Served, name: str) -> AsyncIterator[ClientConnection]:
    """A WebSocket without a library's Socket.IO above it, connected as a user."""
    token = await server.user(name)
    url = server.url.replace("http", "ws") + "/ws/socket.io/?EIO=4&transport=websocket"
    async with connect(url, max_size=None) as socket:
        await socket.recv()
        await socket.send("40" + json.dumps({"token": token}))
        assert str(await socket.recv()).startswith("40")
        yield socket


@asynccontextmanager
async def polling(server: Served, name: str) -> AsyncIterator[Callable[..., Any]]:
    """POSTs of a connection that is made over long-polling."""
    url = f"{server.url}/ws/socket.io/?EIO=4&transport=polling"
    async with httpx.AsyncClient(timeout=10) as http:
        opening = (await http.get(url)).text
        url += "&sid=" + json.loads(opening[1:])["sid"]
        await http.post(url, content="40" + json.dumps({"token": await server.user(name)}))
        assert (await http.get(url)).text.startswith("40")

        async def post(body: str | bytes) -> httpx.Response:
            return await http.post(url, content=body)

        yield post


BROKEN_PACKETS = [
    "",
    "x",
    "9",
    "0{}",
    "2probe more",
    "4",
    "4x",
    "49",
    "42",
    "42{}",
    "42[]",
    "42[7]",
    "42[null]",
    '42["connect"]',
    '42["disconnect"]',
    '42["a"',
    '42["a",NaN]',
    '42["a","\\ud800"]',
    "42" + "[" * 100_000,
    "42" + "9" * 400 + '["a"]',
    "43[]",
    "44{}",
    '45-["a",{"_placeholder":true,"num":0}]',
    '451-["a"]',
    '451-["a",{"_placeholder":true,"num":7}]',
    '4599999-["a"]',
    '43999999999999999999["a"]',
    "40/other,{}",
    "\ud7ff\U0010ffff",
    b"",
    b"\x00\xff",
]


@pytest.mark.parametrize("transport", ["fast", "asgi"])
async def test_broken_packets_hurt_only_their_own_connection(
    app: ChatApp, tmp_path: Path, transport: str
) -> None:
    async with (
        serving(app, tmp_path, transport=transport, connections_per_user=1000) as server,
        bystanding(server) as bystander,
    ):
        for packet in BROKEN_PACKETS:
            async with raw(server, "eve") as socket:
                await socket.send(packet)
                # Whether it is ignored or ends the connection: the server has read it by then.
                await socket.send("1")
                await closed(socket)

        assert await bystander.is_unharmed()


async def test_broken_bodies_hurt_only_their_own_polling_connection(
    app: ChatApp, tmp_path: Path
) -> None:
    bodies = [p.encode() for p in BROKEN_PACKETS if isinstance(p, str)]
    async with (
        serving(app, tmp_path, connections_per_user=1000) as server,
        bystanding(server) as bystander,
    ):
        statuses = set()
        for body in [*bodies, b"4\xff\xfe", b"b!!!", b"\x1e" * 1000, b"2\x1e" * 50_000]:
            async with polling(server, "eve") as post:
                statuses.add((await post(body)).status_code)

        assert statuses <= {200, 400}
        assert await bystander.is_unharmed()


def frame(
    first: int, payload: bytes = b"", *, masked: bool = True, size: int | None = None
) -> bytes:
    """A WebSocket frame that a library would not send."""
    length = len(payload) if size is None else size
    mask = b"\x00" * 4 if masked else b""
    flag = 0x80 if masked else 0
    if length < 126:
        return bytes([first, flag | length]) + mask + payload
    return bytes([first, flag | 127]) + struct.pack(">Q", length) + mask + payload


BROKEN_FRAMES = {
    "not masked": frame(0x81, b"2", masked=False),
    "reserved bits": frame(0xF1, b"2"),
    "reserved opcode": frame(0x83, b"2"),
    "continuation of nothing": frame(0x80, b"2"),
    "fragmented ping": frame(0x09, b"2"),
    "long ping": frame(0x89, b"x" * 200),
    "no text": frame(0x81, b"\xff\xfe"),
    "half a close code": frame(0x88, b"\x03"),
    "reserved close code": frame(0x88, struct.pack(">H", 1005)),
    "endless length": frame(0x82, size=2**62),
    "negative length": frame(0x82, size=2**64 - 1),
    "not a frame": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("transport", ["fast", "asgi"])
async def test_broken_frames_hurt_only_their_own_connection(
    app: ChatApp, tmp_path: Path, transport: str
) -> None:
    async with (
        serving(app, tmp_path, transport=transport) as server,
        bystanding(server) as bystander,
    ):
        for broken in BROKEN_FRAMES.values():
            async with raw(server, "eve") as socket:
                socket.transport.write(broken)
                await closed(socket)

        assert await bystander.is_unharmed()


async def test_a_client_that_never_says_who_it_is_is_closed(app: ChatApp, tmp_path: Path) -> None:
    async with (
        serving(app, tmp_path, connect_timeout_seconds=0.2) as server,
        bystanding(server) as bystander,
    ):
        url = server.url.replace("http", "ws") + "/ws/socket.io/?EIO=4&transport=websocket"
        async with connect(url) as silent:
            await closed(silent)

        assert await bystander.is_unharmed()


# -- acknowledgements ------------------------------------------------------------------------------


async def test_an_acknowledgement_that_never_comes_is_a_typed_error(
    server: Served, bystander: Bystander
) -> None:
    async with raw(server, "eve") as socket:
        send = {"thread_id": "thread-of-eve-1", "command_id": "c1", "content": "call"}
        await socket.send("42" + json.dumps(["subscribe", {"stream": "thread:thread-of-eve-1"}]))
        await socket.send("42" + json.dumps(["message:send", send]))

        ended = await ending(socket)

    assert ended["outcome"] == "failed"
    assert ended["error"]["code"] == "call_timeout"
    assert "did not answer" in ended["error"]["message"]
    assert await bystander.is_unharmed()


async def ending(socket: ClientConnection) -> dict[str, Any]:
    """The end of the first run, read from the raw packets."""
    async with asyncio.timeout(10):
        async for packet in socket:
            text = str(packet)
            if text == "2":
                await socket.send("3")
            elif text.startswith('42["events"'):
                data = json.loads(text[2:])[1]["data"]
                if data["type"] == "run:ended":
                    ended: dict[str, Any] = data["data"]
                    return ended
    raise AssertionError("the connection ended first")


async def test_answers_that_nobody_asked_for_are_ignored(
    server: Served, bystander: Bystander
) -> None:
    async with raw(server, "eve") as socket:
        for packet in ("430[]", '4377["a"]'):
            await socket.send(packet)
        await socket.send('420["heartbeat",{}]')
        async with asyncio.timeout(10):
            while not str(answer := await socket.recv()).startswith("430"):
                pass

    assert json.loads(str(answer)[3:])[0]["ok"] is True
    assert await bystander.is_unharmed()


# -- handlers --------------------------------------------------------------------------------------


async def test_a_handler_that_raises_is_shown_and_what_it_said_stays(
    alice: Person, bystander: Bystander
) -> None:
    ended = await alice.outcome_of("fail")

    assert ended["outcome"] == "failed"
    assert ended["error"]["code"] == "handler_failed"
    assert ended["error"]["reference"] in alice.errors()[0]["content"]
    assert "secret" not in json.dumps(alice.client.heard)
    assert (await alice.texts())[:2] == ["fail", "before it failed"]
    assert (await alice.outcome_of("again"))["outcome"] == "completed"
    assert await bystander.is_unharmed()


async def test_a_handler_that_leaves_the_program_only_ends_its_run(
    alice: Person, bystander: Bystander
) -> None:
    # SystemExit in a task ends the event loop, and with it the server, unless somebody stops it.
    ended = await alice.outcome_of("leave")

    assert ended["outcome"] == "failed"
    assert ended["error"]["code"] == "handler_failed"
    assert await bystander.is_unharmed()


async def test_a_handler_that_cancels_itself_ends_its_run(
    alice: Person, bystander: Bystander
) -> None:
    ended = await alice.outcome_of("cancel")

    assert ended["outcome"] == "interrupted"
    assert (await alice.outcome_of("again"))["outcome"] == "completed"
    assert await bystander.is_unharmed()


async def test_a_handler_that_blocks_its_thread_holds_up_nobody_and_can_be_stopped(
    alice: Person, bystander: Bystander
) -> None:
    run_id = (await alice.say("thread"))["run_id"]
    await alice.client.until(lambda event, payload: "begun" in json.dumps(payload))
    unharmed = await bystander.is_unharmed()

    answer = await alice.stop()

    assert unharmed
    assert answer["accepted"]
    assert (await alice.end_of(run_id))["outcome"] == "stopped"
    assert (await alice.outcome_of("again"))["outcome"] == "completed"


async def test_a_handler_that_blocks_the_loop_costs_time_and_nothing_else(
    alice: Person, bystander: Bystander
) -> None:
    run_id = (await alice.say("loop"))["run_id"]

    answers = await asyncio.gather(bystander.is_unharmed(), alice.end_of(run_id))

    assert answers[0]
    assert answers[1]["outcome"] == "completed"


async def test_a_handler_that_swallows_its_cancellation_is_stopped_all_the_same(
    alice: Person, bystander: Bystander, behaviour: Behaviour
) -> None:
    run_id = (await alice.say("swallow"))["run_id"]
    await alice.client.until(lambda event, payload: "begun" in json.dumps(payload))

    answer = await alice.stop()

    assert answer["accepted"]
    assert (await alice.end_of(run_id))["outcome"] == "stopped"
    assert behaviour.swallowed == 1
    assert await bystander.is_unharmed()


async def test_a_handler_that_never_ends_is_left_behind(
    alice: Person, bystander: Bystander, behaviour: Behaviour
) -> None:
    run_id = (await alice.say("swallow all"))["run_id"]
    await alice.client.until(lambda event, payload: "begun" in json.dumps(payload))

    answer = await alice.stop()

    assert answer["accepted"]
    assert (await alice.end_of(run_id))["outcome"] == "stopped"
    assert (await alice.outcome_of("next"))["outcome"] == "completed"
    behaviour.release.set()
    assert await bystander.is_unharmed()
    assert await alice.texts() == ["swallow all", "begun", "next", "you said next"]


NEVER_ENDING_APP = """
import asyncio
import parlour as cl

@cl.on_message
async def reply(message: cl.Message):
    await cl.Message("begun").send()
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
"""


async def test_a_handler_that_never_ends_does_not_keep_the_process(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(NEVER_ENDING_APP)
    limits = {"PARLOUR_SHUTDOWN_RUNS_SECONDS": "1", "PARLOUR_SIGN_UP": "true"}
    async with parlour(tmp_path, "run", "app.py", "--port", "0", **limits) as running:
        address = await running.until(ADDRESS)
        async with httpx.AsyncClient(base_url=address, timeout=20) as http:
            body = {"name": "Ann", "password": "long enough"}
            token = (await http.post("/api/auth/sign-up", json=body)).json()["token"]
        client = Client()
        await client.connect(address, token=token)
        ann = Person(client, "thread-of-ann")
        await client.call("subscribe", stream=f"thread:{ann.thread_id}")
        await ann.say("hello")
        await client.until(lambda event, payload: "begun" in json.dumps(payload))

        running.signal(signal.SIGTERM)
        code = await running.ends()

    assert code == 0
    assert "a handler does not end" in running.told


async def test_a_text_that_no_client_could_read_fails_its_run(
    alice: Person, bystander: Bystander
) -> None:
    ended = await alice.outcome_of("surrogate")

    assert ended["outcome"] in ("failed", "completed")
    assert (await alice.outcome_of("again"))["outcome"] == "completed"
    assert await bystander.is_unharmed()


# -- too much --------------------------------------------------------------------------------------


async def test_too_many_commands_are_refused_for_a_while(app: ChatApp, tmp_path: Path) -> None:
    limits = {"commands_per_second": 5, "command_burst": 5}
    async with serving(app, tmp_path, **limits) as server, Client.open(server, "alice") as client:
        answers = [await client.call("heartbeat") for _ in range(30)]
        last = next(answer for answer in answers if not answer["ok"])
        await asyncio.sleep(last["error"]["retry_after_ms"] / 1000)

        assert refused(last) == "rate_limited"
        assert last["error"]["retryable"] is True
        assert (await client.call("heartbeat"))["ok"]


async def test_one_persons_rate_is_not_anothers(app: ChatApp, tmp_path: Path) -> None:
    limits = {"commands_per_second": 2, "command_burst": 8}
    async with serving(app, tmp_path, **limits) as server, AsyncExitStack() as stack:
        bystander = await stack.enter_async_context(bystanding(server))
        alice = await stack.enter_async_context(Client.open(server, "alice"))
        codes = {(await alice.call("heartbeat"))["ok"] for _ in range(30)}

        assert codes == {True, False}
        assert await bystander.is_unharmed()


async def test_too_many_connections_of_one_user_are_refused(app: ChatApp, tmp_path: Path) -> None:
    async with (
        serving(app, tmp_path, connections_per_user=2) as server,
        bystanding(server) as bystander,
        Client.open(server, "alice") as first,
        Client.open(server, "alice"),
    ):
        told = await Client.refused(server, "alice")

        assert told["data"]["code"] == "too_many_connections"
        assert (await first.call("heartbeat"))["ok"]
        assert await bystander.is_unharmed()


async def test_too_many_waiting_messages_are_refused_and_not_kept(
    app: ChatApp, tmp_path: Path
) -> None:
    async with (
        serving(app, tmp_path, runs_queued_per_thread=2) as server,
        bystanding(server) as bystander,
        person(server, "alice") as alice,
    ):
        await alice.say("endless")
        await alice.begun()
        waiting = [await alice.say(text) for text in ("one", "two")]

        answer = await alice.say("three")

        assert refused(answer) == "rate_limited"
        assert answer["error"]["retryable"] is True
        assert "three" not in await alice.texts()
        await alice.stop()
        assert [(await alice.end_of(sent["run_id"]))["outcome"] for sent in waiting] == [
            "stopped",
            "stopped",
        ]
        assert (await alice.outcome_of("three"))["outcome"] == "completed"
        assert await bystander.is_unharmed()


async def test_too_many_commands_that_wait_for_a_slow_one_are_refused(
    alice: Person, bystander: Bystander, behaviour: Behaviour
) -> None:
    answers: list[Any] = []
    everyone = asyncio.Event()
    # The app's on_stop takes its time, and what comes after it on the connection waits.
    behaviour.release.set()
    await alice.say("endless")
    await alice.begun()

    def answered(answer: Any) -> None:
        answers.append(answer)
        if len(answers) == COMMANDS_WAITING + 4:
            everyone.set()

    await alice.client.socket.emit("run:stop", {**THREAD, "command_id": "s"}, callback=answered)
    for number in range(COMMANDS_WAITING + 3):
        body = {**THREAD, "command_id": f"t{number}", "title": f"title {number}"}
        await alice.client.socket.emit("thread:update", body, callback=answered)
    await alice.client.call("heartbeat")
    early = [refused(answer) for answer in answers]
    behaviour.stop_may_end.set()
    async with asyncio.timeout(30):
        await everyone.wait()

    assert early == ["rate_limited"] * 3
    assert sum(answer["ok"] for answer in answers) == COMMANDS_WAITING + 1
    assert await bystander.is_unharmed()


async def test_too_many_streams_of_one_connection_are_refused(app: ChatApp, tmp_path: Path) -> None:
    async with (
        serving(app, tmp_path, streams_per_connection=5) as server,
        bystanding(server) as bystander,
        Client.open(server, "alice") as client,
    ):
        answers = [
            await client.call("subscribe", stream=f"thread:conversation-{number}")
            for number in range(8)
        ]

        codes = {refused(answer) for answer in answers if not answer["ok"]}
        assert codes == {"too_large"}
        assert answers[0]["ok"]
        assert await bystander.is_unharmed()
