"""Redis as the backends use it: commands and scripts, wherever the keys are.

answer = await redis.run(script("append"), keys, values)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import hiredis

from parlour.backends.redis.errors import is_demoted, translate
from parlour.backends.redis.keys import Keys
from parlour.backends.redis.link import Link, Resolve, Wire, Word
from parlour.backends.redis.pubsub import Subscriber, Subscriptions
from parlour.backends.redis.scripts import Script, all_scripts
from parlour.errors import Unavailable


class Redis(ABC):
    """A client of one server (`SingleRedis`) or of a Cluster (`ClusterRedis`). Made by
    `connect_redis`; connects at first use. Raises only `Unavailable` and `ShuttingDown`.

    `publish_verb` is the command by which a script announces something in its own slot.
    """

    publish_verb: str

    def __init__(self, keys: Keys, time_limit: float) -> None:
        self.keys = keys
        self.time_limit = time_limit

    @property
    def prefix(self) -> str:
        """What every key begins with."""
        return self.keys.prefix

    @abstractmethod
    async def call(self, *command: Word) -> Any:
        """One command; its first argument is its key."""

    async def run(self, script: Script, keys: Sequence[str], values: Sequence[Word]) -> Any:
        """One script, at its first key."""
        return await self.run_with(script, keys, lambda run_id: values)

    @abstractmethod
    async def run_with(
        self, script: Script, keys: Sequence[str], values: Callable[[str], Sequence[Word]]
    ) -> Any:
        """As `run`; `values` is called with the run_id of the very server that will get them."""

    async def publish(self, channel: str, payload: bytes) -> None:
        """Tell whoever is subscribed at this moment."""
        await self.call(self.publish_verb, channel, payload)

    @abstractmethod
    def subscriptions(self) -> Subscriber:
        """A new subscriber, for whoever closes it."""

    @abstractmethod
    async def close(self) -> None:
        """Idempotent."""


class SingleRedis(Redis):
    """One server, or the master that Sentinels name."""

    publish_verb = "PUBLISH"

    def __init__(self, resolve: Resolve, keys: Keys, time_limit: float) -> None:
        super().__init__(keys, time_limit)
        self._resolve = resolve
        self._link = Link(resolve, time_limit, [one.text for one in all_scripts()])

    async def call(self, *command: Word) -> Any:
        try:
            return await self._link.call(*command)
        except hiredis.ReplyError as error:
            raise self._refused(error) from error

    async def run_with(
        self, script: Script, keys: Sequence[str], values: Callable[[str], Sequence[Word]]
    ) -> Any:
        try:
            wire = await self._link.wire()
            words = (len(keys), *keys, *values(wire.run_id))
            return await evaluate(self._link, wire, script, words)
        except hiredis.ReplyError as error:
            raise self._refused(error) from error

    def subscriptions(self) -> Subscriber:
        return Subscriptions(self._resolve, self.time_limit)

    def _refused(self, error: hiredis.ReplyError) -> Exception:
        if is_demoted(error):
            self._link.give_up("this Redis server has become a replica")
        return translate(error)

    async def close(self) -> None:
        await self._link.close()


async def evaluate(
    link: Link, wire: Wire, script: Script, words: Sequence[Word], *, asking: bool = False
) -> Any:
    """Run a script by its digest, or by its text where somebody flushed the server's scripts.
    `asking`: the key is on its way to this server, which serves it only right after ASKING."""
    for command in (("EVALSHA", script.sha, *words), ("EVAL", script.text, *words)):
        if asking:
            wire.permit()
        try:
            return await link.send(wire, command)
        except hiredis.ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
    raise Unavailable("Redis does not take a script")
