"""`context.session`: a typed view of the chat that a handler runs for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from parlour.chat.user import User
from parlour.server.chats import Chat


@dataclass(frozen=True, slots=True)
class Session:
    """One open client in one conversation. Everything here is current each time it is read."""

    chat: Chat

    @property
    def id(self) -> str:
        """The client-chosen session id; survives reconnects, never a socket's id."""
        return self.chat.session_id

    @property
    def user(self) -> User | None:
        """Who is signed in; None for an anonymous visitor."""
        return User.from_core(self.chat.user)

    @property
    def thread_id(self) -> str:
        return self.chat.thread_id

    @property
    def user_env(self) -> dict[str, str]:
        """What the person supplied for this session, such as an API key; never stored in clear."""
        return self.chat.user_env

    @property
    def client_type(self) -> str:
        """`webapp`, `copilot`, … as the client named itself."""
        return self.chat.client_type

    @property
    def chat_profile(self) -> str | None:
        return self.chat.chat_profile

    @property
    def chat_settings(self) -> dict[str, Any]:
        return self.chat.chat_settings

    @property
    def language(self) -> str | None:
        return self.chat.language

    @property
    def environ(self) -> Mapping[str, Any]:
        """What is known of the request that opened the session, without secrets."""
        return self.chat.environ

    @property
    def files(self) -> Mapping[str, Mapping[str, Any]]:
        """The newest files that people gave in this session, by id: `{id, name, mime, size, url}`."""
        return self.chat.files


class WebsocketSession(Session):
    """A session over a socket: a tab, a device."""

    __slots__ = ()


class HTTPSession(Session):
    """A session of a caller over REST. A question waits for another request to answer it;
    nothing in a client can be called."""

    __slots__ = ()


def view_session(chat: Chat) -> Session:
    """The view that fits the chat's client."""
    return HTTPSession(chat) if chat.client == "http" else WebsocketSession(chat)
