"""Parts: what stands on a node beside conversations and channels, and comes from a layer above.

A part is given to `run_node` as a function from the node to the part. Wiring happens there, in the
constructor of the part: `node.permissions.lookups`, `node.recovery.snapshots`, `node.sweeper.add`,
`node.gateway.arrivals`, `node.peers.on`. Nothing waits until `start`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from parlour.server.router import Routes

if TYPE_CHECKING:
    from parlour.server.node import Node


class Part(Protocol):
    """One part of a node; found again by its class with `node.part(Class)`."""

    @property
    def tables(self) -> Sequence[Routes]:
        """The commands that it serves."""
        ...

    async def start(self) -> None:
        """The stores are open and the node is about to serve."""
        ...

    async def stop(self) -> None:
        """The node goes away: clients were told, runs have ended, the stores are still open. Has
        `shutdown_runs_seconds` and then is cancelled."""
        ...


PartMaker = Callable[["Node"], Part]
