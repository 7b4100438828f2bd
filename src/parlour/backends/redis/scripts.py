"""The Lua scripts beside this file: one per operation, each one atomic step on the server."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the digest by which the server knows it."""

    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """The script in `lua/{name}.lua`. Those that work on a stream begin with `lua/stream.lua`."""
    folder = files("parlour.backends.redis") / "lua"
    text = (folder / f"{name}.lua").read_text(encoding="utf-8")
    if text.startswith("-- uses stream.lua\n"):
        text = (folder / "stream.lua").read_text(encoding="utf-8") + text
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


@cache
def all_scripts() -> tuple[Script, ...]:
    """Every script, in the order of its name; a new connection loads them all."""
    folder = files("parlour.backends.redis") / "lua"
    names = sorted(one.name.removesuffix(".lua") for one in folder.iterdir())
    return tuple(script(name) for name in names if name != "stream")
