"""The gateway: who may connect, as whom, and what a new connection is part of."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import ValidationError

from parlour.core.users import User
from parlour.errors import (
    CommandError,
    ConnectionRefused,
    Forbidden,
    ParlourError,
    TokenExpired,
    Unauthenticated,
    Unavailable,
)
from parlour.ports import NO_ENVIRONMENT, SessionRecord
from parlour.server.accounts import Identity, Revocation
from parlour.server.connections import Connection
from parlour.server.endpoint import Ack, Handshake, Link
from parlour.wire.events import ConnectAuth
from parlour.wire.told import ERROR, HISTORY, RECONNECT, History

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

GONE = 1000
"""Expiries of connections that are gone may wait up to this many, beyond as many as there are connections."""

PROTOCOL = 1
"""Version of the wire protocol page."""


class Gateway:
    """The node's `Endpoint`: connects, dispatches, disconnects."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._expiries: list[tuple[int, str]] = []
        self._unsaved: dict[str, SessionRecord] = {}
        # To find a label's counter costs more than to count.
        self._opened = cache(node.metrics.connections_opened.labels)
        self.arrivals: list[Callable[[Connection], None]] = []
        """Told of every new connection, before it hears anything; must not wait or raise."""

    # -- connect ---------------------------------------------------------------------------------

    async def connect(self, link: Link, namespace: str, auth: Any) -> Mapping[str, Any]:
        try:
            return await self._connect(link, auth)
        except ConnectionRefused as refusal:
            self._node.metrics.connections_refused.labels(refusal.refusal).inc()
            log.info("connection refused", code=refusal.refusal, client=link.handshake.client)
            raise
        except Unavailable as error:
            raise ConnectionRefused("unavailable", error.message, retryable=True) from error

    async def _connect(self, link: Link, auth: Any) -> Mapping[str, Any]:
        node = self._node
        if node.draining:
            raise ConnectionRefused("shutting_down", "This node is going away.", retryable=True)
        asked = self._parse(auth)
        identity = await self._identify(link.handshake, asked.token)
        user = identity.user
        if node.hub.count(f"user:{user.id}") >= node.settings.connections_per_user:
            raise ConnectionRefused("too_many_connections", "Too many connections of this user.")
        missing = [name for name in node.settings.user_env if not asked.user_env.get(name)]
        if missing:
            raise ConnectionRefused(
                "missing_user_env", f"The app needs: {', '.join(missing)}.", names=missing
            )
        record, resumed = await self._bind(user, asked)
        expires_at = identity.expires_at if identity.expires_at else None
        connection = Connection(link, user, record, identity.jti, expires_at)
        connection.fresh = not resumed
        if asked.mixed_deltas:
            link.mix_deltas()
        node.hub.add(connection)
        for home in connection.homes:
            node.hub.join(home, connection)
        node.registrar.changed(connection)
        node.presence.active(connection)
        self._watch_expiry(connection)
        self._opened(link.transport).inc()
        node.entrances.expect(connection)
        if asked.thread_id is not None:
            connection.working = True
            node.tasks.spawn(self._open_thread(connection, asked.thread_id), "open conversation")
        for arrive in self.arrivals:
            arrive(connection)
        return {
            "session_id": record.id,
            "thread_id": asked.thread_id,
            "user": user.public(),
            "node": node.id,
            "version": node.version,
            "deployment_id": node.deployment_id,
            "protocol": PROTOCOL,
            "resumed": resumed,
        }

    def _parse(self, auth: Any) -> ConnectAuth:
        try:
            asked = ConnectAuth.model_validate({} if auth is None else auth)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "auth"
            raise ConnectionRefused("invalid_payload", f"{where}: {first['msg']}") from None
        if asked.protocol is not None and asked.protocol != PROTOCOL:
            raise ConnectionRefused(
                "unsupported_protocol", f"This server speaks version {PROTOCOL}.", protocol=PROTOCOL
            )
        return asked

    async def _identify(self, handshake: Handshake, token: str | None) -> Identity:
        """A token in `auth`, in the Authorization header or in the cookie; else what the app knows from the headers."""
        token = token or _bearer(handshake) or handshake.cookies.get("access_token")
        node = self._node
        try:
            if token:
                return await node.accounts.verify(token)
            issued = await node.accounts.sign_in_by_headers(handshake.headers)
            if issued is None and node.settings.anonymous:
                issued = await node.accounts.sign_in_anonymously(handshake.client)
        except TokenExpired as error:
            raise ConnectionRefused("token_expired", error.message) from None
        except Unauthenticated as error:
            raise ConnectionRefused("unauthenticated", error.message) from None
        except Unavailable:
            raise
        except CommandError as error:
            raise ConnectionRefused("forbidden", error.message) from None
        if issued is None:
            raise ConnectionRefused("unauthenticated", "Sign in first: there is no token.")
        return await node.accounts.verify(issued.token)

    async def _bind(self, user: User, asked: ConnectAuth) -> tuple[SessionRecord, bool]:
        node = self._node
        now = node.clock.now_ms()
        session_id = asked.session_id or node.new_id()
        wanted = SessionRecord(
            session_id,
            user.id,
            client_type=asked.client_type,
            thread_id=asked.thread_id,
            chat_profile=asked.chat_profile,
            language=asked.language,
            user_env=asked.user_env or NO_ENVIRONMENT,
            created_at=now,
            last_seen=now,
        )
        if asked.session_id is None:
            # Nobody else knows this id: the session is stored when there is something to keep of it.
            self._unsaved[session_id] = wanted
            return wanted, False
        await self.keep(session_id)
        try:
            bound = await node.sessions.bind(wanted)
        except Forbidden as error:
            raise ConnectionRefused("forbidden", error.message) from None
        # What the client just sent is newer than what is stored; the environment is stored nowhere.
        bound.user_env = asked.user_env or NO_ENVIRONMENT
        return bound, bound.created_at != now

    async def keep(self, session_id: str) -> None:
        """Store a session that was not worth it until now. Idempotent."""
        record = self._unsaved.get(session_id)
        if record is not None:
            await self._node.sessions.bind(record)
            self._unsaved.pop(session_id, None)

    async def _open_thread(self, connection: Connection, thread_id: str) -> None:
        """The client named its conversation at connect: open the chat, enter the room, send the history."""
        node = self._node
        caller = node.caller_of(connection)
        stream = f"thread:{thread_id}"
        try:
            await node.chats.attend(caller, thread_id)
            answer = await node.recovery.subscribe(caller, connection, stream, None, 1)
            node.sharing.entered(connection, stream, answer["permission"])
            messages = answer["snapshot"]["messages"]
            history: History = {
                "thread_id": thread_id,
                "messages": messages,
                "position": answer["position"],
                "permission": answer["permission"],
            }
            connection.send(HISTORY.encode(history))
            log.info("history sent", messages=len(messages), user=caller.user.id, thread=thread_id)
            node.presence.greet(connection, stream)
            if answer["permission"] != "read":
                node.asks.repeat(connection, answer["snapshot"]["asks"])
        except ParlourError as error:
            if isinstance(error, Forbidden):
                node.knocks.wait(connection, stream)
            connection.send(ERROR.encode({"event": "connect", "error": error.to_wire()}))
        finally:
            connection.working = False
            node.router.resume(connection)

    # -- events ----------------------------------------------------------------------------------

    def receive(self, link: Link, event: str, args: Sequence[Any], ack: Ack | None) -> None:
        connection = self._node.hub.connection(link.sid)
        if connection is not None:
            self._node.router.receive(connection, event, args[0] if args else None, ack)

    def disconnected(self, link: Link, reason: str) -> None:
        """The network is gone; the session stays."""
        connection = self._node.hub.connection(link.sid)
        if connection is None:
            return
        connection.left = True
        connection.commands = None
        connection.caller = None
        self._node.hub.remove(connection)
        self._node.registrar.changed(connection)
        self._node.presence.forget(connection)
        self._node.knocks.forget(connection)
        if self._unsaved.pop(connection.session.id, None) is None:
            self._node.activity.seen(connection.session)
        self._node.metrics.connections_closed.labels(reason[:40]).inc()

    # -- tokens ----------------------------------------------------------------------------------

    def reauthenticate(self, connection: Connection, identity: Identity) -> None:
        """A fresh token of the same user: the connection lives as long as that one."""
        connection.jti = identity.jti
        connection.expires_at = identity.expires_at
        self._watch_expiry(connection)

    def revoked(self, revocation: Revocation) -> None:
        """Close the live connections of a revoked token or user."""
        for connection in self._node.hub.members(f"user:{revocation.user_id}"):
            if revocation.jti is None or revocation.jti == connection.jti:
                self.dismiss(connection, "token_revoked")

    def expire(self, now_ms: int) -> None:
        """Close connections whose token has expired. Called by the sweeper."""
        while self._expiries and self._expiries[0][0] <= now_ms:
            _, sid = heapq.heappop(self._expiries)
            connection = self._node.hub.connection(sid)
            if connection is not None and (connection.expires_at or now_ms + 1) <= now_ms:
                self.dismiss(connection, "token_expired")

    def dismiss(self, connection: Connection, reason: str, after_ms: int = 1000) -> None:
        """Tell a connection why it is closed, and close it."""
        connection.send(RECONNECT.encode({"reason": reason, "after_ms": after_ms}))
        connection.link.close(reason)

    def _watch_expiry(self, connection: Connection) -> None:
        if connection.expires_at is not None:
            heapq.heappush(self._expiries, (connection.expires_at, connection.sid))
            if len(self._expiries) > 2 * len(self._node.hub) + GONE:
                self._forget_gone()

    def _forget_gone(self) -> None:
        """Tokens live for hours, connections for moments: whoever left is not waited for."""
        self._expiries = [
            (connection.expires_at, connection.sid)
            for connection in self._node.hub.connections()
            if connection.expires_at is not None
        ]
        heapq.heapify(self._expiries)


def _bearer(handshake: Handshake) -> str | None:
    """The token in the Authorization header."""
    given = handshake.headers.get("authorization", "")
    return given[7:].strip() if given.lower().startswith("bearer ") else None
