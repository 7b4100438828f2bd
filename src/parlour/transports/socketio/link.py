"""Socket.IO on one connection: its namespaces as links, driving the endpoint."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from parlour.errors import ConnectionRefused, ParlourError
from parlour.native import Port
from parlour.server.endpoint import Handshake
from parlour.server.outbox import Outbox
from parlour.server.randomness import connection_id
from parlour.transports.socketio.connection import Carrier, EngineConnection
from parlour.wire.engineio_session import EngineSession
from parlour.wire.packets import Encoded
from parlour.wire.socketio import (
    EVENT,
    MAIN,
    Packet,
    PacketType,
    encode_ack,
    encode_event,
)
from parlour.wire.socketio_session import ByNamespace, PendingCalls, SocketSession
from parlour.wire.told import RECONNECT

if TYPE_CHECKING:
    from parlour.transports.socketio.transport import SocketTransport

log = logging.getLogger("parlour.transports.socketio")

INVALID_NAMESPACE: Final = "Invalid namespace"


class SocketConnection(EngineConnection):
    """An Engine.IO connection that speaks Socket.IO."""

    __slots__ = ("_joins", "_links", "_session", "transport")

    server: SocketTransport

    def __init__(
        self,
        server: SocketTransport,
        engine: EngineSession,
        handshake: Handshake,
        carrier: Carrier,
    ) -> None:
        super().__init__(server, engine, handshake, carrier)
        settings = server.settings
        self._session = SocketSession(server.now(), settings.connect_timeout, settings.limits)
        self._links: ByNamespace[SocketLink] = ByNamespace()
        self._joins: dict[str, asyncio.Task[None]] | None = None

    def message(self, data: str | bytes, start: int) -> None:
        packet = self._session.receive(data, start)
        if packet is None:
            return
        kind, namespace, args, number = packet
        if kind is EVENT:
            link = self._links.main if namespace is MAIN else self._links.get(namespace)
            # The session says that the namespace is joined.
            assert link is not None
            server = self.server
            server.counters.events_in += 1
            name = args.pop(0)
            answer = None if number is None else Answer(link, number)
            server.endpoint.receive(link, name, args, answer)
        elif packet.type is PacketType.ACK:
            assert packet.id is not None
            self._link(packet).answered(packet.id, packet.data)
        elif packet.type is PacketType.CONNECT:
            self._connect(packet)
        else:
            self._session.leave(packet.namespace, self.server.now())
            link = self._link(packet)
            self._links.pop(packet.namespace)
            link.left("client namespace disconnect")
            self.schedule()

    def left(self, reason: str) -> None:
        joins, self._joins = self._joins, None
        for task in (joins or {}).values():
            task.cancel()
        links, self._links = self._links, ByNamespace()
        for _, link in links.pairs():
            link.left(reason)

    def deadline(self) -> float | None:
        return self._session.connect_by

    def expire(self, now: float) -> None:
        connect_by = self._session.connect_by
        if connect_by is not None and now >= connect_by:
            self.close("connect timeout")

    def overflow(self) -> None:
        after_ms = round(self.server.settings.slow_consumer_after * 1000)
        self.ask_to_reconnect("slow_consumer", after_ms)

    def links(self) -> list[SocketLink]:
        """The namespaces that the client is in."""
        return [link for _, link in self._links.pairs()]

    def ask_to_reconnect(self, reason: str, after_ms: int) -> None:
        """Tell every namespace, then close. There is no DISCONNECT: clients take that as final and
        would not come back."""
        for namespace, _ in self._links.pairs():
            told = RECONNECT.encode({"reason": reason, "after_ms": after_ms}, namespace=namespace)
            self.send(told, barrier=True)
        self.close(reason)

    def drop(self, link: SocketLink, reason: str) -> None:
        """The server ends this link, and with it the connection."""
        if self._links.pop(link.namespace) is None:
            return
        self.send(self._session.leave(link.namespace, self.server.now()), barrier=True)
        link.left(reason)
        self.close(reason)

    def _link(self, packet: Packet) -> SocketLink:
        """Of a namespace that the session says is joined."""
        link = self._links.get(packet.namespace)
        assert link is not None
        return link

    def _connect(self, packet: Packet) -> None:
        namespace = packet.namespace
        if namespace not in self.server.settings.namespaces:
            self._refuse(namespace, INVALID_NAMESPACE, None)
            return
        link = SocketLink(self, namespace)
        self.server.arrivals.run(partial(self._let_in, link, packet.data))

    def _let_in(self, link: SocketLink, auth: Any) -> None:
        if self._ended:
            return
        task = self.server.begin(self._join(link, auth))
        if task is not None:
            self._joins = (self._joins or {}) | {link.namespace: task}

    async def _join(self, link: SocketLink, auth: Any) -> None:
        try:
            payload = await self.server.endpoint.connect(link, link.namespace, auth)
        except ParlourError as error:
            self._refused(link, error)
        except Exception:
            # The task group that all joins share must survive one endpoint's mistake.
            log.exception("connect failed")
            self._refused(link, ConnectionRefused("internal", "internal error", retryable=True))
        else:
            self._joined(link, payload)

    def _joined(self, link: SocketLink, payload: Mapping[str, Any]) -> None:
        if self._ended:
            # The connection went away while the endpoint was on its last step.
            self.server.endpoint.disconnected(link, "transport close")
            return
        self._join_is_over(link)
        self._links.put(link.namespace, link)
        self.send(self._session.accept(link.namespace, link.sid, payload), barrier=True)
        link.open()

    def _refused(self, link: SocketLink, error: ParlourError) -> None:
        if not self._ended:
            self._join_is_over(link)
            self._refuse(link.namespace, error.message, error.to_wire())

    def _join_is_over(self, link: SocketLink) -> None:
        if self._joins is not None:
            self._joins.pop(link.namespace, None)
            self._joins = self._joins or None

    def _refuse(self, namespace: str, message: str, data: Any) -> None:
        self.server.counters.refused += 1
        self.send(self._session.refuse(namespace, message, data, self.server.now()), barrier=True)
        self.schedule()


class SocketLink(Port):
    """One namespace of one connection: the `Link` that the endpoint sees."""

    __slots__ = ("_calls", "_early", "_over", "namespace", "sid")

    connection: SocketConnection

    def __init__(self, connection: SocketConnection, namespace: str) -> None:
        super().__init__()
        self.sid: Final = connection_id()
        self.namespace: Final = namespace
        self.connection = connection
        self._calls: PendingCalls | None = None
        self._over = False
        # Packets from inside the endpoint's `connect`: they have to follow its answer.
        self._early: Outbox | None = None

    @property
    def handshake(self) -> Handshake:
        return self.connection.handshake

    @property
    def transport(self) -> str:
        return self.connection.carrier.name

    @property
    def buffered(self) -> int:
        return self.connection.buffered

    def call(
        self, event: str, args: Sequence[Any], done: Callable[[Sequence[Any] | None], None]
    ) -> Callable[[], None]:
        """Raises Unavailable when the client leaves too many calls unanswered."""
        if self._over:
            done(None)
            return _nothing
        if self._calls is None:
            self._calls = PendingCalls(self.connection.server.settings.limits.max_pending_acks)
        calls = self._calls
        number = calls.open(done)
        self.send(encode_event(event, args, namespace=self.namespace, ack_id=number))
        return lambda: calls.forget(number)

    def mix_deltas(self) -> None:
        self.connection.mixes = True

    def close(self, reason: str = "server") -> None:
        self.connection.drop(self, reason)

    def answered(self, number: int, args: Sequence[Any]) -> None:
        """For the connection: an ACK came."""
        if self._calls is not None:
            self._calls.answer(number, args)

    def acknowledge(self, number: int, args: Sequence[Any]) -> None:
        """For the connection: send an ACK."""
        encoded = encode_ack(number, args, namespace=self.namespace)
        if self.live:
            self.connection.send(encoded, barrier=True)

    def open(self) -> None:
        """For the connection: the answer to CONNECT is out."""
        self.live = True
        early, self._early = self._early, None
        if early is not None:
            for encoded in early.take_all():
                self.connection.send(encoded)

    def left(self, reason: str) -> None:
        """For the connection: this link, whose `connect` returned, is over."""
        self.live = False
        self._over = True
        self.connection.server.endpoint.disconnected(self, reason)
        calls, self._calls = self._calls, None
        if calls is not None:
            calls.close()

    def hold(self, encoded: Encoded) -> None:
        """What is sent before the answer to CONNECT is out follows it; after the end it is dropped."""
        if self._over:
            return
        if self._early is None:
            self._early = Outbox(self.connection.server.settings.outbox)
        if not self._early.push(encoded):
            self.connection.close("slow_consumer")


class Answer:
    """Acknowledges one event, once. Clients hear as many arguments as are given; Parlour's own
    events give one."""

    __slots__ = ("_link", "_number")

    def __init__(self, link: SocketLink, number: int) -> None:
        self._link: SocketLink | None = link
        self._number = number

    def __call__(self, *values: Any) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.acknowledge(self._number, values)


def _nothing() -> None:
    """Forgets a call that was answered already."""
