"""What administrators see of all nodes: live connections, sessions, rooms, models in use."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from parlour.errors import ParlourError
from parlour.server.connections import Connection

if TYPE_CHECKING:
    from parlour.server.node import Node

LISTED: Final = 500
"""Connections and rooms that each node lists; the totals count all."""


class Overview:
    """Asks every node; one that does not answer is named among the failures."""

    def __init__(self, node: Node) -> None:
        self._node = node
        node.peers.on("overview", lambda sender, body: self.here())

    def here(self) -> dict[str, Any]:
        """This node's part."""
        hub = self._node.hub
        connections = list(hub.connections())
        rooms = {
            name: count
            for name, count in hub.rooms().items()
            if not name.startswith(("user:", "session:"))
        }
        largest = sorted(rooms.items(), key=lambda room: (-room[1], room[0]))
        return {
            "node": self._node.id,
            "version": self._node.version,
            "connections": [self._row(one) for one in connections[:LISTED]],
            "rooms": dict(largest[:LISTED]),
            "totals": {
                "connections": len(connections),
                "sessions": len({one.session.id for one in connections}),
                "users": len({one.user.id for one in connections}),
                "rooms": len(rooms),
            },
        }

    async def everywhere(self) -> dict[str, Any]:
        """`{nodes, connections, rooms, models, totals, failures}` over all nodes that answer. Raises
        `Unavailable` when nobody knows which nodes there are."""
        node = self._node
        others = sorted(await node.pool.nodes() - {node.id})
        asked = [node.peers.ask(other, "overview", {}) for other in others]
        models, *answers = await asyncio.gather(node.usage.in_use(), *asked, return_exceptions=True)
        parts, failures = [self.here()], {}
        for other, answer in zip(others, answers, strict=True):
            if isinstance(answer, ParlourError):
                failures[other] = answer.message
            elif isinstance(answer, BaseException):
                raise answer
            else:
                parts.append(answer)
        if isinstance(models, BaseException):
            raise models
        return {**_together(parts), "models": models, "failures": failures}

    def _row(self, connection: Connection) -> dict[str, Any]:
        entry = self._node.registrar.entry(connection)
        return {
            "sid": connection.sid,
            "user": {"id": connection.user.id, "name": connection.user.name},
            "session_id": connection.session.id,
            "client_type": connection.session.client_type,
            "transport": connection.link.transport,
            "address": connection.link.handshake.client,
            "status": "away" if connection.away else "online",
            "connected_at": entry.connected_at if entry is not None else None,
            "rooms": sorted(room for room in connection.rooms if room not in connection.homes),
            "node": self._node.id,
        }


def _together(parts: list[dict[str, Any]]) -> dict[str, Any]:
    rooms: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for part in parts:
        rooms.update(part["rooms"])
        totals.update(part["totals"])
    listed = sorted(rooms.items(), key=lambda room: (-room[1], room[0]))
    return {
        "nodes": [
            {"node": part["node"], "version": part["version"], **part["totals"]} for part in parts
        ],
        "connections": [row for part in parts for row in part["connections"]],
        "rooms": [{"room": name, "connections": number} for name, number in listed],
        "totals": {name: totals[name] for name in ("connections", "sessions")},
    }
