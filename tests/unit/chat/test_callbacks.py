"""Mistakes are found where the decorator stands."""

from __future__ import annotations

import functools
from typing import Any

import pytest

import parlour as cl
from parlour.chat.application import ChatApp
from parlour.chat.registry import Registry, registering
from parlour.core.users import User as CoreUser
from parlour.errors import NotFound, SettingsError
from tests.unit.chat.conftest import Stage


def test_a_decorator_gives_back_the_function_itself(app: Registry) -> None:
    async def reply(message: cl.Message) -> None: ...

    assert cl.on_message(reply) is reply
    assert list(app.callbacks) == ["on_message"]


def test_a_handler_that_needs_more_than_it_gets_is_refused(app: Registry) -> None:
    async def reply(message: cl.Message, other: str) -> None: ...

    with pytest.raises(TypeError, match=r"on_message: .*reply.* needs more than the 1 argument"):
        cl.on_message(reply)


def test_generators_and_classes_are_refused(app: Registry) -> None:
    async def tokens(message: cl.Message) -> Any:
        yield "x"

    with pytest.raises(TypeError, match="yield"):
        cl.on_message(tokens)
    with pytest.raises(TypeError, match="needs a function"):
        cl.on_message(dict)


def test_registering_twice_names_the_first_place(app: Registry) -> None:
    @cl.on_message
    async def first() -> None: ...

    with pytest.raises(ValueError, match=r"twice, first at .*test_callbacks\.py:\d+"):
        cl.on_message(first)


def test_an_action_needs_a_name(app: Registry) -> None:
    with pytest.raises(TypeError, match="needs the action's name"):
        cl.action_callback(lambda action: None)  # type: ignore[arg-type]


def test_an_agent_needs_a_name_that_is_free(app: Registry) -> None:
    @cl.agent("reviewer")
    def review(situation: Any) -> str:
        return "What should I look at?"

    with pytest.raises(TypeError, match="needs the agent's name"):
        cl.agent(review)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"@agent\('reviewer'\) is registered twice"):
        cl.agent("reviewer")(review)
    assert list(app.agents) == ["reviewer"]


def test_decorators_outside_a_load_write_to_their_own_module() -> None:
    registry = Registry()
    namespace: dict[str, Any] = {"cl": cl, "__parlour_registry__": registry}
    exec("@cl.on_message\nasync def reply(message): ...", namespace)

    assert list(registry.callbacks) == ["on_message"]


def test_two_registries_do_not_mix() -> None:
    with registering(Registry()) as one:
        cl.on_message(lambda message: None)
    with registering(Registry()) as two:
        cl.on_chat_start(lambda: None)

    assert (list(one.callbacks), list(two.callbacks)) == (["on_message"], ["on_chat_start"])


async def test_handlers_may_be_partial_and_take_fewer_arguments(
    stage: Stage, app: Registry
) -> None:
    async def reply(prefix: str, message: cl.Message) -> None:
        await cl.Message(prefix + message.content).send()

    cl.on_message(functools.partial(reply, "> "))
    talk = await stage.talk(app)
    await talk.say("hi")

    assert (await talk.answers())[0]["content"] == "> hi"


async def test_passwords_are_checked_by_the_app(stage: Stage, app: Registry) -> None:
    @cl.password_auth_callback
    def check(login: str, password: str) -> cl.User | None:
        good = (login, password) == ("alice@example.com", "secret")
        return cl.User(identifier=login, metadata={"role": "admin"}) if good else None

    chat_app = ChatApp(app)
    refused = await chat_app.authenticate_password("alice@example.com", "wrong")
    accepted = await chat_app.authenticate_password("alice@example.com", "secret")

    assert refused is None
    assert accepted is not None
    assert (accepted.id, accepted.role) == ("alice@example.com", "user")
    assert cl.User.from_core(accepted).identifier == "alice@example.com"


async def test_a_wrong_answer_of_an_auth_callback_is_an_error(app: Registry) -> None:
    @cl.header_auth_callback
    def check(headers: Any) -> Any:
        return headers["x-user"]

    with pytest.raises(TypeError, match="header_auth_callback has to give back a User"):
        await ChatApp(app).authenticate_headers({"x-user": "alice"})


def test_identifiers_that_cannot_name_a_stream_get_a_stable_id() -> None:
    first, again = cl.User(identifier="Ünïcode name"), cl.User(identifier="Ünïcode name")

    assert first.id == again.id != cl.User(identifier="other name").id
    assert first.id.startswith("u-")


async def test_oauth_without_a_provider_does_not_start(stage: Stage, app: Registry) -> None:
    @cl.oauth_callback
    async def check(provider: str) -> None: ...

    with pytest.raises(SettingsError, match=r"test_callbacks\.py:\d+: oauth_callback needs"):
        await stage.start(app)


async def test_profiles_and_starters_are_asked_per_user(app: Registry) -> None:
    @cl.set_chat_profiles
    async def profiles(user: cl.User | None) -> list[cl.ChatProfile]:
        starters = [cl.Starter(label="Own", message="own")]
        names = ["Basic", "Expert"] if user else ["Basic"]
        return [cl.ChatProfile(name=n, starters=starters if n == "Expert" else None) for n in names]

    @cl.set_starters
    def starters(user: cl.User | None, profile: str | None) -> list[cl.Starter]:
        return [cl.Starter(label="General", message=f"for {profile}")]

    chat_app, ann = ChatApp(app), CoreUser("ann", "Ann")
    nobody = [profile["name"] for profile in await chat_app.profiles(None)]
    everything = [profile["name"] for profile in await chat_app.profiles(ann)]

    assert (nobody, everything) == (["Basic"], ["Basic", "Expert"])
    assert [s["message"] for s in await chat_app.starters(ann, "Expert")] == ["own"]
    assert [s["message"] for s in await chat_app.starters(ann, "Basic")] == ["for Basic"]


async def test_actions_reach_their_callback_and_can_be_removed(stage: Stage, app: Registry) -> None:
    @cl.on_message
    async def reply() -> None:
        actions = [cl.Action(name="buy", payload={"n": 1}), cl.Action(name="sell", value="2")]
        await cl.Message("Well?", actions=actions).send()

    @cl.action_callback("buy")
    async def buy(action: cl.Action) -> None:
        await cl.Message(f"bought {action.payload['n']}").send()
        await action.remove()

    talk = await stage.talk(app)
    await talk.say("go")
    [question] = await talk.answers()
    pressed = {key: question["actions"][0][key] for key in ("id", "name", "payload")}
    await talk.command("action:call", action=pressed, message_id=question["id"])
    await talk.settle()

    question, bought = await talk.answers()
    assert bought["content"] == "bought 1"
    assert [action["name"] for action in question["actions"]] == ["sell"]
    assert question["actions"][0]["payload"] == {"value": "2"}


async def test_an_action_without_a_callback_fails_its_run(stage: Stage, app: Registry) -> None:
    cl.on_message(lambda message: None)
    with pytest.raises(NotFound, match="nothing"):
        await ChatApp(app).action(None, {"name": "nothing"})  # type: ignore[arg-type]


async def test_startup_and_shutdown_hooks_run_once_each(stage: Stage, app: Registry) -> None:
    calls: list[str] = []

    @cl.on_app_startup
    async def up() -> None:
        calls.append("up")

    @cl.on_app_shutdown
    def down() -> None:
        calls.append("down")

    async with stage.running(app):
        assert calls == ["up"]

    assert calls == ["up", "down"]


async def test_sign_out_is_told_with_the_user(app: Registry) -> None:
    seen: list[str] = []

    @cl.on_logout
    async def bye(user: cl.User) -> None:
        seen.append(user.name)

    await ChatApp(app).logout(CoreUser("ann", "Ann"))

    assert seen == ["Ann"]


async def test_a_press_names_a_button_and_decides_nothing_else(stage: Stage, app: Registry) -> None:
    pressed: list[dict[str, Any]] = []

    @cl.on_message
    async def reply() -> None:
        await cl.Message("Well?", actions=[cl.Action(name="pay", payload={"amount": 5})]).send()

    @cl.action_callback("pay")
    async def pay(action: cl.Action) -> None:
        pressed.append(action.payload)
        await action.remove()

    talk = await stage.talk(app)
    await talk.say("go")
    [question] = await talk.answers()
    forged = {**question["actions"][0], "payload": {"amount": -1000}}
    made_up = {"id": "made-up", "name": "pay", "payload": {"amount": -1}}
    for action in (made_up, forged, forged):
        await talk.command("action:call", action=action, message_id=question["id"])
    await talk.settle()

    assert pressed == [{"amount": 5}]
    assert await talk.outcome() == "completed"
