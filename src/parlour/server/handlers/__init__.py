"""Commands by family; each module holds one table of routes."""

from parlour.server.handlers import asks, messages, runs, sessions, streams, threads

TABLES = [
    asks.routes,
    messages.routes,
    runs.routes,
    sessions.routes,
    streams.routes,
    threads.routes,
]
"""Every table that a node's router serves."""
