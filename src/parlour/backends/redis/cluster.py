"""A Redis Cluster: which server has which key, learnt from the servers themselves.

The map of slots is asked for at first use, and again whenever a server answers that a key has moved
or cannot be reached. A command is repeated only where the server said that it did not execute it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import hiredis
from redis.crc import key_slot

from parlour.backends.flights import SingleFlight
from parlour.backends.redis.connection import Redis, evaluate
from parlour.backends.redis.errors import is_demoted, translate
from parlour.backends.redis.keys import Keys
from parlour.backends.redis.link import Address, Link, Resolve, Word
from parlour.backends.redis.pubsub import Listener, Subscriber, Subscriptions
from parlour.backends.redis.scripts import Script, all_scripts
from parlour.errors import ShuttingDown, Unavailable

log = logging.getLogger(__name__)

ATTEMPTS = 8
PAUSE_S = 0.05
"""Between two attempts while a slot is on its way to another server."""

_KEYLESS = frozenset({"PING", "TIME", "INFO"})

Place = tuple[str, int]
Send = Callable[[Link, bool], Awaitable[Any]]


class Slots:
    """Links to the masters, and the map from slots to them."""

    def __init__(self, seed: Address, time_limit: float) -> None:
        self._seed = seed
        self._time_limit = time_limit
        self._places: dict[int, Place] = {}
        self._links: dict[Place, Link] = {}
        self._refreshing: SingleFlight[None] = SingleFlight()
        self._closed = False

    async def link_of(self, key: str | bytes) -> Link:
        """The master that has a key, as far as is known."""
        slot = key_slot(key if isinstance(key, bytes) else key.encode())
        if slot not in self._places:
            await self.refresh()
        place = self._places.get(slot)
        if place is None:
            raise Unavailable("no server of the Redis Cluster has this key's slot")
        return self.link_at(place)

    def link_at(self, place: Place) -> Link:
        if self._closed:
            raise ShuttingDown("the connection to Redis is closed")
        link = self._links.get(place)
        if link is None:
            texts = [one.text for one in all_scripts()]
            link = self._links[place] = Link(self._resolve(place), self._time_limit, texts)
        return link

    def resolve_of(self, key: str) -> Resolve:
        """Finds the master of a key anew, at every connection."""

        async def resolve() -> Address:
            await self.refresh()
            place = self._places.get(key_slot(key.encode()))
            if place is None:
                raise Unavailable("no server of the Redis Cluster has this key's slot")
            return self._address(place)

        return resolve

    def forget(self) -> None:
        """Ask for the map again before the next command."""
        self._places = {}

    def moved(self, slot: int, place: Place) -> None:
        """A server said where a slot is now."""
        self._places[slot] = place

    async def refresh(self) -> None:
        """Ask for the map; once for all who need it."""
        await self._refreshing.run("", self._refresh)

    async def close(self) -> None:
        self._closed = True
        await self._refreshing.close()
        for link in self._links.values():
            await link.close()

    async def _refresh(self) -> None:
        for place in [*self._links, (self._seed.host, self._seed.port)]:
            try:
                self._places = _places(await self.link_at(place).call("CLUSTER", "SLOTS"))
            except (Unavailable, hiredis.ReplyError) as error:
                log.warning("%s:%s does not tell the cluster's slots: %s", *place, error)
            else:
                return
        raise Unavailable("no server of the Redis Cluster answers")

    def _resolve(self, place: Place) -> Resolve:
        async def resolve() -> Address:
            return self._address(place)

        return resolve

    def _address(self, place: Place) -> Address:
        return replace(self._seed, host=place[0], port=place[1], database=0)


def _places(reply: Any) -> dict[int, Place]:
    """`CLUSTER SLOTS`: ranges of slots, each with its master first."""
    return {
        slot: (master[0].decode(), int(master[1]))
        for first, last, master, *_ in reply
        for slot in range(first, last + 1)
    }


class ClusterRedis(Redis):
    """A Cluster. Every command goes where its first key is."""

    publish_verb = "SPUBLISH"

    def __init__(self, slots: Slots, keys: Keys, time_limit: float) -> None:
        super().__init__(keys, time_limit)
        self._slots = slots

    async def call(self, *command: Word) -> Any:
        async def send(link: Link, asking: bool) -> Any:
            wire = await link.wire()
            if asking:
                wire.permit()
            return await link.send(wire, command)

        keyless = command[0] in _KEYLESS or len(command) < 2
        return await self._at("any" if keyless else str(command[1]), send)

    async def run_with(
        self, script: Script, keys: Sequence[str], values: Callable[[str], Sequence[Word]]
    ) -> Any:
        async def send(link: Link, asking: bool) -> Any:
            wire = await link.wire()
            words = (len(keys), *keys, *values(wire.run_id))
            return await evaluate(link, wire, script, words, asking=asking)

        return await self._at(keys[0], send)

    def subscriptions(self) -> Subscriber:
        return PartitionedSubscriptions(self._slots, self.time_limit)

    async def close(self) -> None:
        await self._slots.close()

    async def _at(self, key: str, send: Send) -> Any:
        """Send to the key's master; follow the key where it moved."""
        link, asking = await self._slots.link_of(key), False
        for _ in range(ATTEMPTS):
            try:
                return await send(link, asking)
            except hiredis.ReplyError as error:
                link, asking = await self._elsewhere(key, error)
            except Unavailable:
                self._slots.forget()  # the next command shall look for a successor
                raise
        raise Unavailable("the Redis Cluster moves this key for too long")

    async def _elsewhere(self, key: str, error: hiredis.ReplyError) -> tuple[Link, bool]:
        """Where a command that was not executed has to go. Raises what is no redirection."""
        kind, _, rest = str(error).partition(" ")
        if kind in ("MOVED", "ASK"):
            slot, place = _told(rest)
            if kind == "MOVED":
                self._slots.moved(slot, place)
            return self._slots.link_at(place), kind == "ASK"
        if kind not in ("TRYAGAIN", "CLUSTERDOWN") and not is_demoted(error):
            raise translate(error) from error
        await asyncio.sleep(PAUSE_S)
        await self._slots.refresh()
        return await self._slots.link_of(key), False


def _told(text: str) -> tuple[int, Place]:
    """The rest of a redirection: `slot host:port`."""
    slot, _, place = text.partition(" ")
    host, _, port = place.rpartition(":")
    return int(slot), (host, int(port))


class PartitionedSubscriptions:
    """Sharded subscriptions: one connection for each partition that is listened to, to whichever
    master has it. A partition that moves breaks its connection, and the next one finds the new
    master."""

    def __init__(self, slots: Slots, time_limit: float) -> None:
        self._slots = slots
        self._time_limit = time_limit
        self._partitions: dict[int, Subscriptions] = {}

    async def subscribe(self, listener: Listener) -> None:
        slot = key_slot(listener.channel.encode())
        held = self._partitions.get(slot)
        if held is None:
            resolve = self._slots.resolve_of(listener.channel)
            held = Subscriptions(resolve, self._time_limit, sharded=True)
            self._partitions[slot] = held
        await held.subscribe(listener)

    def unsubscribe(self, listener: Listener) -> None:
        held = self._partitions.get(key_slot(listener.channel.encode()))
        if held is not None:
            held.unsubscribe(listener)

    async def close(self) -> None:
        for held in self._partitions.values():
            await held.close()
        self._partitions.clear()
