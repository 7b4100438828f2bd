"""Which models are in use by which sessions: entries that run out unless they are renewed.

Times are milliseconds on one clock of the caller's choice.
"""

from __future__ import annotations

from typing import Final

ENTRY_MS: Final = 3000
"""How long an entry lives after its last renewal."""


class Usage:
    """Model → session → when the entry runs out. The order of renewals does not matter: the latest
    time counts."""

    def __init__(self) -> None:
        self._models: dict[str, dict[str, int]] = {}

    def renew(self, model: str, session_id: str, until: int) -> None:
        entries = self._models.setdefault(model, {})
        entries[session_id] = max(until, entries.get(session_id, 0))

    def release(self, model: str, session_id: str) -> None:
        entries = self._models.get(model)
        if entries is not None:
            entries.pop(session_id, None)
            if not entries:
                del self._models[model]

    def in_use(self, now: int) -> dict[str, int]:
        """The models with at least one entry that has not run out, and how many each has."""
        counted = {
            model: sum(until > now for until in entries.values())
            for model, entries in self._models.items()
        }
        return {model: number for model, number in counted.items() if number}

    def sweep(self, now: int, limit: int) -> int:
        """Forget what has run out, of at most `limit` models; gives back how many entries went."""
        swept = 0
        stale = [m for m, entries in self._models.items() if min(entries.values()) <= now]
        for model in stale[:limit]:
            over = [one for one, until in self._models[model].items() if until <= now]
            for session_id in over:
                self.release(model, session_id)
            swept += len(over)
        return swept
