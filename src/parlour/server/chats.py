"""Chats: a session in a conversation. A chat outlives connections and belongs to one user."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from parlour.core.users import User
from parlour.errors import Forbidden, ParlourError
from parlour.ports import SessionRecord
from parlour.server.connections import Caller
from parlour.server.endpoint import Handshake

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

STARTED_KEY = "started"
"""Among a chat's stored values: when the app first heard of it."""

PRIVATE_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})

SETTINGS_KEY = "chat_settings"

VALUE_PREFIX = "v:"
"""Stands before the names of handlers' values in the store."""


@dataclass(slots=True)
class Chat:
    """What a handler is called with, kept by the server while the session lives.

    `values` are what handlers store (`user_session`); `dirty` names those that the store does not hold
    yet, and `unstorable` those that are not JSON and live in this process only; `known` has the digests
    of what the store holds, as far as this node knows. `client` is `websocket` or
    `http`. `environ` is what is known of the request that opened the session, without secrets.
    """

    session_id: str
    thread_id: str
    user: User
    client: str = "websocket"
    client_type: str = "webapp"
    chat_profile: str | None = None
    language: str | None = None
    user_env: dict[str, str] = field(default_factory=dict)
    environ: Mapping[str, Any] = field(default_factory=dict)
    chat_settings: dict[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    unstorable: set[str] = field(default_factory=set)
    known: dict[str, bytes] = field(default_factory=dict, repr=False)
    files: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    started: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    @property
    def key(self) -> tuple[str, str]:
        return (self.session_id, self.thread_id)


def environ(handshake: Handshake) -> Mapping[str, Any]:
    """What handlers may see of the request that opened a connection: no credentials."""
    return {
        "path": handshake.path,
        "query": dict(handshake.query),
        "headers": {k: v for k, v in handshake.headers.items() if k not in PRIVATE_HEADERS},
        "client": handshake.client,
        "secure": handshake.secure,
    }


def http_session_id(user: User, thread_id: str) -> str:
    """The session of a caller over REST that names none: one per user and conversation."""
    return "http-" + hashlib.sha256(f"{user.id}\n{thread_id}".encode()).hexdigest()[:32]


class Chats:
    """The chats of this node's sessions."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._chats: dict[tuple[str, str], Chat] = {}
        self._ending: set[str] = set()

    def __len__(self) -> int:
        return len(self._chats)

    def known(self, session_id: str) -> list[Chat]:
        return [chat for key, chat in self._chats.items() if key[0] == session_id]

    def of_thread(self, thread_id: str) -> list[Chat]:
        """The chats of all sessions in a conversation, on this node."""
        return [chat for key, chat in self._chats.items() if key[1] == thread_id]

    async def attend(self, caller: Caller, thread_id: str) -> None:
        """The caller looks into a conversation: with a new id it is begun, and the owner's session opens its
        chat. What guests look at has no effect on the app. Raises `Forbidden`."""
        grant = await self._node.permissions.require_read(caller.user, f"thread:{thread_id}")
        if grant.own:
            await self.open(caller, thread_id)

    async def open(self, caller: Caller, thread_id: str, *, start: bool = True) -> Chat:
        """The chat of the caller's session in a conversation. The first time (unless `start` is false) the
        app hears of it: `chat_start` in a new conversation of the caller's, `chat_resume` in one with
        history, and always for a guest. The caller's right to write there has been checked."""
        session_id = caller.session_id or http_session_id(caller.user, thread_id)
        key = (session_id, thread_id)
        chat = self._chats.get(key)
        if chat is None:
            chat = self._chats[key] = await self._make(caller, session_id, thread_id)
        elif chat.user.id != caller.user.id:
            raise Forbidden("This session belongs to another user.")
        if caller.connection is not None:
            self._refresh(chat, caller.connection.session)
        elif caller.user_env:
            chat.user_env = dict(caller.user_env)
        if start and not chat.started:
            async with chat.lock:
                if not chat.started:
                    await self._start(chat)
        return chat

    async def _make(self, caller: Caller, session_id: str, thread_id: str) -> Chat:
        record = caller.connection.session if caller.connection is not None else None
        if record is None:
            now = self._node.clock.now_ms()
            record = await self._node.sessions.bind(
                SessionRecord(
                    session_id, caller.user.id, client_type="http", created_at=now, last_seen=now
                )
            )
        await self._node.gateway.keep(session_id)
        fresh = caller.connection is not None and caller.connection.fresh
        # A session that this very connection began has nothing stored yet.
        stored = {} if fresh else await self._node.sessions.values(session_id, thread_id)
        chat = Chat(
            session_id,
            thread_id,
            caller.user,
            client=caller.client,
            client_type=record.client_type,
            chat_profile=record.chat_profile,
            language=record.language,
            user_env=dict(record.user_env),
            environ=environ(caller.connection.link.handshake)
            if caller.connection
            else caller.environ,
            started=STARTED_KEY in stored,
        )
        for name, raw in stored.items():
            _take(chat, name, raw)
        # Two tabs of one session may get here at once: the first one's chat counts.
        return self._chats.setdefault((session_id, thread_id), chat)

    def _refresh(self, chat: Chat, record: SessionRecord) -> None:
        """A reconnect may bring a fresh environment, profile or language."""
        chat.client_type = record.client_type
        chat.chat_profile = record.chat_profile or chat.chat_profile
        chat.language = record.language or chat.language
        if record.user_env:
            chat.user_env = dict(record.user_env)

    async def _start(self, chat: Chat) -> None:
        node = self._node
        snapshot = await node.state_of(f"thread:{chat.thread_id}")
        guest = await node.permissions.owner(chat.thread_id) != chat.user.id
        if chat.chat_profile is not None and not guest:
            await node.threads.update_thread(chat.thread_id, chat_profile=chat.chat_profile)
        if snapshot.messages or guest:
            if node.app.handles("on_chat_resume"):
                wire = snapshot.to_wire()
                node.runs.start(chat, "on_chat_resume", lambda run: node.app.chat_resume(run, wire))
        elif node.app.handles("on_chat_start"):
            node.runs.start(chat, "on_chat_start", node.app.chat_start)
        await node.sessions.write_values(
            chat.session_id, chat.thread_id, {STARTED_KEY: str(node.clock.now_ms()).encode()}
        )
        chat.started = True

    async def save(self, chat: Chat) -> None:
        """Store what handlers changed, key by key."""
        if not chat.dirty:
            return
        names, chat.dirty = chat.dirty, set()
        changes: dict[str, bytes | None] = {}
        for name in names:
            # A value that cannot be stored takes the place of one that was: a restart must not bring that back.
            kept = name in chat.values and name not in chat.unstorable
            changes[f"{VALUE_PREFIX}{name}"] = orjson.dumps(chat.values[name]) if kept else None
        try:
            await self._node.sessions.write_values(chat.session_id, chat.thread_id, changes)
        except BaseException:
            chat.dirty |= names
            raise
        _note(chat, changes)

    async def refresh(self, chat: Chat) -> None:
        """Take up what another node stored meanwhile; called when a run begins. A value whose stored form
        is known here keeps its identity, since handlers may hold on to it; one that is not saved yet
        wins. Raises `Unavailable`."""
        if self._node.settings.embedded:
            return
        stored = await self._node.sessions.values(chat.session_id, chat.thread_id)
        for name, raw in stored.items():
            if chat.known.get(name) != _digest(raw):
                _take(chat, name, raw)
        for name in chat.known.keys() - stored.keys():
            _drop(chat, name)

    async def save_settings(self, chat: Chat, settings: Mapping[str, Any]) -> None:
        chat.chat_settings = dict(settings)
        changes = {SETTINGS_KEY: orjson.dumps(chat.chat_settings)}
        await self._node.sessions.write_values(chat.session_id, chat.thread_id, changes)
        _note(chat, changes)

    # -- the end ---------------------------------------------------------------------------------

    async def end(self, record: SessionRecord) -> bool:
        """End a session for good: the app hears `chat_end` for each of its conversations, once over all nodes."""
        if record.id in self._ending:
            return False
        self._ending.add(record.id)
        try:
            chats = await self._all(record)
            if not await self._node.sessions.delete(record.id):
                return False
            for chat in chats:
                await self._say_goodbye(chat)
            return True
        finally:
            self._ending.discard(record.id)
            self.forget(record.id)

    def forget(self, session_id: str) -> None:
        """Drop this node's copies."""
        for key in [key for key in self._chats if key[0] == session_id]:
            del self._chats[key]

    async def _all(self, record: SessionRecord) -> list[Chat]:
        known = {chat.thread_id: chat for chat in self.known(record.id)}
        user = await self._node.user(record.user_id)
        chats = []
        for thread_id in await self._node.sessions.threads(record.id):
            chat = known.get(thread_id)
            if chat is None and user is not None:
                chat = await self._make(Caller(user, record.id), record.id, thread_id)
            if chat is not None:
                chats.append(chat)
        return chats

    async def _say_goodbye(self, chat: Chat) -> None:
        if not self._node.app.handles("on_chat_end"):
            return
        try:
            await self._node.app.chat_end(chat)
        except ParlourError as error:
            log.warning("chat_end failed", session=chat.session_id, error=str(error))
        except Exception:
            log.exception("chat_end failed", session=chat.session_id)


def _digest(raw: bytes) -> bytes:
    return hashlib.blake2b(raw, digest_size=16).digest()


def _note(chat: Chat, changes: Mapping[str, bytes | None]) -> None:
    """These are stored now."""
    for name, raw in changes.items():
        if raw is None:
            chat.known.pop(name, None)
        else:
            chat.known[name] = _digest(raw)


def _take(chat: Chat, name: str, raw: bytes) -> None:
    """A value as the store holds it."""
    key = name.removeprefix(VALUE_PREFIX)
    if name == SETTINGS_KEY:
        chat.chat_settings = orjson.loads(raw)
    elif name != STARTED_KEY and key not in chat.dirty:
        chat.values[key] = orjson.loads(raw)
        chat.unstorable.discard(key)
    chat.known[name] = _digest(raw)


def _drop(chat: Chat, name: str) -> None:
    """A value that the store no longer holds."""
    key = name.removeprefix(VALUE_PREFIX)
    del chat.known[name]
    if name.startswith(VALUE_PREFIX) and key not in chat.dirty | chat.unstorable:
        chat.values.pop(key, None)
