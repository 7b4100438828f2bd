"""`parlour init`: the files of a new app."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from parlour.cli.console import out
from parlour.errors import Conflict, Unavailable

_APP: Final = '''\
"""A first app: it remembers a name and answers."""

import parlour as cl


@cl.on_chat_start
async def start():
    answer = await cl.AskUserMessage(content="Hello! What is your name?", timeout=300).send()
    if answer:
        cl.user_session.set("name", answer["output"])
        await cl.Message(content=f"Nice to meet you, {answer['output']}!").send()


@cl.on_message
async def reply(message: cl.Message):
    name = cl.user_session.get("name", "friend")
    out = cl.Message(content="")
    for word in f"{name}, you said: {message.content}".split(" "):
        await out.stream_token(word + " ")
    await out.send()
'''

_SETTINGS: Final = """\
# All settings: `parlour config`. An environment variable PARLOUR_PORT wins over `port` here.
port = 8000

[accounts]
sign_up = true
"""

_IGNORED: Final = """\
.parlour/
.env
__pycache__/
"""

FILES: Final = {"app.py": _APP, "parlour.toml": _SETTINGS, ".gitignore": _IGNORED}


def create_app_files(
    folder: Annotated[Path, typer.Argument(help="Where; made if it is missing.")] = Path("."),
) -> None:
    """Write a first app and its settings into a folder. Files that exist are left alone, all or none."""
    taken = [name for name in FILES if (folder / name).exists() and name != ".gitignore"]
    if taken:
        raise Conflict(
            f"{folder / taken[0]} exists already: choose another folder, or remove the file."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in FILES.items():
            if not (folder / name).exists():
                (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"{folder} cannot be written: {error.strerror}") from None
    where = "" if folder == Path(".") else f"cd {folder} && "
    out.print(f"Made app.py and parlour.toml. Next: {where}parlour run app.py", highlight=False)
