"""Requests from node to node: batched per turn of the loop, each with a time limit.

What goes to one node in one turn of the loop is one message on its topic `node:{id}`, in the order of
the calls. A request that is lost (pub/sub delivers at most once) ends as `Unavailable` when its time
is over, or at once when the node is known to be gone.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from itertools import count
from typing import Any, Final

import structlog

from parlour.errors import ParlourError, Unavailable
from parlour.ports import Bus
from parlour.server.tasks import Tasks
from parlour.wire import json

log = structlog.get_logger(__name__)

ANSWER_SECONDS: Final = 2.0
"""How long another node may take to answer, unless the request says otherwise."""

OUTGOING: Final = 20_000
"""Messages that may wait to leave; more are refused."""

PER_MESSAGE: Final = 500
"""Requests in one message on the bus."""

Handler = Callable[[str, Any], Awaitable[Any] | Any]
"""`(sender's node id, body) -> answer`; bodies and answers are JSON values."""

_TELL, _ASK, _ANSWER, _FAILED = range(4)
_Item = tuple[int, str, int, Any]


class Peers:
    """This node's way to the others."""

    def __init__(self, node_id: str, bus: Bus, tasks: Tasks) -> None:
        self._node_id = node_id
        self._bus = bus
        self._tasks = tasks
        self._handlers: dict[str, Handler] = {}
        self._numbers = count(1)
        self._waiting: dict[int, tuple[str, asyncio.Future[Any]]] = {}
        self._outgoing: dict[str, list[_Item]] = {}
        self._held = 0
        self._flushing = False

    def on(self, name: str, handler: Handler) -> None:
        """Answer requests of this name."""
        self._handlers[name] = handler

    def tell(self, node: str, name: str, body: Any) -> None:
        """Send without an answer. Raises `Unavailable` where too much waits to leave."""
        self._send(node, (_TELL, name, 0, body))

    async def ask(self, node: str, name: str, body: Any, timeout: float = ANSWER_SECONDS) -> Any:
        """Send and wait for the answer. Raises `Unavailable` when the node does not answer within
        `timeout` seconds, is gone, or failed."""
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (node, answer)
        try:
            self._send(node, (_ASK, name, number, body))
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            raise Unavailable("Another node did not answer in time.", node=node) from None
        finally:
            del self._waiting[number]

    def awaited(self) -> set[str]:
        """The nodes that owe an answer."""
        return {node for node, _ in self._waiting.values()}

    def gone(self, node: str) -> None:
        """The node died: nobody waits for it any longer."""
        for owing, answer in list(self._waiting.values()):
            if owing == node and not answer.done():
                answer.set_exception(Unavailable("Another node is gone.", node=node))

    # -- out -------------------------------------------------------------------------------------

    def _send(self, node: str, item: _Item) -> None:
        if self._held >= OUTGOING:
            raise Unavailable("Too much waits for other nodes.")
        self._held += 1
        self._outgoing.setdefault(node, []).append(item)
        if not self._flushing:
            self._flushing = True
            self._tasks.spawn(self._flush(), "messages to other nodes")

    async def _flush(self) -> None:
        """Runs while there is something to send; begins in the next turn of the loop."""
        try:
            while self._outgoing:
                outgoing, self._outgoing, self._held = self._outgoing, {}, 0
                await asyncio.gather(
                    *(self._publish(node, items) for node, items in outgoing.items())
                )
        finally:
            self._flushing = False

    async def _publish(self, node: str, items: list[_Item]) -> None:
        for first in range(0, len(items), PER_MESSAGE):
            part = items[first : first + PER_MESSAGE]
            message = {"type": "peers", "from": self._node_id, "items": part}
            try:
                await self._bus.publish(f"node:{node}", json.dumps(message))
            except ParlourError as error:
                log.warning("another node cannot be reached", peer=node, error=str(error))
                self._undelivered(part, error)

    def _undelivered(self, items: Iterable[_Item], error: ParlourError) -> None:
        for kind, _, number, _ in items:
            waiting = self._waiting.get(number) if kind == _ASK else None
            if waiting is not None and not waiting[1].done():
                waiting[1].set_exception(Unavailable(str(error)))

    # -- in --------------------------------------------------------------------------------------

    def hear(self, message: Any) -> None:
        """A message on this node's topic."""
        sender = message["from"]
        for kind, name, number, body in message["items"]:
            if kind in (_TELL, _ASK):
                self._serve(sender, kind, name, number, body)
                continue
            waiting = self._waiting.get(number)
            if waiting is None or waiting[1].done():
                continue
            if kind == _ANSWER:
                waiting[1].set_result(body)
            else:
                waiting[1].set_exception(Unavailable(str(body), node=sender))

    def _serve(self, sender: str, kind: int, name: str, number: int, body: Any) -> None:
        handler = self._handlers.get(name)
        try:
            if handler is None:
                raise Unavailable(f"This node does not know {name!r}.")
            answer = handler(sender, body)
        except Exception as error:  # noqa: BLE001 - one bad request must not lose the others of its message
            self._fail(sender, kind, name, number, error)
            return
        if inspect.isawaitable(answer):
            self._tasks.spawn(self._finish(sender, kind, name, number, answer), f"peer {name}")
        elif kind == _ASK:
            self._send(sender, (_ANSWER, name, number, answer))

    async def _finish(
        self, sender: str, kind: int, name: str, number: int, work: Awaitable[Any]
    ) -> None:
        try:
            answer = await work
        except Exception as error:  # noqa: BLE001 - told to the sender, who waits
            self._fail(sender, kind, name, number, error)
            return
        if kind == _ASK:
            self._send(sender, (_ANSWER, name, number, answer))

    def _fail(self, sender: str, kind: int, name: str, number: int, error: Exception) -> None:
        if isinstance(error, ParlourError):
            log.warning("request of another node refused", request=name, error=str(error))
        else:
            log.error("request of another node failed", request=name, exc_info=error)
        if kind == _ASK:
            self._send(sender, (_FAILED, name, number, str(error)))
