"""Who is in which room, over all nodes: told as differences, gathered for a moment first.

Each node counts its own people; what changed is told to its members at once and to the other nodes
of the room as the next version of its slot (`core.presence`). A node that missed a version asks for
the whole slot. A room's people are known only to nodes that have members of it.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import structlog

from parlour.core.presence import (
    AWAY_AFTER_MS,
    Difference,
    Presence,
    Present,
    Slot,
    Status,
    status_at,
)
from parlour.errors import ParlourError
from parlour.server.connections import Connection
from parlour.wire import records
from parlour.wire.told import PRESENCE, PresenceNews

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

GATHER_SECONDS: Final = 0.1
"""How long changes of a small room are gathered, so that a reload is no news."""

PEOPLE_PER_SECOND: Final = 1000
"""Larger rooms gather longer: one second per so many people, at most `LONGEST_GATHER`."""

LONGEST_GATHER: Final = 5.0
LISTED: Final = 500
"""People in the list that a newcomer gets; `count` says how many there are."""

AWAY_CHECK_SECONDS: Final = 1.0


class _Person:
    """A user's connections of this node in one room."""

    __slots__ = ("awake", "connections", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.connections = 0
        self.awake = 0


class _Room:
    """What this node knows of one room."""

    def __init__(self) -> None:
        self.here: dict[str, _Person] = {}
        self.changed: dict[str, None] = {}
        self.presence = Presence()
        self.greeted: set[str] = set()
        """Nodes that have this node's slot up to `version`."""
        self.version = 0


ACTIVITY_GRAIN_MS = 1_000
"""Activity of one connection is noted once in this time."""


class Presences:
    """Presence of this node's rooms. The hub tells who enters and leaves."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._rooms: dict[str, _Room] = {}
        self._due: list[tuple[float, str]] = []
        self._waiting: set[str] = set()
        self._wake = asyncio.Event()
        self._versions = count(1)
        self._active: OrderedDict[str, Connection] = OrderedDict()
        self._heard_of: set[str] = set()
        node.hub.watch(self._moved)
        node.peers.on("presence", self._hear_change)
        node.peers.on("presence:slot", self._hear_slot)
        node.peers.on("presence:want", self._hear_wish)
        node.registrar.departed.append(self.departed)

    # -- activity --------------------------------------------------------------------------------

    def active(self, connection: Connection, active: bool = True) -> None:
        """The person did something at this connection, or says to be away from it."""
        if active:
            now = self._node.clock.now_ms()
            if not connection.away and now - connection.active_at < ACTIVITY_GRAIN_MS:
                return
            connection.active_at = now
            self._active[connection.sid] = connection
            self._active.move_to_end(connection.sid)
            self._node.registrar.seen(connection)
        self._set_away(connection, not active)

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        self._active.pop(connection.sid, None)

    def _set_away(self, connection: Connection, away: bool) -> None:
        if connection.away == away:
            return
        connection.away = away
        for name in connection.rooms:
            room = self._rooms.get(name)
            person = None if room is None else room.here.get(connection.user.id)
            if room is not None and person is not None:
                person.awake += -1 if away else 1
                self._touch(name, room, connection.user.id)

    def _find_away(self) -> None:
        """Those who have been silent for long, longest first: costs what it finds."""
        limit = self._node.clock.now_ms() - AWAY_AFTER_MS
        while self._active:
            connection = next(iter(self._active.values()))
            if connection.active_at > limit:
                return
            del self._active[connection.sid]
            self._set_away(connection, True)

    async def statuses(self, user_ids: list[str]) -> dict[str, dict[str, Any]]:
        """`{status, last_seen}` by user, over all tabs and nodes; `last_seen` in ms, None where nobody is
        connected. Raises `Unavailable`."""
        seen: dict[str, list[int]] = {user_id: [] for user_id in user_ids}
        for entry in await self._node.registrar.connections_of(user_ids):
            seen[entry.user_id].append(entry.last_seen)
        now = self._node.clock.now_ms()
        return {
            user_id: {"status": str(status_at(times, now)), "last_seen": max(times, default=None)}
            for user_id, times in seen.items()
        }

    # -- this node's people ----------------------------------------------------------------------

    def _moved(self, name: str, connection: Connection, entered: bool) -> None:
        if name.startswith(("user:", "session:")):
            return
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = _Room()
        user = connection.user
        person = room.here.get(user.id)
        if person is None:
            person = room.here[user.id] = _Person(user.name)
        step = 1 if entered else -1
        person.connections += step
        person.awake += 0 if connection.away else step
        if person.connections <= 0:
            del room.here[user.id]
        self._touch(name, room, user.id)

    def _touch(self, name: str, room: _Room, user_id: str) -> None:
        room.changed[user_id] = None
        self._schedule(name, room)

    def _schedule(self, name: str, room: _Room) -> None:
        if name in self._waiting:
            return
        self._waiting.add(name)
        delay = min(LONGEST_GATHER, GATHER_SECONDS + len(room.here) / PEOPLE_PER_SECOND)
        heapq.heappush(self._due, (self._node.clock.monotonic() + delay, name))
        self._wake.set()

    def _settle(self, name: str, room: _Room) -> dict[str, Any] | None:
        """Make this node's slot what it is now; tells the members here, gives back the news for others."""
        changed, room.changed = room.changed, {}
        slot = room.presence.slots.get(self._node.id, Slot(0))
        present, gone = [], []
        for user_id in changed:
            person = room.here.get(user_id)
            now = None if person is None else Present(user_id, person.name, person.awake <= 0)
            if now is None and user_id in slot.people:
                gone.append(user_id)
            elif now is not None and slot.people.get(user_id) != now:
                present.append(now)
        if not present and not gone:
            return None
        since, room.version = room.version, next(self._versions)
        after = room.presence.change(self._node.id, room.version, present, gone)
        self._replace(name, room, after, [*(one.id for one in present), *gone])
        return {
            "room": name,
            "since": since,
            "version": room.version,
            "present": [_packed(one) for one in present],
            "gone": gone,
        }

    def _replace(
        self, name: str, room: _Room, after: Presence, user_ids: list[str] | None = None
    ) -> None:
        difference = room.presence.difference(after, user_ids)
        room.presence = after
        if difference and self._node.hub.occupied(name):
            self._node.hub.broadcast(name, PRESENCE.encode(_news(name, difference)))

    # -- newcomers -------------------------------------------------------------------------------

    def greet(self, connection: Connection, name: str) -> None:
        """Give a connection the full list, after the answer of the command that is being handled."""
        asyncio.get_running_loop().call_soon(self._list, connection, name)

    def _list(self, connection: Connection, name: str) -> None:
        room = self._rooms.get(name)
        if room is None or name not in connection.rooms:
            return
        people = {user.id: user for user in room.presence.people().values()}
        for user_id in room.changed:
            # Not told yet; the newcomer itself is among them.
            person = room.here.get(user_id)
            if person is not None:
                people[user_id] = Present(user_id, person.name, person.awake <= 0)
        news: PresenceNews = {
            "room": name,
            "joined": [_told(person) for person in list(people.values())[:LISTED]],
            "left": [],
            "changed": [],
            "full": True,
            "count": len(people),
        }
        connection.send(PRESENCE.encode(news))

    def people(self, name: str) -> list[Present]:
        """Who is in a room that this node has members of."""
        room = self._rooms.get(name)
        return [] if room is None else list(room.presence.people().values())

    # -- between nodes ---------------------------------------------------------------------------

    def peers(self) -> set[str]:
        """The other nodes whose people are known here."""
        return set(self._heard_of)

    def entered(self, name: str) -> None:
        """This node is now known to have members of the room: exchange slots with the others."""
        room = self._rooms.get(name)
        if room is not None:
            room.greeted.clear()
            self._schedule(name, room)

    def departed(self, node_id: str) -> None:
        """A node died, and its connections with it."""
        self._heard_of.discard(node_id)
        for name, room in list(self._rooms.items()):
            room.greeted.discard(node_id)
            if node_id in room.presence.slots:
                ids = list(room.presence.slots[node_id].people)
                self._replace(name, room, room.presence.without(node_id), ids)

    async def _tell(self, name: str, room: _Room, news: dict[str, Any] | None) -> None:
        node = self._node
        nodes = await node.pool.nodes_of(name) - {node.id}
        for peer in nodes:
            if peer not in room.greeted:
                node.peers.tell(peer, "presence:slot", self._slot(name, room))
                node.peers.tell(peer, "presence:want", {"room": name})
                room.greeted.add(peer)
            elif news is not None:
                node.peers.tell(peer, "presence", news)
        room.greeted &= nodes

    def _slot(self, name: str, room: _Room) -> dict[str, Any]:
        slot = room.presence.slots.get(self._node.id, Slot(0))
        people = [_packed(person) for person in slot.people.values()]
        return {"room": name, "version": slot.version, "people": people}

    def _hear_change(self, sender: str, body: dict[str, Any]) -> None:
        room = self._rooms.get(body["room"])
        if room is None:
            return
        self._heard_of.add(sender)
        known = room.presence.slots.get(sender, Slot(0)).version
        if body["since"] != known and body["version"] > known:
            self._node.peers.tell(sender, "presence:want", {"room": body["room"]})
            return
        present = [Present(*one) for one in body["present"]]
        after = room.presence.change(sender, body["version"], present, body["gone"])
        self._replace(body["room"], room, after, [*(one.id for one in present), *body["gone"]])

    def _hear_slot(self, sender: str, body: dict[str, Any]) -> None:
        room = self._rooms.get(body["room"])
        if room is not None:
            self._heard_of.add(sender)
            people = {one[0]: Present(*one) for one in body["people"]}
            theirs = Presence({sender: Slot(body["version"], people)})
            self._replace(body["room"], room, room.presence.merge(theirs))

    def _hear_wish(self, sender: str, body: dict[str, Any]) -> None:
        room = self._rooms.get(body["room"])
        if room is not None:
            self._node.peers.tell(sender, "presence:slot", self._slot(body["room"], room))
            room.greeted.add(sender)

    # -- work ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tell what changed, room by room, when its time has come."""
        clock = self._node.clock
        away_due = clock.monotonic() + AWAY_CHECK_SECONDS
        while True:
            now = clock.monotonic()
            if away_due <= now:
                self._find_away()
                away_due = now + AWAY_CHECK_SECONDS
            while self._due and self._due[0][0] <= now:
                _, name = heapq.heappop(self._due)
                await self._work(name)
                # Many rooms may be due at once; nobody else has to wait for all of them.
                await asyncio.sleep(0)
            soonest = min(away_due, self._due[0][0]) if self._due else away_due
            self._wake.clear()
            try:
                async with asyncio.timeout(max(0.01, soonest - clock.monotonic())):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _work(self, name: str) -> None:
        self._waiting.discard(name)
        room = self._rooms.get(name)
        if room is None:
            return
        news = self._settle(name, room)
        try:
            await self._tell(name, room, news)
        except ParlourError as error:
            log.warning("presence is not told to other nodes", room=name, error=str(error))
            room.greeted.clear()
            self._schedule(name, room)
            return
        if not room.here and not room.changed and not self._node.hub.occupied(name):
            self._rooms.pop(name, None)


def _packed(person: Present) -> list[Any]:
    return [person.id, person.name, person.away]


def _news(name: str, difference: Difference) -> PresenceNews:
    return {
        "room": name,
        "joined": [_told(person) for person in difference.joined],
        "left": [_told(person, Status.OFFLINE) for person in difference.left],
        "changed": [_told(person) for person in difference.changed],
    }


def _told(person: Present, status: Status | None = None) -> records.Present:
    return {"id": person.id, "name": person.name, "status": (status or person.status).value}
