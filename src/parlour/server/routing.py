"""Routing: reach users, sessions and rooms wherever their connections are.

Who is where comes from the pool, by user, session or room; nothing here walks over connections that
are not addressed. What happens on this node happens at once; what is for others goes to exactly the
nodes concerned. An event is encoded once, by the node that sends it.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from parlour.errors import CallGone, CallRefused, CallTimeout, ParlourError, Unavailable
from parlour.ports import PoolEntry
from parlour.server.registrar import GRACE_MS
from parlour.wire.packets import Encoded
from parlour.wire.socketio import encode_event
from parlour.wire.told import ACCESS_UPDATED

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

T = TypeVar("T")

RETURN_CHECK_SECONDS: Final = 0.1
"""How often a call looks whether its session's client is back."""


@dataclass(slots=True)
class Reached:
    """What a routing call did: how many connections it reached, and which nodes could not do their
    part (id, or `pool` where nobody knew who is elsewhere) with the reason."""

    connections: int = 0
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return not self.failures


class Routing:
    """Every method works for connections on every node; none raises for a node that is away."""

    def __init__(self, node: Node) -> None:
        self._node = node
        peers = node.peers
        peers.on("emit", lambda sender, body: self._emit_here(body))
        peers.on("enter", lambda sender, body: self._enter_here(body["room"], body["users"]))
        peers.on("leave", lambda sender, body: self._leave_here(**body))
        peers.on("members", lambda sender, body: self._members_here(body["room"]))
        peers.on("close", lambda sender, body: self._close_here(**body))
        peers.on("call", lambda sender, body: self._call_here(**body))
        peers.on("follow", lambda sender, body: node.rooms.follow(body["stream"]))

    # -- telling ---------------------------------------------------------------------------------

    async def emit_to_users(
        self, event: str, data: Any, user_ids: Iterable[str], skip_sid: str | None = None
    ) -> Reached:
        """One event to every connection of these users."""
        users = list(dict.fromkeys(user_ids))
        body = _emission(encode_event(event, [data]), [f"user:{one}" for one in users], skip_sid)
        reached = Reached(self._emit_here(body))
        entries = await self._of_users(users, reached)
        addressed = {
            node: {**body, "rooms": [f"user:{one}" for one in ids]}
            for node, ids in self._by_node(entries, lambda entry: entry.user_id).items()
        }
        return await self._ask_each("emit", addressed, reached)

    async def emit_to_session(self, event: str, data: Any, session_id: str) -> Reached:
        """One event to every connection of a session."""
        return await self.emit_to_room(event, data, f"session:{session_id}")

    async def emit_to_room(
        self, event: str, data: Any, room: str, skip_sid: str | None = None
    ) -> Reached:
        """One event, recorded nowhere, to every member of a room but `skip_sid`."""
        body = _emission(encode_event(event, [data]), [room], skip_sid)
        reached = Reached(self._emit_here(body))
        nodes = await self._nodes_of(room, reached)
        return await self._ask_each("emit", dict.fromkeys(nodes, body), reached)

    def signal_room(self, event: str, data: Any, room: str, skip_sid: str | None = None) -> None:
        """As `emit_to_room` for signals that nobody waits for: this node's members hear it before this
        returns, the others soon, or not at all when they cannot be reached."""
        body = _emission(encode_event(event, [data]), [room], skip_sid)
        self._emit_here(body)
        self._node.tasks.spawn(self._tell_room(room, "emit", body), f"signal {event}")

    async def _tell_room(self, room: str, name: str, body: Any) -> None:
        try:
            for node in await self._nodes_of(room, Reached()):
                self._node.peers.tell(node, name, body)
        except Unavailable as error:
            log.info("a signal was dropped", room=room, error=str(error))

    def _emit_here(self, body: Mapping[str, Any]) -> int:
        """Gives back to how many connections of this node."""
        encoded = _decode_parts(body["parts"])
        skip = self._node.hub.connection(body["skip"]) if body["skip"] else None
        return sum(self._node.hub.broadcast(room, encoded, skip) for room in body["rooms"])

    # -- rooms -----------------------------------------------------------------------------------

    async def enter_room_for_users(self, room: str, user_ids: Iterable[str]) -> Reached:
        """Put every connection of these users into a room. When this returns they hear what is emitted
        to the room, and what is appended to the stream of its name."""
        users = list(dict.fromkeys(user_ids))
        reached = Reached()
        try:
            reached.connections = await self._enter_here(room, users)
        except Unavailable as error:
            reached.failures["pool"] = str(error)
        entries = await self._of_users(users, reached)
        addressed = {
            node: {"room": room, "users": ids}
            for node, ids in self._by_node(entries, lambda entry: entry.user_id).items()
        }
        return await self._ask_each("enter", addressed, reached)

    async def leave_room_for_users(
        self, room: str, user_ids: Iterable[str], reason: str | None = None
    ) -> Reached:
        """Take every connection of these users out of a room; with a reason they are told
        (`access:updated {room, reason}`)."""
        users = list(dict.fromkeys(user_ids))
        reached = Reached(self._leave_here(room, users, reason))
        entries = await self._of_users(users, reached)
        addressed = {
            node: {"room": room, "users": ids, "reason": reason}
            for node, ids in self._by_node(entries, lambda entry: entry.user_id).items()
        }
        return await self._ask_each("leave", addressed, reached)

    async def get_session_ids_from_room(self, room: str) -> set[str]:
        """The sessions with a connection in the room."""
        return {session_id for _, session_id in await self.members(room)}

    async def get_user_ids_from_room(self, room: str) -> set[str]:
        """The users with a connection in the room."""
        return {user_id for user_id, _ in await self.members(room)}

    async def members(self, room: str) -> set[tuple[str, str]]:
        """`(user id, session id)` of the connections in a room. A node that does not answer has none."""
        found = [(user, session) for user, session in self._members_here(room)]
        reached = Reached()
        nodes = await self._nodes_of(room, reached)
        answers = await self._answers("members", {one: {"room": room} for one in nodes}, reached)
        if not reached.complete:
            log.warning("a room's members are incomplete", room=room, failures=reached.failures)
        return {(user, session) for part in (found, *answers) for user, session in part}

    async def follow(self, user_id: str) -> None:
        """Have the nodes that the user is connected to follow the user's own stream: what is appended
        from here on is heard there."""
        stream, reached = f"user:{user_id}", Reached()
        await self._node.rooms.follow(stream)
        entries = await self._of_users([user_id], reached)
        nodes = self._by_node(entries, lambda entry: entry.user_id)
        await self._answers("follow", {one: {"stream": stream} for one in nodes}, reached)

    async def _enter_here(self, room: str, users: Sequence[str]) -> int:
        node = self._node
        entered = sum(
            node.rooms.enter(connection, room)
            for user_id in users
            for connection in node.hub.members(f"user:{user_id}")
        )
        await node.rooms.follow(room)
        await node.registrar.settled()
        return entered

    def _leave_here(self, room: str, users: Sequence[str], reason: str | None) -> int:
        hub, left = self._node.hub, 0
        notice = ACCESS_UPDATED.encode({"room": room, "reason": reason})
        for connection in [one for user in users for one in hub.members(f"user:{user}")]:
            if room in connection.rooms:
                hub.leave(room, connection)
                left += 1
                if reason is not None:
                    connection.send(notice)
        return left

    def _members_here(self, room: str) -> list[list[str]]:
        there = {(one.user.id, one.session.id) for one in self._node.hub.members(room)}
        return [[user, session] for user, session in sorted(there)]

    # -- closing ---------------------------------------------------------------------------------

    async def disconnect_user(self, user_id: str, reason: str = "disconnected") -> Reached:
        """Close every connection of a user, after telling it why (`reconnect {reason}`)."""
        reached = Reached()
        entries = await self._of_users([user_id], reached)
        return await self._close(f"user:{user_id}", entries, reason, reached)

    async def disconnect_session(self, session_id: str, reason: str = "disconnected") -> Reached:
        """Close every connection of a session."""
        reached = Reached()
        entries = await self._known("pool", self._node.pool.of_session(session_id), reached, ())
        return await self._close(f"session:{session_id}", entries, reason, reached)

    async def disconnect_connection(self, sid: str, reason: str = "disconnected") -> Reached:
        """Close one connection; asks every node, for administrators."""
        body: dict[str, Any] = {"room": None, "sid": sid, "reason": reason}
        reached = Reached(self._close_here(**body))
        if reached.connections:
            return reached
        nodes = await self._known("pool", self._node.pool.nodes(), reached, frozenset())
        others: dict[str, Any] = dict.fromkeys(set(nodes) - {self._node.id}, body)
        return await self._ask_each("close", others, reached)

    async def _close(
        self, room: str, entries: Sequence[PoolEntry], reason: str, reached: Reached
    ) -> Reached:
        body: dict[str, Any] = {"room": room, "sid": None, "reason": reason}
        reached.connections += self._close_here(**body)
        others = {entry.node for entry in entries} - {self._node.id}
        return await self._ask_each("close", dict.fromkeys(others, body), reached)

    def _close_here(self, room: str | None, sid: str | None, reason: str) -> int:
        hub = self._node.hub
        one = hub.connection(sid) if sid is not None else None
        members = hub.members(room) if room is not None else [one] if one is not None else []
        for connection in members:
            self._node.gateway.dismiss(connection, reason)
        return len(members)

    # -- calling ---------------------------------------------------------------------------------

    async def call(self, session_id: str, name: str, args: Any, timeout: float) -> Any:
        """Call a session's client, wherever it is connected, and wait for its answer. With several
        connections the first one that takes the call decides.

        A client that lost its connection before it answered gets the call once more on each new
        connection, with the same `call_id`, so that it can tell. `timeout` in seconds. Raises
        `CallGone` where nobody is connected or comes back within the grace, `CallTimeout`, and
        `CallRefused` where the client answered `{ok: false}`.
        """
        payload = {"call_id": self._node.new_id(), "name": name, "args": args}
        return await self.request(session_id, "call", payload, timeout)

    async def request(self, session_id: str, event: str, payload: Any, timeout: float) -> Any:
        """As `call`, with any event that the client acknowledges."""
        tried: set[str] = set()
        try:
            async with asyncio.timeout(timeout):
                while True:
                    try:
                        return await self._call_connected(
                            session_id, event, payload, tried, timeout
                        )
                    except CallGone:
                        await self._await_return(session_id, tried)
        except TimeoutError:
            raise CallTimeout() from None

    async def _call_connected(
        self, session_id: str, event: str, payload: Any, tried: set[str], timeout: float
    ) -> Any:
        """Call whoever of the session has not been called. Raises `CallGone` where none of them answered."""
        by_node = await self._untried(session_id, tried)
        tried.update(sid for sids in by_node.values() for sid in sids)
        attempts = {
            asyncio.create_task(self._attempt(node, sids, event, payload, timeout))
            for node, sids in by_node.items()
        }
        failure: CallGone | CallRefused = CallGone()
        try:
            for attempt in asyncio.as_completed(attempts):
                try:
                    return await attempt
                except CallRefused as refused:
                    failure = refused
                except CallGone:
                    continue
            raise failure
        finally:
            for task in attempts:
                task.cancel()
            await asyncio.gather(*attempts, return_exceptions=True)

    async def _untried(self, session_id: str, tried: set[str]) -> dict[str, list[str]]:
        """The session's connections by node, without those that had their chance."""
        by_node: dict[str, list[str]] = {}
        for connection in self._node.hub.members(f"session:{session_id}"):
            if connection.sid not in tried:
                by_node.setdefault(self._node.id, []).append(connection.sid)
        for entry in await self._known(
            "pool", self._node.pool.of_session(session_id), Reached(), ()
        ):
            if entry.node != self._node.id and entry.sid not in tried:
                by_node.setdefault(entry.node, []).append(entry.sid)
        return by_node

    async def _attempt(
        self, node: str, sids: list[str], event: str, payload: Any, timeout: float
    ) -> Any:
        body = {"sids": sids, "event": event, "payload": payload, "timeout": timeout}
        if node == self._node.id:
            answer = await self._call_here(**body)
        else:
            try:
                answer = await self._node.peers.ask(node, "call", body, timeout)
            except Unavailable:
                raise CallGone() from None
        match answer["outcome"]:
            case "answered":
                return answer["result"]
            case "refused":
                raise CallRefused(answer["message"])
            case "timeout":
                raise CallTimeout
        raise CallGone

    async def _call_here(
        self, sids: Sequence[str], event: str, payload: Any, timeout: float
    ) -> dict[str, Any]:
        found = [self._node.hub.connection(sid) for sid in sids]
        members = [connection for connection in found if connection is not None]
        if not members:
            return {"outcome": "gone"}
        try:
            result = await self._node.calls.first_answer(members, event, payload, timeout)
        except CallRefused as refused:
            return {"outcome": "refused", "message": refused.message}
        except CallTimeout:
            return {"outcome": "timeout"}
        except CallGone:
            return {"outcome": "gone"}
        return {"outcome": "answered", "result": result}

    async def _await_return(self, session_id: str, tried: set[str]) -> None:
        """Wait for a connection of the session that was not called yet. Raises `CallGone` where none is
        expected: it was not here just now, or its grace is over."""
        clock = self._node.clock
        until = clock.monotonic() + GRACE_MS / 1000
        while not await self._untried(session_id, tried):
            expected = bool(tried) or await self._known(
                "pool", self._node.pool.left(session_id), Reached(), False
            )
            if not expected or clock.monotonic() >= until:
                raise CallGone
            await asyncio.sleep(RETURN_CHECK_SECONDS)

    # -- finding and asking ----------------------------------------------------------------------

    async def _of_users(self, users: Sequence[str], reached: Reached) -> Sequence[PoolEntry]:
        return await self._known("pool", self._node.registrar.connections_of(users), reached, ())

    async def _nodes_of(self, room: str, reached: Reached) -> set[str]:
        """The other nodes with members of a room."""
        pool, (kind, _, subject) = self._node.pool, room.partition(":")
        entries: Sequence[PoolEntry]
        if kind == "user":
            entries = await self._of_users([subject], reached)
            return {entry.node for entry in entries} - {self._node.id}
        if kind == "session":
            entries = await self._known("pool", pool.of_session(subject), reached, ())
            return {entry.node for entry in entries} - {self._node.id}
        return set(await self._known("pool", pool.nodes_of(room), reached, frozenset())) - {
            self._node.id
        }

    async def _known(self, where: str, look: Awaitable[T], reached: Reached, otherwise: T) -> T:
        """What the pool says; while it is away this node serves those whom it has itself."""
        try:
            return await look
        except ParlourError as error:
            reached.failures[where] = str(error)
            return otherwise

    def _by_node(
        self, entries: Iterable[PoolEntry], of: Callable[[PoolEntry], str]
    ) -> dict[str, list[str]]:
        """Something of each entry, once, by the other nodes."""
        grouped: dict[str, dict[str, None]] = {}
        for entry in entries:
            if entry.node != self._node.id:
                grouped.setdefault(entry.node, {})[of(entry)] = None
        return {node: list(found) for node, found in grouped.items()}

    async def _ask_each(self, name: str, bodies: Mapping[str, Any], reached: Reached) -> Reached:
        """Ask each node and add up how many connections it reached."""
        for number in await self._answers(name, bodies, reached):
            reached.connections += number
        return reached

    async def _answers(self, name: str, bodies: Mapping[str, Any], reached: Reached) -> list[Any]:
        asked = [self._node.peers.ask(node, name, body) for node, body in bodies.items()]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        given = []
        for node, answer in zip(bodies, answers, strict=True):
            if isinstance(answer, ParlourError):
                reached.failures[node] = str(answer)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                given.append(answer)
        return given


def _emission(encoded: Encoded, rooms: list[str], skip_sid: str | None) -> dict[str, Any]:
    parts = [
        {"b": base64.b64encode(part).decode()} if isinstance(part, bytes) else part
        for part in encoded.parts
    ]
    return {"parts": parts, "rooms": rooms, "skip": skip_sid}


def _decode_parts(parts: Iterable[Any]) -> Encoded:
    return Encoded(
        tuple(base64.b64decode(part["b"]) if isinstance(part, dict) else part for part in parts)
    )
