"""`user_session`: values that belong to one session in one conversation.

Values that JSON can give back exactly are stored and survive a restart, a reconnect and a change of
node, also when they are changed in place after `get` or `set`. Others (a client object, a tuple)
live in this process only; a log line says so the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import structlog

from parlour.chat.context import ParlourContext, get_context
from parlour.chat.session import Session
from parlour.chat.storable import fingerprint, is_storable
from parlour.server.chats import Chat

T = TypeVar("T")
log = structlog.get_logger(__name__)

SETTINGS_WIDGETS: Final = "parlour:settings"
"""Where the widgets of `ChatSettings` are kept between requests."""

_CURRENT: Final[dict[str, Callable[[Session], Any]]] = {
    "id": lambda session: session.id,
    "user": lambda session: session.user,
    "env": lambda session: session.user_env,
    "chat_settings": lambda session: session.chat_settings,
    "chat_profile": lambda session: session.chat_profile,
    "client_type": lambda session: session.client_type,
    "thread_id": lambda session: session.thread_id,
    "language": lambda session: session.language,
    "languages": lambda session: session.language,
}

RESERVED: Final = frozenset(_CURRENT) | {SETTINGS_WIDGETS}
"""Keys that are always current and cannot be set."""


class UserSession:
    """The mapping itself; there is one for the whole program and it holds nothing of its own."""

    __slots__ = ()

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or `default` where none was set."""
        found = get_context()
        current = _CURRENT.get(key)
        if current is not None:
            return current(found.session)
        if key not in found.chat.values:
            return default
        value = found.chat.values[key]
        _watch(found, key, value)
        return value

    def set(self, key: str, value: Any) -> None:
        """Keep a value. Raises KeyError for a key that is always current, TypeError for one that
        is not text."""
        _check_key(key)
        found = get_context()
        found.chat.values[key] = value
        _mark(found.chat, key, value)
        found.watched.pop(key, None)
        _watch(found, key, value)

    def delete(self, key: str) -> None:
        """Forget a value; nothing where there is none."""
        _check_key(key)
        chat = get_context().chat
        if key in chat.values:
            del chat.values[key]
            chat.unstorable.discard(key)
            chat.dirty.add(key)

    def create_accessor(
        self, key: str, default: T, *, apply_fn: Callable[[T], T] | None = None
    ) -> Accessor[T]:
        """A typed handle on one key."""
        _check_key(key)
        return Accessor(self, key, default, apply_fn)

    def __contains__(self, key: str) -> bool:
        return key in _CURRENT or key in get_context().chat.values

    def __getitem__(self, key: str) -> Any:
        if key not in self:
            raise KeyError(key)
        return self.get(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self.set(key, value)

    def __delitem__(self, key: str) -> None:
        if key not in get_context().chat.values:
            raise KeyError(key)
        self.delete(key)

    def __iter__(self) -> Iterator[str]:
        values = get_context().chat.values
        yield from _CURRENT
        yield from [key for key in values if key not in RESERVED]

    def __repr__(self) -> str:
        return "<parlour.user_session>"


@dataclass(frozen=True, slots=True)
class Accessor(Generic[T]):
    """One key of the session. `apply` puts the value through `apply_fn` and keeps the result."""

    session: UserSession
    key: str
    default: T
    apply_fn: Callable[[T], T] | None = None

    def get(self) -> T:
        value: T = self.session.get(self.key, self.default)
        return value

    def set(self, value: T) -> T:
        self.session.set(self.key, value)
        return value

    def reset(self) -> T:
        return self.set(self.default)

    def apply(self) -> T:
        """Raises TypeError where the accessor was made without `apply_fn`."""
        if self.apply_fn is None:
            raise TypeError(f"the accessor of {self.key!r} has no apply_fn")
        return self.set(self.apply_fn(self.get()))


def note_changes(context: ParlourContext) -> None:
    """Mark what a handler changed in place as unsaved. Called when the run ends, and before it waits
    for a person."""
    chat = context.chat
    for key, before in context.watched.items():
        if key not in chat.values:
            continue
        now = fingerprint(chat.values[key])
        if now != before:
            _mark(chat, key, chat.values[key])
            context.watched[key] = now


def keep(chat: Chat, key: str, value: Any) -> None:
    """Set a value of Parlour's own, which must be storable."""
    chat.values[key] = value
    chat.dirty.add(key)


def _watch(context: ParlourContext, key: str, value: Any) -> None:
    if key not in context.watched and type(value) in (list, dict):
        context.watched[key] = fingerprint(value)


def _mark(chat: Chat, key: str, value: Any) -> None:
    if is_storable(value):
        chat.unstorable.discard(key)
        chat.dirty.add(key)
        return
    if key not in chat.unstorable:
        log.warning(
            "session value is not storable and lives in this process only",
            key=key,
            type=type(value).__name__,
        )
    chat.unstorable.add(key)
    # What the store still holds under this key is older than the value: it has to go.
    chat.dirty.add(key)


def _check_key(key: str) -> None:
    if not isinstance(key, str) or not key:
        raise TypeError("a session key is a string that is not empty")
    if key in RESERVED:
        raise KeyError(f"{key!r} is kept current by Parlour and cannot be set")


user_session = UserSession()
