"""Commands by family; each module holds one table of routes."""

from parlour.server.handlers import (
    asks,
    channels,
    messages,
    presence,
    runs,
    sessions,
    streams,
    threads,
    usage,
)

TABLES = [
    asks.routes,
    channels.routes,
    messages.routes,
    presence.routes,
    runs.routes,
    sessions.routes,
    streams.routes,
    threads.routes,
    usage.routes,
]
"""Every table that a node's router serves."""
