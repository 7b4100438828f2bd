"""A conversation that shows what Parlour does."""

from __future__ import annotations

import parlour as cl
from parlour.demo.agent import install
from parlour.demo.commands import describe_file, find_command, speak
from parlour.demo.model import STYLES, LocalModel, Model
from parlour.demo.openai_model import ModelFailed, OpenAIModel
from parlour.demo.pace import Pace
from parlour.input_widget import Select, Switch, TextInput

cl.describe(
    name="Parlour demo", description="Write something, or type help to see what can be shown."
)

install()

CONCISE = "Concise"


@cl.set_chat_profiles
async def chat_profiles() -> list[cl.ChatProfile]:
    return [
        cl.ChatProfile(
            name="Everyday",
            markdown_description="Write something, or type `help` to see what can be shown.",
            default=True,
        ),
        cl.ChatProfile(name=CONCISE, markdown_description="The same, in as few words as it can."),
    ]


@cl.set_starters
async def starters() -> list[cl.Starter]:
    return [
        cl.Starter(label="See what this can do", message="What can you show me?"),
        cl.Starter(label="Answer a question", message="Ask me something"),
        cl.Starter(label="Watch the steps", message="Show me the steps"),
        cl.Starter(label="Stop a long answer", message="Write 600 words"),
    ]


@cl.on_chat_start
async def start() -> None:
    await offer_settings()


@cl.on_chat_resume
async def resume() -> None:
    await offer_settings()


async def offer_settings() -> None:
    """The settings dialog."""
    await cl.ChatSettings(
        [
            Select(id="style", label="Answers", values=list(STYLES)),
            TextInput(id="name", label="Call me", placeholder="Your name"),
            Switch(id="attachments", label="Describe files that I attach", initial=True),
        ]
    ).send()


@cl.on_settings_update
async def settings_changed(settings: dict[str, object]) -> None:
    await cl.context.emitter.send_toast("Settings saved", "success")


@cl.on_message
async def reply(message: cl.Message) -> None:
    local, remote = local_model(), remote_model()
    if cl.user_session.get("chat_settings").get("attachments", True) and remote is None:
        await describe_attachments(local, message)
    command = find_command(message.content, slash_only=remote is not None)
    if command is not None:
        show, match = command
        await show(local, match)
    elif message.content.strip():
        await answer(remote or local)


async def answer(model: Model) -> None:
    """Stream a model's answer to the conversation so far; what came before a failure stays."""
    message = cl.Message()
    try:
        async with cl.use_model(model.label):
            async for token in model.answer(cl.chat_context.to_openai()):
                await message.stream_token(token)
    except ModelFailed as failure:
        if message.streaming:
            await message.send()
        await cl.ErrorMessage(content=str(failure)).send()
        return
    await message.send()


async def describe_attachments(model: LocalModel, message: cl.Message) -> None:
    for file in message.elements:
        if file.path is not None:
            await speak(model, await describe_file(file.name, file.path, file.size, file.mime))


@cl.action_callback("demo_again")
async def say_again(action: cl.Action) -> None:
    await speak(local_model(), "Once more: press one of these.", actions=[renewed(action)])


@cl.action_callback("demo_dismiss")
async def dismiss(action: cl.Action) -> None:
    await action.remove()
    await cl.context.emitter.send_toast("The button is gone")


def renewed(action: cl.Action) -> cl.Action:
    """The same button with a count in it."""
    times = int(action.payload.get("times", 1)) + 1
    return cl.Action(name=action.name, label=f"Again ({times})", payload={"times": times})


def local_model() -> LocalModel:
    """The built-in model at the pace of the settings, in the style that the person chose."""
    settings = cl.user_session.get("chat_settings")
    style = STYLES.get(str(settings.get("style")), "sentences")
    if cl.user_session.get("chat_profile") == CONCISE:
        style = "headlines"
    name = cl.user_session.get("name") or settings.get("name") or None
    return LocalModel(Pace(cl.context.node.settings.demo_tokens_per_second), style, name)


def remote_model() -> OpenAIModel | None:
    """The endpoint of the settings, if there is one."""
    concise = cl.user_session.get("chat_profile") == CONCISE
    system = "You are a helpful assistant. Answer in Markdown."
    if concise:
        system += " Be as brief as possible."
    return OpenAIModel.from_settings(cl.context.node.settings, system)
