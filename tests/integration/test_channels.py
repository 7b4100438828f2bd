"""Channels over real servers: two nodes on one Redis and one PostgreSQL behave like one."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from parlour.core.channels import PostMessage, RemoveMember
from parlour.core.users import User
from parlour.ports import Lost
from parlour.testing.servers import PostgresServer, RedisServer
from tests.apps import ScriptedApp
from tests.rest import code_of, rest, sent_events
from tests.serving import LIMIT_S, Client, Served, serve

pytestmark = pytest.mark.asyncio(loop_scope="module")

Wanted = Callable[[str, Any], bool]


@dataclass
class Team:
    """Ann is connected to node `a`, Bob and Carl to node `b`; Ann and Bob are in a private channel."""

    a: Served
    b: Served
    ann: Client
    bob: Client
    carl: Client
    ids: dict[str, str]
    names: dict[str, str]
    """Their logins: the nodes know those of the other tests as well."""
    channel: str

    @property
    def room(self) -> str:
        return f"channel:{self.channel}"


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=["embedded", "two nodes"])
async def nodes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Served, Served]]:
    """One process that has everything, or two that share it."""
    folder = tmp_path_factory.mktemp("channels")
    async with AsyncExitStack() as stack:
        if request.param == "embedded":
            one = await stack.enter_async_context(serve(ScriptedApp(), folder / "one"))
            yield one, one
            return
        redis: RedisServer = request.getfixturevalue("redis_server")
        postgres: PostgresServer = request.getfixturevalue("postgres_server")
        shared: dict[str, Any] = {
            "redis_url": redis.url,
            "redis_key_prefix": folder.name,
            "database_url": await postgres.create_database("channels"),
            "database_pool_size": 5,
            # Long, so that a node whose neighbours take the processors is not taken for dead.
            "node_lease_seconds": 30.0,
        }
        a = await stack.enter_async_context(serve(ScriptedApp(), folder / "a", **shared))
        b = await stack.enter_async_context(serve(ScriptedApp(), folder / "b", **shared))
        yield a, b


@pytest_asyncio.fixture(loop_scope="module")
async def team(nodes: tuple[Served, Served]) -> AsyncIterator[Team]:
    a, b = nodes
    names = {name: f"{name}-{uuid.uuid4().hex[:8]}" for name in ("ann", "bob", "carl")}
    async with AsyncExitStack() as stack:
        ann = await stack.enter_async_context(Client.open(a, names["ann"]))
        bob = await stack.enter_async_context(Client.open(b, names["bob"]))
        carl = await stack.enter_async_context(Client.open(b, names["carl"]))
        ids = {name: await user_id(a, login) for name, login in names.items()}
        made = await ann.call(
            "channel:create", kind="group", name="Plans", user_ids=[ids["bob"]], command_id="make"
        )
        assert made["ok"], made
        yield Team(a, b, ann, bob, carl, ids, names, made["channel"]["id"])


async def user_id(server: Served, name: str) -> str:
    record = await server.node.users.user_by_login(name)
    assert record is not None
    return record.id


def happened(kind: str, channel: str | None = None) -> Wanted:
    def wanted(event: str, payload: Any) -> bool:
        return (
            event == "events:channel"
            and payload["data"]["type"] == kind
            and channel in (None, payload["channel_id"])
        )

    return wanted


def heard(client: Client, kind: str) -> list[Any]:
    return [p["data"]["data"] for e, p in client.heard if happened(kind)(e, p)]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the server does by itself."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


async def say(client: Client, channel: str, text: str, **more: Any) -> Any:
    command = more.pop("command_id", None) or uuid.uuid4().hex
    answer = await client.call(
        "message:send", channel_id=channel, content=text, command_id=command, **more
    )
    assert answer["ok"], answer
    return answer


# -- hearing ---------------------------------------------------------------------------------------


async def test_a_message_reaches_the_members_on_every_node(team: Team) -> None:
    sent = await say(team.ann, team.channel, "hello")

    got = await team.bob.until(happened("message"))

    assert got["channel_id"] == team.channel
    assert got["message_id"] == sent["message"]["id"]
    assert got["data"]["data"] == sent["message"]
    assert got["user"] == {"id": team.ids["ann"], "name": team.names["ann"]}
    assert {"epoch": got["epoch"], "offset": got["offset"]} == sent["position"]
    assert heard(team.carl, "message") == []


async def test_a_reply_reaches_the_channel_and_the_replies_of_its_parent(team: Team) -> None:
    parent = (await say(team.ann, team.channel, "question"))["message"]
    reply = (await say(team.bob, team.channel, "answer", parent_id=parent["id"]))["message"]

    counted = await team.ann.until(happened("message:reply"))

    assert counted["message_id"] == parent["id"]
    assert counted["data"]["data"]["parent"]["reply_count"] == 1
    assert [m["id"] for m in heard(team.ann, "message")] == [parent["id"], reply["id"]]


async def test_edit_reaction_pin_and_deletion_are_events(team: Team) -> None:
    message = (await say(team.ann, team.channel, "draft"))["message"]
    about = {"channel_id": team.channel, "message_id": message["id"]}

    for client, event, more in (
        (team.ann, "message:edit", {"content": "better"}),
        (team.bob, "message:react", {"emoji": "👍"}),
        (team.bob, "message:react", {"emoji": "👍", "remove": True}),
        (team.bob, "message:pin", {}),
        (team.ann, "message:delete", {}),
    ):
        answer = await client.call(event, **about, **more, command_id=uuid.uuid4().hex)
        assert answer["ok"], answer
    await team.bob.until(happened("message:delete"))

    kinds = [p["data"]["type"] for e, p in team.bob.heard if e == "events:channel"]
    assert kinds[-6:] == [
        "message",
        "message:update",
        "message:reaction:add",
        "message:reaction:remove",
        "message:update",
        "message:delete",
    ]
    assert heard(team.bob, "message:update")[0]["content"] == "better"


async def test_members_who_connect_later_are_in_the_rooms_of_their_channels(team: Team) -> None:
    async with Client.open(team.a, team.names["bob"]) as later:
        joined = await later.call("join-channels")
        await say(team.ann, team.channel, "hello again")

        await later.until(happened("message"))

    assert joined["channels"] == [team.channel]


async def test_typing_is_passed_on_to_the_others_and_stored_nowhere(team: Team) -> None:
    payload = {"channel_id": team.channel, "data": {"type": "typing", "data": {"typing": True}}}
    await team.ann.call("join-channels")
    for _ in range(5):
        await team.ann.call("events:channel", **payload)

    got = await team.bob.until(happened("typing"))
    refused = await team.carl.call("events:channel", **payload)

    assert got["user"]["name"] == team.names["ann"]
    assert "offset" not in got
    assert len(heard(team.bob, "typing")) == 1
    assert refused["error"]["code"] == "forbidden"


# -- members ---------------------------------------------------------------------------------------


async def test_an_added_member_hears_the_channel_at_once(team: Team) -> None:
    added = await team.ann.call(
        "channel:members:add",
        channel_id=team.channel,
        user_ids=[team.ids["carl"]],
        command_id="add",
    )
    assert added["ok"], added

    await say(team.ann, team.channel, "welcome")
    got = await team.carl.until(happened("message"))
    told = await team.carl.until(lambda e, p: e == "events" and p["data"]["type"] == "member:added")

    assert got["data"]["data"]["content"] == "welcome"
    assert told["data"]["data"]["channel"]["name"] == "Plans"


async def test_a_removed_member_hears_nothing_more_and_may_nothing_more(team: Team) -> None:
    await say(team.ann, team.channel, "before")
    await team.bob.until(happened("message"))
    removed = await team.ann.call(
        "channel:members:remove",
        channel_id=team.channel,
        user_id=team.ids["bob"],
        command_id="remove",
    )
    left = await team.bob.until(lambda e, p: e == "access:updated" and p["room"] == team.room)

    await say(team.ann, team.channel, "secret")
    refused = [
        await team.bob.call("subscribe", stream=team.room),
        await team.bob.call(
            "message:send", channel_id=team.channel, content="x", command_id="after"
        ),
    ]
    listed = await team.bob.call("join-channels")

    assert removed["ok"]
    assert left["reason"] == "removed"
    assert [one["error"]["code"] for one in refused] == ["forbidden", "not_found"]
    assert listed["channels"] == []
    assert [m["content"] for m in heard(team.bob, "message")] == ["before"]


async def test_somebody_removed_and_added_again_is_in(team: Team) -> None:
    for number in range(3):
        for event, more in (
            ("channel:members:remove", {"user_id": team.ids["bob"]}),
            ("channel:members:add", {"user_ids": [team.ids["bob"]]}),
        ):
            done = await team.ann.call(
                event, channel_id=team.channel, command_id=f"{event}{number}", **more
            )
            assert done["ok"], done
    await until(
        lambda: any(
            team.room in one.rooms and one.user.id == team.ids["bob"]
            for one in team.b.node.hub.connections()
        )
    )

    await say(team.ann, team.channel, "back")

    await team.bob.until(happened("message"))


async def test_renaming_and_deleting_are_heard(team: Team) -> None:
    await team.ann.call(
        "channel:update", channel_id=team.channel, name="Better plans", command_id="rename"
    )
    renamed = await team.bob.until(happened("channel:updated"))
    await team.ann.call("channel:delete", channel_id=team.channel, command_id="delete")

    await team.bob.until(happened("channel:deleted"))
    left = await team.bob.until(lambda e, p: e == "access:updated")

    assert renamed["channel"]["name"] == "Better plans"
    assert left == {"room": team.room, "reason": "deleted"}


async def test_taking_a_grant_back_ends_live_reading(team: Team) -> None:
    made = await team.ann.call("channel:create", kind="standard", name="News", command_id="news")
    news = made["channel"]["id"]
    reading = await team.carl.call("subscribe", stream=f"channel:{news}")
    await say(team.ann, news, "public")
    await team.carl.until(happened("message", news))

    await team.ann.call("channel:update", channel_id=news, grants={}, command_id="close")
    await team.carl.until(lambda e, p: e == "access:updated" and p["room"].endswith(news))
    await say(team.ann, news, "private")
    refused = await team.carl.call("subscribe", stream=f"channel:{news}")

    assert reading["ok"]
    assert refused["error"]["code"] == "forbidden"
    assert [m["content"] for m in heard(team.carl, "message")] == ["public"]


async def test_access_is_asked_again_when_nobody_knows_what_was_missed(team: Team) -> None:
    # The removal's event is lost together with the history of the stream.
    await team.bob.call("join-channels")
    node = team.b.node
    done = await node.channels._store.change(
        RemoveMember(team.channel, team.ids["bob"]),
        User(team.ids["ann"], "ann"),
        at=node.clock.now_ms(),
        limits=node.channels._limits,
    )
    await node.announcements.announced([key for _, key in done.told])
    feed = node.feeds.peek(team.room)
    assert feed is not None

    feed.hear(Lost(team.room))
    await team.bob.until(lambda e, p: e == "access:updated" and p["reason"] == "access")
    await say(team.ann, team.channel, "secret")
    answer = await team.bob.call("join-channels")

    assert answer["channels"] == []
    assert heard(team.bob, "message") == []


# -- subscribing -----------------------------------------------------------------------------------


async def test_a_snapshot_and_what_follows_hold_every_message_once(team: Team) -> None:
    first = (await say(team.ann, team.channel, "1"))["message"]
    answer = await team.bob.call("subscribe", stream=team.room)
    second = await say(team.ann, team.channel, "2")
    await team.bob.until(
        lambda e, p: happened("message")(e, p) and p["message_id"] == second["message"]["id"]
    )

    resumed = await team.bob.call("subscribe", stream=team.room, position=answer["position"])

    assert answer["status"] == "snapshot"
    assert [m["id"] for m in answer["snapshot"]["messages"]] == [first["id"]]
    assert answer["snapshot"]["channel"]["name"] == "Plans"
    assert resumed["status"] == "replayed"
    assert [e["message_id"] for e in resumed["events"]] == [second["message"]["id"]]
    assert resumed["position"] == second["position"]


async def test_who_stops_following_a_channel_still_hears_it_as_a_member(team: Team) -> None:
    await team.bob.call("subscribe", stream=team.room)
    await team.bob.call("unsubscribe", stream=team.room)

    await say(team.ann, team.channel, "still there?")

    await team.bob.until(happened("message"))


# -- retries ---------------------------------------------------------------------------------------


async def test_a_retried_command_is_done_once_on_whichever_node(team: Team) -> None:
    async with Client.open(team.b, team.names["ann"]) as elsewhere:
        answers = await asyncio.gather(
            say(team.ann, team.channel, "once", command_id="same"),
            say(elsewhere, team.channel, "once", command_id="same"),
        )
    await say(team.ann, team.channel, "last")
    await team.bob.until(
        lambda e, p: happened("message")(e, p) and p["data"]["data"]["content"] == "last"
    )

    assert answers[0]["message"] == answers[1]["message"]
    assert answers[0]["position"] == answers[1]["position"]
    assert [m["content"] for m in heard(team.bob, "message")] == ["once", "last"]


async def test_many_writers_are_heard_in_the_order_of_their_numbers(team: Team) -> None:
    await asyncio.gather(
        *(say(client, team.channel, str(n)) for n in range(8) for client in (team.ann, team.bob))
    )
    await until(lambda: len(heard(team.bob, "message")) == 16)

    numbers = [m["seq"] for m in heard(team.bob, "message")]

    assert numbers == list(range(1, 17))


async def test_what_a_dead_node_left_unannounced_appears_once(team: Team) -> None:
    # As after a crash between commit and announcement: the change is stored, nobody announces it.
    node = team.a.node
    done = await node.channels._store.change(
        PostMessage(team.channel, uuid.uuid4().hex, "left behind"),
        User(team.ids["ann"], "ann"),
        at=node.clock.now_ms() - 60_000,
        limits=node.channels._limits,
    )

    got = await team.bob.until(happened("message"))
    await say(team.ann, team.channel, "next")
    await team.bob.until(
        lambda e, p: happened("message")(e, p) and p["data"]["data"]["content"] == "next"
    )

    assert got["message_id"] == done.answer["message"]["id"]
    assert [m["content"] for m in heard(team.bob, "message")] == ["left behind", "next"]


# -- HTTP ------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module")
async def ann(team: Team) -> AsyncIterator[httpx.AsyncClient]:
    async with rest(team.a, team.names["ann"]) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def bob(team: Team) -> AsyncIterator[httpx.AsyncClient]:
    async with rest(team.b, team.names["bob"]) as client:
        yield client


async def test_unread_counts_are_right_after_reading(
    team: Team, ann: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    path = f"/api/channels/{team.channel}"
    for text in ("1", f"2 @[bob](user:{team.ids['bob']})"):
        await ann.post(f"{path}/messages", json={"content": text})
    before = (await bob.get("/api/channels")).json()["items"][0]

    marked = await bob.post(f"{path}/read", json={})
    after = (await bob.get("/api/channels")).json()["items"][0]

    assert (before["unread"], before["unread_mentions"]) == (2, 1)
    assert marked.json()["read_seq"] == 2
    assert (after["unread"], after["membership"]["read_seq"]) == (0, 2)


async def test_pages_over_http_give_each_message_once_while_others_write(
    team: Team, ann: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    path = f"/api/channels/{team.channel}/messages"
    sent = [
        (await ann.post(path, json={"content": str(n)})).json()["message"]["id"] for n in range(7)
    ]

    seen: list[str] = []
    cursor = ""
    while True:
        page = (await bob.get(path, params={"limit": 3, "before": cursor})).json()
        seen = [m["id"] for m in page["items"]] + seen
        cursor = page["next_cursor"]
        if cursor is None:
            break
        await ann.post(path, json={"content": "meanwhile"})

    assert seen == sent


async def test_everything_of_a_channel_over_http(
    team: Team, ann: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    path = f"/api/channels/{team.channel}"
    message = (await ann.post(f"{path}/messages", json={"content": "100% sure"})).json()["message"]
    about = f"{path}/messages/{message['id']}"

    answers = [
        await bob.post(f"{path}/messages", json={"content": "ok", "parent_id": message["id"]}),
        await bob.post(f"{about}/reactions", json={"emoji": "👍"}),
        await bob.delete(f"{about}/reactions/👍"),
        await bob.post(f"{about}/pin"),
        await ann.patch(about, json={"content": "100% certain"}),
        await bob.get(f"{about}/replies"),
        await bob.get(f"{path}/pins"),
        await bob.get(f"{path}/search", params={"q": "0% C"}),
        await bob.get(f"{path}/members"),
        await bob.post(f"{path}/mute"),
        await ann.patch(f"{path}/members/{team.ids['bob']}", json={"role": "manager"}),
        await bob.patch(path, json={"name": "New"}),
        await bob.post(f"{path}/members", json={"user_ids": [team.ids["carl"]]}),
        await bob.delete(f"{path}/members/{team.ids['carl']}"),
        await bob.get(path),
        await ann.delete(about),
        await ann.delete(path),
    ]

    assert [one.status_code for one in answers] == [201, *[200] * 12, 204, 200, 204, 204]
    assert [m["content"] for m in answers[5].json()["items"]] == ["ok"]
    assert answers[6].json()["items"][0]["pinned_by"] == team.ids["bob"]
    assert [m["id"] for m in answers[7].json()["items"]] == [message["id"]]
    assert answers[14].json()["name"] == "New"
    assert answers[14].json()["membership"] | {"joined_at": 0, "read_seq": 0} == {
        "role": "manager",
        "muted": True,
        "joined_at": 0,
        "read_seq": 0,
    }
    assert code_of(await ann.get(path)) == (404, "not_found")


async def test_a_stranger_gets_an_error_and_no_data(team: Team) -> None:
    await say(team.ann, team.channel, "secret")
    path = f"/api/channels/{team.channel}"
    async with rest(team.b, team.names["carl"]) as carl:
        answers = [
            await carl.get(path),
            await carl.get(f"{path}/messages"),
            await carl.get(f"{path}/members"),
            await carl.get(f"{path}/pins"),
            await carl.get(f"{path}/search", params={"q": "s"}),
            await carl.post(f"{path}/messages", json={"content": "hi"}),
            await carl.post(f"{path}/members", json={"user_ids": [team.ids["carl"]]}),
            await carl.get(f"/api/streams/{team.room}"),
        ]
        mine = await carl.get("/api/channels")

    codes = {code_of(one) for one in answers}
    assert codes == {(404, "not_found"), (403, "forbidden")}
    assert not any("secret" in one.text for one in answers)
    assert mine.json() == {"items": []}


async def test_a_removed_member_s_event_stream_ends(team: Team, bob: httpx.AsyncClient) -> None:
    source = f"/api/streams/{team.room}"
    async with bob.stream("GET", source, headers={"accept": "text/event-stream"}) as response:
        events = sent_events(response)
        await anext(events)
        await say(team.ann, team.channel, "before")
        await team.ann.call(
            "channel:members:remove",
            channel_id=team.channel,
            user_id=team.ids["bob"],
            command_id="remove",
        )
        await say(team.ann, team.channel, "secret")
        async with asyncio.timeout(LIMIT_S):
            told = [event.data async for event in events]

    kinds = [one["data"]["type"] for one in told if "data" in one]
    assert kinds == ["message", "member:removed"]
    assert "secret" not in str(told)


async def test_a_file_of_a_channel_is_read_by_its_members_only(
    team: Team, ann: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    uploaded = (
        await ann.post("/api/files", files={"file": ("a.txt", b"plan", "text/plain")})
    ).json()
    path = f"/api/channels/{team.channel}/messages"
    early = await bob.get(f"/api/files/{uploaded['id']}")
    sent = await ann.post(path, json={"content": "", "files": [uploaded["id"]]})

    assert early.status_code == 404
    assert sent.json()["message"]["files"][0]["name"] == "a.txt"
    async with rest(team.b, team.names["carl"]) as carl:
        assert (await carl.get(f"/api/files/{uploaded['id']}")).status_code == 404


# -- people ----------------------------------------------------------------------------------------


async def test_people_are_found_by_their_whole_name_only(
    team: Team, bob: httpx.AsyncClient
) -> None:
    ann = team.names["ann"]

    answers = [await bob.get("/api/people", params={"q": name}) for name in (ann, ann[:-1], "")]

    assert answers[0].json() == {"items": [{"id": team.ids["ann"], "name": team.names["ann"]}]}
    assert answers[1].json() == {"items": []}
    assert code_of(answers[2]) == (422, "invalid_payload")


async def test_a_stranger_finds_nobody(team: Team) -> None:
    async with rest(team.a) as stranger:
        refused = await stranger.get("/api/people", params={"q": "ann"})

    assert code_of(refused) == (401, "unauthenticated")
