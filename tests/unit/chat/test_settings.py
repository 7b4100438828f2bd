"""The settings dialog: offered, checked, kept."""

from __future__ import annotations

from typing import Any

import pytest

import parlour as cl
from parlour.chat.chat_settings import offered
from parlour.chat.registry import Registry
from parlour.errors import InvalidPayload
from parlour.input_widget import NumberInput, Select, Slider, Switch, TextInput
from parlour.testing.pilot import Talk
from tests.unit.chat.conftest import Stage


def offering_app() -> list[dict[str, Any]]:
    changes: list[dict[str, Any]] = []

    async def offer() -> None:
        await cl.ChatSettings(
            [
                Select(id="model", label="Model", values=["small", "large"], initial_index=1),
                Slider(id="heat", label="Heat", initial=0.5, min=0, max=1, step=0.1),
                Switch(id="loud", label="Loud"),
                TextInput(id="name", label="Name", placeholder="Yours"),
                NumberInput(id="seed", label="Seed"),
            ]
        ).send()

    cl.on_chat_start(offer)
    cl.on_chat_resume(offer)

    @cl.on_settings_update
    async def changed(settings: dict[str, Any]) -> None:
        changes.append(settings)

    @cl.on_message
    async def reply() -> None:
        await cl.Message(cl.user_session.get("chat_settings")["model"]).send()

    return changes


async def test_settings_start_with_their_initial_values(stage: Stage, app: Registry) -> None:
    offering_app()
    talk = await stage.talk(app)
    chat = await talk.node.chats.open(talk.caller, talk.thread_id)

    assert chat.chat_settings == {
        "model": "large",
        "heat": 0.5,
        "loud": False,
        "name": "",
        "seed": None,
    }
    assert [widget["type"] for widget in offered(chat)] == [
        "select",
        "slider",
        "switch",
        "text",
        "number",
    ]


async def test_a_change_is_kept_told_and_shown_as_initial(stage: Stage, app: Registry) -> None:
    changes = offering_app()
    talk = await stage.talk(app)
    await talk.command("settings:update", settings={"model": "small", "heat": 1, "unknown": "x"})
    await talk.settle()
    await talk.say("which?")

    chat = await talk.node.chats.open(talk.caller, talk.thread_id)
    assert (await talk.contents())[-1] == "small"
    assert [(change["model"], change["heat"], "unknown" in change) for change in changes] == [
        ("small", 1, False)
    ]
    assert offered(chat)[0]["initial"] == "small"


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "huge"},
        {"heat": 2},
        {"heat": "hot"},
        {"heat": True},
        {"loud": "yes"},
        {"name": 3},
        {"seed": "7"},
    ],
)
async def test_a_value_that_was_not_offered_is_refused_whole(
    stage: Stage, app: Registry, settings: dict[str, Any]
) -> None:
    changes = offering_app()
    talk = await stage.talk(app)

    with pytest.raises(InvalidPayload):
        await talk.command("settings:update", settings={"name": "Ann", **settings})

    chat = await talk.node.chats.open(talk.caller, talk.thread_id)
    assert (changes, chat.chat_settings["name"]) == ([], "")


async def test_chosen_settings_survive_a_restart_and_a_new_offer(
    stage: Stage, app: Registry
) -> None:
    offering_app()
    async with stage.running(app) as node:
        before = Talk(node)
        await before.open()
        await before.say("hello")
        await before.command("settings:update", settings={"model": "small"})
        await before.settle()
    async with stage.running(app) as node:
        after = Talk(node, before.user, before.session_id, before.thread_id)
        await after.open()
        await after.say("which?")

        assert (await after.contents())[-1] == "small"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Select(id="a", label="A"),
        lambda: Select(id="a", label="A", values=["x"], initial_value="y"),
        lambda: Slider(id="a", label="A", initial=11),
        lambda: Slider(id="a", label="A", min=2, max=1),
        lambda: Switch(id="", label="A"),
        lambda: cl.ChatSettings([Switch(id="a", label="A"), Switch(id="a", label="B")]),
    ],
)
def test_inputs_that_make_no_sense_are_refused(make: Any) -> None:
    with pytest.raises(ValueError):
        make()
