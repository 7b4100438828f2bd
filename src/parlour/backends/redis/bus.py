"""Signals between nodes over Redis pub/sub. What is sent while a node's connection is broken, it
misses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from parlour.backends.redis.connection import Redis
from parlour.backends.redis.pubsub import Listener, Subscriber
from parlour.ports import BusSink

log = logging.getLogger(__name__)


class _Topic:
    """The sinks of one topic on this node."""

    def __init__(self, channel: str) -> None:
        self.sinks: dict[object, BusSink] = {}
        self.lock = asyncio.Lock()
        self.listener = Listener(channel, self.hear, lambda: None)
        self.subscribed = False

    def hear(self, payload: bytes) -> None:
        for sink in tuple(self.sinks.values()):
            try:
                sink(payload)
            except Exception:  # one subscriber's defect must not keep the others from hearing
                log.exception("a subscriber of %s failed", self.listener.channel)


class RedisBus:
    """`ports.Bus` over Redis. Its connections belong to whoever made them."""

    def __init__(self, redis: Redis, subscriptions: Subscriber) -> None:
        self._redis = redis
        self._subscriptions = subscriptions
        self._topics: dict[str, _Topic] = {}

    async def publish(self, topic: str, payload: bytes) -> None:
        await self._redis.publish(self._channel(topic), payload)

    async def subscribe(self, topic: str, sink: BusSink) -> Callable[[], None]:
        held = self._topics.get(topic)
        if held is None:
            held = self._topics[topic] = _Topic(self._channel(topic))
        key = object()
        held.sinks[key] = sink
        try:
            async with held.lock:  # the first one subscribes, the others wait for it
                if not held.subscribed:
                    await self._subscriptions.subscribe(held.listener)
                    held.subscribed = True
        except BaseException:
            self._end(topic, held, key)
            raise
        return lambda: self._end(topic, held, key)

    async def close(self) -> None:
        for topic in self._topics.values():
            topic.sinks.clear()
            self._subscriptions.unsubscribe(topic.listener)
        self._topics.clear()

    def _end(self, topic: str, held: _Topic, key: object) -> None:
        held.sinks.pop(key, None)
        if not held.sinks and self._topics.get(topic) is held:
            del self._topics[topic]
            self._subscriptions.unsubscribe(held.listener)

    def _channel(self, topic: str) -> str:
        return self._redis.keys.own(f"bus:{topic}")
