"""Times as clients read them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=16)
def rfc3339(ms: int) -> str:
    """Milliseconds since 1970 as RFC 3339 with three decimals, in UTC. Within one millisecond many are told
    the time, so the last ones are kept."""
    second = datetime.fromtimestamp(ms // 1000, UTC).replace(tzinfo=None)
    return f"{second.isoformat()}.{ms % 1000:03}Z"
