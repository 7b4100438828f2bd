"""Large rooms are told in parts, one in each turn of the event loop, so that other work has its turn in between.

Members stand in a ring. In each turn those at its head are told everything that they have not heard, and
go to its end. An event that comes while the room is being told starts with whoever is at the head: nobody waits for
a lap to be over, and who has more than one event to hear gets them in one packet. So in a room that hears more
than a core can write one by one, each member gets more at a time and nobody gets less.

To a connection this looks as if the event had come to this node a little later: what it joins with (its
position), leaves, or is told by others is not held up."""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final

from parlour.core.streams import Event
from parlour.native import tell
from parlour.server.connections import Connection
from parlour.server.hub import Hub
from parlour.wire.packets import Encoded

LARGE: Final = 512
"""Rooms of more members than this are told in parts."""

MEMBERS_PER_TURN: Final = 256
"""Who is told in one turn: about one and a half milliseconds of writes."""

MAX_WAITING: Final = 4096
"""Events that a room has not heard. Beyond this it is told at once: who appends so fast has to wait for it."""

HOMES: Final = ("user:", "session:")
"""Rooms in which a connection stays when it stops following them, of which nobody hears. They are small anyway."""

Encode = Callable[[Sequence[Event]], Encoded]
"""Makes one packet of events that follow each other."""


class LargeRooms:
    """The rooms that are being told."""

    def __init__(self, hub: Hub, encode: Encode) -> None:
        self._encode = encode
        self.telling: OrderedDict[str, _Ring] = OrderedDict()
        """By room, for whom something waits; the first one is told next."""
        self._scheduled = False
        hub.watch(self._moved)

    def take(self, room: str, members: Sequence[Connection], events: Sequence[Event]) -> bool:
        """Tell the room's members, a first part of them now. False where the room is not large, and waits for
        nothing: then nothing was done."""
        ring = self.telling.get(room)
        if ring is None:
            if len(members) <= LARGE or room.startswith(HOMES):
                return False
            ring = self.telling[room] = _Ring(members, self._encode)
        ring.add(events)
        if ring.waiting > MAX_WAITING:
            self.finish(room)
        elif not self._scheduled:
            self._next()
        return True

    def finish(self, room: str) -> None:
        """Tell whoever still waits in this room now."""
        ring = self.telling.get(room)
        if ring is None:
            return
        try:
            ring.tell(sys.maxsize)
        finally:
            # Also when one raised: what stands behind it is for others.
            if ring.waiting:
                self.finish(room)
            else:
                self.drop(room)

    def drop(self, room: str) -> None:
        """Nobody hears what is left."""
        self.telling.pop(room, None)

    def _next(self) -> None:
        self._scheduled = False
        if not self.telling:
            return
        room, ring = next(iter(self.telling.items()))
        self.telling.move_to_end(room)
        try:
            ring.tell(MEMBERS_PER_TURN)
        finally:
            # Also when one raised: the others wait all the same.
            if not ring.waiting and self.telling.get(room) is ring:
                self.drop(room)
            if self.telling:
                self._scheduled = True
                asyncio.get_running_loop().call_soon(self._next)

    def _moved(self, room: str, connection: Connection, entered: bool) -> None:
        ring = self.telling.get(room)
        if ring is None:
            return
        if entered:
            ring.enter(connection)
        else:
            ring.leave(connection)


class _News:
    """Events, and how many places of the ring they still have to pass."""

    __slots__ = ("events", "left")

    def __init__(self, events: Sequence[Event], left: int) -> None:
        self.events = list(events)
        self.left = left


class _Ring:
    """The members of one room, and what they have to hear. Whoever stands at the end has heard everything."""

    __slots__ = ("_encode", "_encoded", "_left", "_members", "_news", "waiting")

    def __init__(self, members: Iterable[Connection], encode: Encode) -> None:
        self.waiting = 0
        """Events that not everybody has heard."""
        self._encode = encode
        self._encoded: Encoded | None = None
        self._members = deque(members)
        self._news: deque[_News] = deque()
        """The oldest first; it has the shortest way left."""
        self._left: dict[Connection, int] = {}
        """Who left the room, and how many of its places are still in the ring: more than one where somebody came
        back and left again."""

    def add(self, events: Sequence[Event]) -> None:
        """Events for everybody, beginning with whoever is at the head."""
        places = len(self._members)
        if self._news and self._news[-1].left == places:
            self._news[-1].events.extend(events)
        else:
            self._news.append(_News(events, places))
        self.waiting += len(events)
        self._encoded = None

    def enter(self, connection: Connection) -> None:
        # Behind those who were told last: what goes round by now, it knows.
        self._members.append(connection)

    def leave(self, connection: Connection) -> None:
        self._left[connection] = self._left.get(connection, 0) + 1

    def tell(self, places: int) -> None:
        """Tell those in the next places, as long as somebody has something to hear."""
        while self._news and places > 0:
            oldest = self._news[0]
            count = min(oldest.left, places)
            places -= count
            encoded = self._packet()
            part = self._pass(count)
            for news in self._news:
                news.left -= count
            if not oldest.left:
                self._news.popleft()
                self.waiting -= len(oldest.events)
                self._encoded = None
            tell(part, encoded)

    def _packet(self) -> Encoded:
        """All that those at the head have not heard."""
        if self._encoded is None:
            self._encoded = self._encode([event for news in self._news for event in news.events])
        return self._encoded

    def _pass(self, count: int) -> tuple[Connection, ...]:
        """The members in the next places, who go to the end of the ring."""
        part = tuple(islice(self._members, count))
        if not self._left:
            self._members.rotate(-count)
            return part
        for _ in part:
            self._members.popleft()
        part = tuple([one for one in part if not self._is_gone(one)])
        self._members.extend(part)
        return part

    def _is_gone(self, connection: Connection) -> bool:
        places = self._left.get(connection, 0)
        if places > 1:
            self._left[connection] = places - 1
        elif places:
            del self._left[connection]
        return places > 0
