"""Who acts: the part of a user that may travel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict

ADMIN: Final = "admin"
ANONYMOUS: Final = "anonymous"


class Author(TypedDict):
    """Who signs what was said."""

    id: str | None
    name: str


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated person or bot, without any field that nobody else needs.

    `metadata` is the app's own and stays on the server; `public` is what other people may see.
    """

    id: str
    name: str
    role: str = "user"
    metadata: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def is_admin(self) -> bool:
        return self.role == ADMIN

    def public(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "role": self.role}

    def author(self) -> Author:
        """How this user signs a message."""
        return {"id": self.id, "name": self.name}


SETTINGS_BYTES: Final = 65_536
"""What one user's settings may weigh as JSON."""


def merge_settings(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` over `settings`; None removes a name."""
    merged = {**settings, **changes}
    return {name: value for name, value in merged.items() if value is not None}
