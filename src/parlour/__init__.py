"""Parlour: the session layer for AI chat and agents.

import parlour as cl

    @cl.on_message
    async def reply(message: cl.Message):
        await cl.Message(content=f"You said: {message.content}").send()

`parlour run app.py` serves it. The names below are what app authors use; each is imported when it
is first asked for, so that `import parlour` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parlour.chat.action import Action as Action
    from parlour.chat.application import ChatApp as ChatApp
    from parlour.chat.ask import AskActionMessage as AskActionMessage
    from parlour.chat.ask import AskActionResponse as AskActionResponse
    from parlour.chat.ask import AskFileMessage as AskFileMessage
    from parlour.chat.ask import AskFileResponse as AskFileResponse
    from parlour.chat.ask import AskUserMessage as AskUserMessage
    from parlour.chat.ask import AskUserResponse as AskUserResponse
    from parlour.chat.callbacks import action_callback as action_callback
    from parlour.chat.callbacks import agent as agent
    from parlour.chat.callbacks import author_rename as author_rename
    from parlour.chat.callbacks import describe as describe
    from parlour.chat.callbacks import header_auth_callback as header_auth_callback
    from parlour.chat.callbacks import oauth_callback as oauth_callback
    from parlour.chat.callbacks import on_app_shutdown as on_app_shutdown
    from parlour.chat.callbacks import on_app_startup as on_app_startup
    from parlour.chat.callbacks import on_chat_end as on_chat_end
    from parlour.chat.callbacks import on_chat_resume as on_chat_resume
    from parlour.chat.callbacks import on_chat_start as on_chat_start
    from parlour.chat.callbacks import on_logout as on_logout
    from parlour.chat.callbacks import on_message as on_message
    from parlour.chat.callbacks import on_settings_update as on_settings_update
    from parlour.chat.callbacks import on_stop as on_stop
    from parlour.chat.callbacks import on_window_message as on_window_message
    from parlour.chat.callbacks import password_auth_callback as password_auth_callback
    from parlour.chat.callbacks import set_chat_profiles as set_chat_profiles
    from parlour.chat.callbacks import set_starters as set_starters
    from parlour.chat.chat_settings import ChatSettings as ChatSettings
    from parlour.chat.client_call import CopilotFunction as CopilotFunction
    from parlour.chat.context import ContextMissing as ContextMissing
    from parlour.chat.context import context as context
    from parlour.chat.elements import Audio as Audio
    from parlour.chat.elements import Element as Element
    from parlour.chat.elements import File as File
    from parlour.chat.elements import Image as Image
    from parlour.chat.elements import Pdf as Pdf
    from parlour.chat.elements import Text as Text
    from parlour.chat.elements import Video as Video
    from parlour.chat.history import ThreadDict as ThreadDict
    from parlour.chat.history import chat_context as chat_context
    from parlour.chat.loading import AppLoadError as AppLoadError
    from parlour.chat.loading import load_app as load_app
    from parlour.chat.message import ErrorMessage as ErrorMessage
    from parlour.chat.message import Message as Message
    from parlour.chat.profiles import ChatProfile as ChatProfile
    from parlour.chat.profiles import Starter as Starter
    from parlour.chat.push import push as push
    from parlour.chat.session import HTTPSession as HTTPSession
    from parlour.chat.session import WebsocketSession as WebsocketSession
    from parlour.chat.step import Step as Step
    from parlour.chat.step import step as step
    from parlour.chat.threads import make_async as make_async
    from parlour.chat.threads import run_sync as run_sync
    from parlour.chat.threads import sleep as sleep
    from parlour.chat.usage import use_model as use_model
    from parlour.chat.user import User as User
    from parlour.chat.user_session import user_session as user_session
    from parlour.config import Settings as Settings
    from parlour.config import load_settings as load_settings
    from parlour.documents.author import create_note as create_note
    from parlour.documents.author import open_note as open_note
    from parlour.errors import ParlourError as ParlourError
    from parlour.transports.asgi import create_app as create_app
    from parlour.transports.asgi import mount as mount

_HOMES = {
    "chat.action": ("Action",),
    "chat.application": ("ChatApp",),
    "chat.ask": (
        "AskActionMessage",
        "AskActionResponse",
        "AskFileMessage",
        "AskFileResponse",
        "AskUserMessage",
        "AskUserResponse",
    ),
    "chat.callbacks": (
        "action_callback",
        "agent",
        "author_rename",
        "describe",
        "header_auth_callback",
        "oauth_callback",
        "on_app_shutdown",
        "on_app_startup",
        "on_chat_end",
        "on_chat_resume",
        "on_chat_start",
        "on_logout",
        "on_message",
        "on_settings_update",
        "on_stop",
        "on_window_message",
        "password_auth_callback",
        "set_chat_profiles",
        "set_starters",
    ),
    "chat.chat_settings": ("ChatSettings",),
    "chat.client_call": ("CopilotFunction",),
    "chat.context": ("ContextMissing", "context"),
    "chat.elements": ("Audio", "Element", "File", "Image", "Pdf", "Text", "Video"),
    "chat.history": ("ThreadDict", "chat_context"),
    "chat.loading": ("AppLoadError", "load_app"),
    "chat.message": ("ErrorMessage", "Message"),
    "chat.profiles": ("ChatProfile", "Starter"),
    "chat.push": ("push",),
    "chat.session": ("HTTPSession", "WebsocketSession"),
    "chat.step": ("Step", "step"),
    "chat.threads": ("make_async", "run_sync", "sleep"),
    "chat.usage": ("use_model",),
    "chat.user": ("User",),
    "chat.user_session": ("user_session",),
    "config": ("Settings", "load_settings"),
    "documents.author": ("create_note", "open_note"),
    "errors": ("ParlourError",),
    "transports.asgi": ("create_app", "mount"),
}

_HOME = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
__all__ = ["__version__", *sorted(_HOME)]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'parlour' has no attribute {name!r}")
    found = getattr(import_module(f"parlour.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
