"""The process's own memory: the embedded hot window, bus, leases and sessions."""

from parlour.backends.memory.bus import MemoryBus
from parlour.backends.memory.documents import MemoryDocumentStore
from parlour.backends.memory.leases import MemoryLeases
from parlour.backends.memory.log import MemoryLog
from parlour.backends.memory.pool import MemoryPool
from parlour.backends.memory.sessions import MemorySessionStore
from parlour.backends.memory.usage import MemoryUsage

__all__ = [
    "MemoryBus",
    "MemoryDocumentStore",
    "MemoryLeases",
    "MemoryLog",
    "MemoryPool",
    "MemorySessionStore",
    "MemoryUsage",
]
