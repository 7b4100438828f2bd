"""Lets people choose a profile, settings and a starter."""

import parlour as cl
from parlour.input_widget import Select, Slider, Switch

TONES = {"Polite": "Dear friend", "Brisk": "Hey"}


@cl.set_chat_profiles
async def chat_profiles(user: cl.User | None) -> list[cl.ChatProfile]:
    return [
        cl.ChatProfile(name="Writer", markdown_description="Repeats **words**.", default=True),
        cl.ChatProfile(name="Counter", markdown_description="Counts **letters**."),
    ]


@cl.set_starters
async def starters() -> list[cl.Starter]:
    return [cl.Starter(label="Say hello", message="hello")]


@cl.on_chat_start
@cl.on_chat_resume
async def offer_settings() -> None:
    await cl.ChatSettings(
        [
            Select(id="tone", label="Tone", values=list(TONES)),
            Slider(id="times", label="Repeat", initial=1, min=1, max=5, step=1),
            Switch(id="loud", label="Loud", initial=False),
        ]
    ).send()


@cl.on_settings_update
async def settings_changed(settings: dict[str, object]) -> None:
    await cl.context.emitter.send_toast(f"Tone: {settings['tone']}", "success")


@cl.on_message
async def reply(message: cl.Message) -> None:
    settings = cl.user_session.get("chat_settings")
    text = message.content
    if cl.user_session.get("chat_profile") == "Counter":
        text = f"{len(text)} letters"
    text = " ".join([text] * int(settings["times"]))
    text = f"{TONES[settings['tone']]}, {text}"
    await cl.Message(content=text.upper() if settings["loud"] else text).send()
