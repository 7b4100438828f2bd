"""The demo's commands: which words start which demonstration."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import parlour as cl
from parlour.demo import texts
from parlour.demo.model import LocalModel, ramble

MAX_LONG: Final = 20_000
MAX_COUNT: Final = 1000
PREVIEW_LINES: Final = 8
PREPARED: Final = 4
"""Texts that are only laid out are spoken this much faster than an answer."""

Show = Callable[[LocalModel, re.Match[str]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Command:
    """A demonstration and the words that start it."""

    words: re.Pattern[str]
    show: Show


def find_command(text: str, *, slash_only: bool) -> tuple[Show, re.Match[str]] | None:
    """The command that a message is, if it is one. Beside a real model only `/command` counts."""
    text = text.strip()
    if slash_only and not text.startswith("/"):
        return None
    for command in COMMANDS:
        match = command.words.fullmatch(text.removeprefix("/"))
        if match is not None:
            return command.show, match
    return None


async def speak(model: LocalModel, text: str, **options: object) -> cl.Message:
    """Stream a text as one message."""
    message = cl.Message(**options)  # type: ignore[arg-type]
    async for token in model.say(text):
        await message.stream_token(token)
    return await message.send()


def _text(content: str) -> Show:
    async def show(model: LocalModel, match: re.Match[str]) -> None:
        await speak(model.faster(PREPARED), content)

    return show


async def _ask(model: LocalModel, match: re.Match[str]) -> None:
    answer = await cl.AskUserMessage("What is your favourite colour?", timeout=300).send()
    if answer is None:
        await speak(model, "Nobody answered, so I close the question.")
        return
    colour = answer["output"].strip()
    await speak(model, f"**{colour[:1].upper()}{colour[1:]}** it is, {answer['name']}.")


async def _choose(model: LocalModel, match: re.Match[str]) -> None:
    actions = [
        cl.Action(name="tea", label="Tea", payload={"minutes": 4}, tooltip="Four minutes"),
        cl.Action(name="coffee", label="Coffee", payload={"minutes": 3}, tooltip="Three minutes"),
        cl.Action(name="nothing", label="Nothing, thank you", payload={"minutes": 0}),
    ]
    chosen = await cl.AskActionMessage("What may I bring you?", actions, timeout=300).send()
    if chosen is None:
        await speak(model, "Nobody chose, so I bring nothing.")
        return
    minutes = chosen["payload"]["minutes"]
    wait = f"It takes {minutes} minutes." if minutes else "That is quick."
    await speak(model, f"You chose **{chosen['label']}**. {wait}")


async def _upload(model: LocalModel, match: re.Match[str]) -> None:
    files = await cl.AskFileMessage(
        "Give me up to three files and I tell you what is in them.",
        accept=["*/*"],
        max_files=3,
        max_size_mb=20,
        timeout=300,
    ).send()
    if files is None:
        await speak(model, "Nobody gave me a file.")
        return
    for file in files:
        await speak(model, await describe_file(file.name, file.path, file.size, file.type))


async def describe_file(name: str, path: str, size: int, mime: str) -> str:
    """Name, size and the first lines of a file that is text."""
    head = await cl.make_async(_first_lines)(path)
    shown = f"\n\n```text\n{head}\n```" if head else ""
    return f"**{name}** has {size:,} bytes ({mime}).{shown}"


def _first_lines(path: str) -> str:
    with open(path, "rb") as file:
        raw = file.read(2000)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return ""
    return "\n".join(text.splitlines()[:PREVIEW_LINES]).replace("```", "'''")


async def _steps(model: LocalModel, match: re.Match[str]) -> None:
    async with cl.Step(name="Answering", type="run") as outer:
        outer.input = "How many words do the demo's texts have?"
        total = 0
        for name, text in (await _collect()).items():
            await model.pace.rest(15)
            total += await _count(name, text)
        outer.output = f"{total} words"
    await speak(
        model, f"The demo's texts have **{total} words**. Open the steps to see how I know."
    )


@cl.step(type="retrieval", name="Collect the texts")
async def _collect() -> dict[str, str]:
    return {"help": texts.HELP, "table": texts.TABLE, "code": texts.CODE}


@cl.step(type="tool", name="Count the words")
async def _count(name: str, text: str) -> int:
    return len(text.split())


async def _actions(model: LocalModel, match: re.Match[str]) -> None:
    await speak(
        model,
        "Press one of these.",
        actions=[
            cl.Action(name="demo_again", label="Say it again", payload={"times": 1}),
            cl.Action(name="demo_dismiss", label="Take the buttons away", payload={}),
        ],
    )


async def _file(model: LocalModel, match: re.Match[str]) -> None:
    report = cl.File(name="notes.md", content=texts.REPORT, mime="text/markdown")
    await speak(model, "Here is a file for you.", elements=[report])


async def _long(model: LocalModel, match: re.Match[str]) -> None:
    wanted = min(int(match["n"] or 400), MAX_LONG)
    message = cl.Message()
    async for token in model.pace.speak(ramble(wanted)):
        await message.stream_token(token)
    await message.send()


async def _count_to(model: LocalModel, match: re.Match[str]) -> None:
    last = min(int(match["n"]), MAX_COUNT)
    message = cl.Message()
    async for token in model.pace.speak(
        f"{n} " if n < last else f"{n}" for n in range(1, last + 1)
    ):
        await message.stream_token(token)
    await message.send()


async def _remember(model: LocalModel, match: re.Match[str]) -> None:
    name = match["name"].strip(" .!")
    cl.user_session.set("name", name)
    await speak(model, f"Nice to meet you, {name}. I keep that for this conversation.")


async def _recall(model: LocalModel, match: re.Match[str]) -> None:
    name = cl.user_session.get("name")
    user = cl.context.session.user
    signed_in = f"You are signed in as **{user.name}**." if user else "You are not signed in."
    known = f"You told me that your name is **{name}**." if name else "You told me no name yet."
    await speak(model, f"{signed_in} {known}")


async def _fail(model: LocalModel, match: re.Match[str]) -> None:
    await speak(model, "I am about to fail. What I said until then stays.")
    raise RuntimeError("the demo's error command was used")


async def _status(model: LocalModel, match: re.Match[str]) -> None:
    await cl.context.emitter.send_status("Looking something up")
    await model.pace.rest(30)
    await cl.context.emitter.send_status("")
    await speak(model, "The line above the answer said what I was doing.")


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


COMMANDS: Final = (
    Command(_words(r"help|commands|\?|what can you (do|show)( me)?\??"), _text(texts.HELP)),
    Command(_words(r"ask( me)?( something)?"), _ask),
    Command(_words(r"choose|choice"), _choose),
    Command(_words(r"upload"), _upload),
    Command(_words(r"(show me the )?steps?"), _steps),
    Command(_words(r"actions?|buttons?"), _actions),
    Command(_words(r"markdown"), _text(texts.MARKDOWN)),
    Command(_words(r"table"), _text(texts.TABLE)),
    Command(_words(r"code"), _text(texts.CODE)),
    Command(_words(r"file|download"), _file),
    Command(_words(r"(long|write)(\s+(?P<n>\d{1,6}))?( words)?"), _long),
    Command(_words(r"count to (?P<n>\d{1,6})"), _count_to),
    Command(_words(r"(remember )?my name( is|:)? (?P<name>[^\n]{1,80})"), _remember),
    Command(_words(r"who am i\??|what( is|'s) my name\??"), _recall),
    Command(_words(r"status"), _status),
    Command(_words(r"error|fail"), _fail),
)
