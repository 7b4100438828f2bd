"""Session values: current, kept apart, and stored when they can be."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import parlour as cl
from parlour.chat.registry import Registry
from parlour.chat.storable import fingerprint, is_storable
from parlour.testing.pilot import Talk
from tests.unit.chat.conftest import Desk, Stage

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
    max_leaves=20,
)


def counting_app() -> None:
    @cl.on_message
    async def reply(message: cl.Message) -> None:
        words = cl.user_session.get("words", [])
        words.append(message.content)
        cl.user_session.set("words", words)
        await cl.Message(" ".join(words)).send()


async def test_values_that_json_can_hold_survive_a_restart(stage: Stage, app: Registry) -> None:
    counting_app()
    async with stage.running(app) as node:
        before = Talk(node)
        await before.open()
        await before.say("one")
    async with stage.running(app) as node:
        after = Talk(node, before.user, before.session_id, before.thread_id)
        await after.open()
        await after.say("two")

        assert (await after.answers())[-1]["content"] == "one two"


async def test_a_value_changed_in_place_is_stored_too(stage: Stage, app: Registry) -> None:
    @cl.on_chat_start
    async def start() -> None:
        cl.user_session.set("seen", {"words": []})

    @cl.on_message
    async def reply(message: cl.Message) -> None:
        cl.user_session.get("seen")["words"].append(message.content)

    async with stage.running(app) as node:
        before = Talk(node)
        await before.open()
        await before.say("one")
        await before.say("two")
    async with stage.running(app) as node:
        after = Talk(node, before.user, before.session_id, before.thread_id)
        await after.open()
        chat = await node.chats.open(after.caller, after.thread_id)

        assert chat.values["seen"] == {"words": ["one", "two"]}


async def test_a_value_that_is_not_json_stays_itself_and_in_this_process(
    stage: Stage, app: Registry
) -> None:
    class Connection:
        pass

    connection = Connection()

    @cl.on_message
    async def reply(message: cl.Message) -> None:
        if message.content == "set":
            cl.user_session.set("connection", connection)
        same = cl.user_session.get("connection", "gone") is connection
        await cl.Message("same" if same else "gone").send()

    async with stage.running(app) as node:
        before = Talk(node)
        await before.open()
        await before.say("set")
        await before.say("get")
        assert [answer["content"] for answer in await before.answers()] == ["same", "same"]
    async with stage.running(app) as node:
        after = Talk(node, before.user, before.session_id, before.thread_id)
        await after.open()
        await after.say("get")

        assert (await after.answers())[-1]["content"] == "gone"


async def test_a_stored_value_replaced_by_an_unstorable_one_does_not_come_back(
    stage: Stage, app: Registry
) -> None:
    @cl.on_message
    async def reply(message: cl.Message) -> None:
        cl.user_session.set("value", "old" if message.content == "json" else object())

    async with stage.running(app) as node:
        before = Talk(node)
        await before.open()
        await before.say("json")
        await before.say("object")
    async with stage.running(app) as node:
        after = Talk(node, before.user, before.session_id, before.thread_id)
        await after.open()
        chat = await node.chats.open(after.caller, after.thread_id)

        assert "value" not in chat.values


async def test_two_sessions_of_one_person_keep_their_values_apart(
    stage: Stage, app: Registry
) -> None:
    counting_app()
    first = await stage.talk(app)
    second = Talk(first.node, first.user)
    await second.open()
    await asyncio.gather(first.say("mine"), second.say("yours"))

    assert (await first.answers())[0]["content"] == "mine"
    assert (await second.answers())[0]["content"] == "yours"


async def test_reserved_keys_are_always_current_and_cannot_be_set(desk: Desk) -> None:
    async def look() -> dict[str, Any]:
        for key in ("id", "user", "env", "chat_settings", "chat_profile", "client_type"):
            with pytest.raises(KeyError, match=key):
                cl.user_session.set(key, "mine")
        return {key: cl.user_session.get(key) for key in ("id", "user", "env", "client_type")}

    seen = await desk.run(look)

    assert seen["id"] == desk.talk.session_id
    assert seen["user"].identifier == "Ann"
    assert seen["env"] == {}
    assert seen["client_type"] == "http"


async def test_accessors_get_set_apply_and_reset(desk: Desk) -> None:
    async def use() -> list[int]:
        counter = cl.user_session.create_accessor("count", 0, apply_fn=lambda n: n + 1)
        return [
            counter.get(),
            counter.apply(),
            counter.apply(),
            counter.set(9),
            counter.get(),
            counter.reset(),
        ]

    assert await desk.run(use) == [0, 1, 2, 9, 9, 0]


async def test_the_session_is_a_mapping(desk: Desk) -> None:
    async def use() -> list[Any]:
        cl.user_session["colour"] = "blue"
        seen = [cl.user_session["colour"], "colour" in cl.user_session, "id" in cl.user_session]
        del cl.user_session["colour"]
        with pytest.raises(KeyError):
            cl.user_session["colour"]
        return [*seen, "colour" in list(cl.user_session)]

    assert await desk.run(use) == ["blue", True, True, False]


def test_outside_a_conversation_the_session_says_so() -> None:
    with pytest.raises(cl.ContextMissing, match="handler"):
        cl.user_session.get("anything")


@given(JSON)
def test_json_values_are_storable(value: Any) -> None:
    assert is_storable(value)
    assert fingerprint(value) is not None


@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        {1: "key"},
        {"a": {2}},
        b"bytes",
        math.nan,
        math.inf,
        2**63,
        "\ud800",
        {"\ud800": 1},
        object(),
        type("Dict", (dict,), {})(),
    ],
)
def test_what_json_would_change_is_not_storable(value: Any) -> None:
    assert not is_storable(value)
    assert fingerprint(value) is None


def test_a_cycle_is_not_storable() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)

    assert not is_storable(cycle)


async def test_values_are_stored_before_a_question_waits(stage: Stage, app: Registry) -> None:
    @cl.on_message
    async def reply() -> None:
        cl.user_session.set("words", [])
        words = cl.user_session.get("words")
        words.append("before")
        await cl.AskUserMessage("?", timeout=60).send()
        words.append("after")

    talk = await stage.talk(app)
    await talk.say("go")
    waiting = await talk.node.sessions.values(talk.session_id, talk.thread_id)
    await talk.answer("yes")
    ended = await talk.node.sessions.values(talk.session_id, talk.thread_id)

    assert waiting["v:words"] == b'["before"]'
    assert ended["v:words"] == b'["before","after"]'
