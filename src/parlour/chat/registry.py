"""Where decorators leave an app's callbacks.

There is no registry shared by all apps: while `load_app` runs an app's file, the registry of that
app is current in the running context; a decorator that runs at another time (the module is imported
by a test, or by a program that mounts Parlour) writes to the registry of its own module.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from parlour.server.node import Node

MODULE_REGISTRY: Final = "__parlour_registry__"
"""The module variable that holds the callbacks of a module that was imported in the ordinary
way."""


@dataclass(frozen=True, slots=True)
class Callback:
    """An author's function and how many positional arguments it takes (None: any number)."""

    function: Callable[..., Any]
    arity: int | None
    is_async: bool

    @property
    def place(self) -> str:
        """`file:line`, for messages to the author."""
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(self.function)


@dataclass(slots=True)
class Registry:
    """The callbacks of one app: by name, those of action buttons by the action's name, and agents by theirs.

    `node` is the one that runs the app, while it runs.
    """

    callbacks: dict[str, Callback] = field(default_factory=dict)
    actions: dict[str, Callback] = field(default_factory=dict)
    agents: dict[str, Callback] = field(default_factory=dict)
    name: str | None = None
    description: str | None = None
    node: Node | None = None

    def __bool__(self) -> bool:
        return bool(self.callbacks or self.actions or self.agents)

    def add(self, name: str, callback: Callback) -> None:
        """Raises ValueError where the name is taken: silently replacing a handler hides a
        mistake."""
        _add(self.callbacks, name, callback, f"@{name}")

    def add_action(self, name: str, callback: Callback) -> None:
        """As `add`, for the button called `name`."""
        _add(self.actions, name, callback, f"@action_callback({name!r})")

    def add_agent(self, name: str, callback: Callback) -> None:
        """As `add`, for the agent called `name`."""
        _add(self.agents, name, callback, f"@agent({name!r})")


def _add(table: dict[str, Callback], name: str, callback: Callback, label: str) -> None:
    known = table.get(name)
    if known is not None:
        raise ValueError(f"{label} is registered twice, first at {known.place}")
    table[name] = callback


_loading: ContextVar[Registry | None] = ContextVar("parlour_registry", default=None)


@contextmanager
def registering(registry: Registry) -> Iterator[Registry]:
    """Decorators write to `registry` inside this block."""
    token = _loading.set(registry)
    try:
        yield registry
    finally:
        _loading.reset(token)


def current_registry(module_globals: dict[str, Any]) -> Registry:
    """The registry of the app that is being loaded, or else the one of the module itself."""
    loading = _loading.get()
    if loading is not None:
        return loading
    own: Registry = module_globals.setdefault(MODULE_REGISTRY, Registry())
    return own


def inspect_callback(function: Callable[..., Any], label: str, given: int) -> Callback:
    """Check a function at its registration; `given` is the number of arguments it will be called
    with.

    Raises TypeError where it is not a plain function (sync or async), or needs more arguments than
    it gets.
    """
    if not callable(function) or inspect.isclass(function):
        raise TypeError(f"@{label} needs a function, not {function!r}")
    target = inspect.unwrap(function)
    if inspect.isasyncgenfunction(target) or inspect.isgeneratorfunction(target):
        raise TypeError(f"@{label}: {_name(function)} must not `yield`; send messages instead")
    return Callback(function, _arity(function, label, given), inspect.iscoroutinefunction(target))


def _arity(function: Callable[..., Any], label: str, given: int) -> int | None:
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in positional if p.default is p.empty]
    keyword = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if len(needed) > given or keyword:
        raise TypeError(
            f"@{label}: {_name(function)}{inspect.signature(function)} needs more than the "
            f"{given} argument{'' if given == 1 else 's'} that it is called with"
        )
    return min(len(positional), given)


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", repr(function))
