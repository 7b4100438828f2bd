"""The decorators by which an app says what it handles.

All accept `async def` and plain functions; a plain function runs in a thread, inside the same
context. A function may take fewer arguments than it is offered. Mistakes are reported where the
decorator stands.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from parlour.chat.registry import current_registry, inspect_callback

Function = TypeVar("Function", bound=Callable[..., Any])


def _register(name: str, function: Function, given: int) -> Function:
    callback = inspect_callback(function, name, given)
    current_registry(_globals(function)).add(name, callback)
    return function


def _globals(function: Callable[..., Any]) -> dict[str, Any]:
    found: dict[str, Any] | None = getattr(function, "__globals__", None)
    return found if found is not None else vars(sys.modules[type(function).__module__])


def on_app_startup(function: Function) -> Function:
    """Called without arguments when a node has started and before it takes connections."""
    return _register("on_app_startup", function, 0)


def on_app_shutdown(function: Function) -> Function:
    """Called without arguments when a node goes down, after the last run ended."""
    return _register("on_app_shutdown", function, 0)


def on_chat_start(function: Function) -> Function:
    """Called without arguments when a session opens a new conversation."""
    return _register("on_chat_start", function, 0)


def on_chat_resume(function: Function) -> Function:
    """Called with a `ThreadDict` when a session opens a conversation that has history."""
    return _register("on_chat_resume", function, 1)


def on_message(function: Function) -> Function:
    """Called with each `Message` of a person; the messages of one conversation come one at a
    time, in order."""
    return _register("on_message", function, 1)


def on_stop(function: Function) -> Function:
    """Called without arguments after a person pressed Stop and every run of the conversation
    ended."""
    return _register("on_stop", function, 0)


def on_chat_end(function: Function) -> Function:
    """Called without arguments when the session ends; a disconnect is not an end."""
    return _register("on_chat_end", function, 0)


def on_settings_update(function: Function) -> Function:
    """Called with the whole settings (a dict) after a person changed them."""
    return _register("on_settings_update", function, 1)


def on_window_message(function: Function) -> Function:
    """Called with what the page around an embedded chat posted to it."""
    return _register("on_window_message", function, 1)


def on_logout(function: Function) -> Function:
    """Called with the `User` who signed out. There is no session in the context."""
    return _register("on_logout", function, 1)


def action_callback(name: str) -> Callable[[Function], Function]:
    """Called with the `Action` when a person presses the button called `name`."""
    if not isinstance(name, str) or not name:
        raise TypeError("@action_callback needs the action's name: @action_callback('approve')")

    def decorate(function: Function) -> Function:
        callback = inspect_callback(function, "action_callback", 1)
        current_registry(_globals(function)).add_action(name, callback)
        return function

    return decorate


def agent(name: str) -> Callable[[Function], Function]:
    """Called with the `Situation` of an agent session that names this agent in its settings; gives back what the agent
    does next: an action or several, or a text, which asks the person something (`parlour.agents`)."""
    if not isinstance(name, str) or not name:
        raise TypeError("@agent needs the agent's name: @agent('reviewer')")

    def decorate(function: Function) -> Function:
        callback = inspect_callback(function, "agent", 1)
        current_registry(_globals(function)).add_agent(name, callback)
        return function

    return decorate


def author_rename(function: Function) -> Function:
    """Called with the author's name of each message; gives back the name that people see."""
    return _register("author_rename", function, 1)


def set_chat_profiles(function: Function) -> Function:
    """Called with the `User` (or None); gives back a list of `ChatProfile`."""
    return _register("set_chat_profiles", function, 1)


def set_starters(function: Function) -> Function:
    """Called with the `User` (or None) and the name of the chat profile (or None); gives back
    `Starter`s."""
    return _register("set_starters", function, 2)


def password_auth_callback(function: Function) -> Function:
    """Called with login and password; gives back a `User`, or None to refuse."""
    return _register("password_auth_callback", function, 2)


def header_auth_callback(function: Function) -> Function:
    """Called with the request's headers (names in any case); gives back a `User`, or None to
    refuse."""
    return _register("header_auth_callback", function, 1)


def oauth_callback(function: Function) -> Function:
    """Called with provider id, token, the provider's user data and a default `User`; gives back a
    `User` or None.

    No provider can be configured yet: an app that registers this does not start, and says so.
    """
    return _register("oauth_callback", function, 5)


def describe(*, name: str | None = None, description: str | None = None) -> None:
    """Name the app in the page: its title and one line below it."""
    registry = current_registry(sys._getframe(1).f_globals)
    registry.name = name or registry.name
    registry.description = description or registry.description
