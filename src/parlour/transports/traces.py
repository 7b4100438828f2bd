"""Logs of what travels over sockets, for people who look for a fault: names and sizes, never content.

Both are subclasses that take the place of the ordinary ones, so that nothing is asked per packet
where they are switched off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parlour.errors import ConnectionRefused
from parlour.server.endpoint import Ack, Endpoint, Handshake, Link
from parlour.telemetry import get_logger
from parlour.transports.socketio import SocketTransport
from parlour.transports.socketio.connection import Carrier
from parlour.transports.socketio.link import SocketConnection
from parlour.wire.engineio import Packet
from parlour.wire.engineio_session import EngineSession
from parlour.wire.packets import Encoded

log = get_logger(__name__)


class TracedEndpoint:
    """`socket_logging`: every connection and every event that clients send."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def connect(self, link: Link, namespace: str, auth: Any) -> Mapping[str, Any]:
        try:
            answer = await self._endpoint.connect(link, namespace, auth)
        except ConnectionRefused as refusal:
            log.info("socket refused", sid=link.sid, code=refusal.refusal)
            raise
        log.info("socket connected", sid=link.sid, carrier=link.transport, namespace=namespace)
        return answer

    def receive(self, link: Link, event: str, args: Sequence[Any], ack: Ack | None) -> None:
        log.info("socket event", sid=link.sid, name=event[:100], acknowledged=ack is not None)
        self._endpoint.receive(link, event, args, ack)

    def disconnected(self, link: Link, reason: str) -> None:
        log.info("socket disconnected", sid=link.sid, reason=reason)
        self._endpoint.disconnected(link, reason)


class TracedTransport(SocketTransport):
    """`engineio_logging`: every Engine.IO packet in both directions."""

    def make(
        self, engine: EngineSession, handshake: Handshake, carrier: Carrier
    ) -> SocketConnection:
        return _TracedConnection(self, engine, handshake, carrier)


class _TracedConnection(SocketConnection):
    __slots__ = ()

    def receive(self, message: str | bytes) -> None:
        kind = message[:1] if isinstance(message, str) else "binary"
        log.info("packet in", connection=self.engine.label, type=kind, size=len(message))
        super().receive(message)

    def receive_packet(self, packet: Packet) -> None:
        log.info(
            "packet in", connection=self.engine.label, type=packet.type.value, size=len(packet.data)
        )
        super().receive_packet(packet)

    def send(self, encoded: Encoded, barrier: bool = False) -> None:
        kind = str(encoded.parts[0])[:1]
        log.info("packet out", connection=self.engine.label, type=kind, size=encoded.size)
        super().send(encoded, barrier)

    def left(self, reason: str) -> None:
        log.info("connection over", connection=self.engine.label, reason=reason)
        super().left(reason)
