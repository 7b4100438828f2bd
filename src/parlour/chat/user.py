"""The person in a session, as authors see them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from parlour.core.users import ANONYMOUS
from parlour.core.users import User as CoreUser

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}\Z")


@dataclass(slots=True)
class User:
    """An authenticated person. `identifier` is the app's own unique name for them (a login, an
    e-mail).

    `metadata` stays on the server. `role` is Parlour's: `user` or `admin`; what an app writes into
    `metadata["role"]` is its own business and grants nothing.
    """

    identifier: str
    display_name: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    id: str = ""
    role: str = "user"

    def __post_init__(self) -> None:
        if not isinstance(self.identifier, str) or not self.identifier:
            raise TypeError("User needs an identifier: a string that is not empty")
        self.id = self.id or stable_id(self.identifier)

    @property
    def name(self) -> str:
        """What other people see."""
        return self.display_name or self.identifier

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "identifier": self.identifier,
            "display_name": self.display_name,
            "metadata": self.metadata,
            "role": self.role,
        }

    def to_core(self) -> CoreUser:
        """The user as the server knows them; `metadata["identifier"]` keeps the app's name for
        them."""
        metadata: Mapping[str, Any] = {**self.metadata, "identifier": self.identifier}
        return CoreUser(self.id, self.name, self.role, metadata)

    @classmethod
    def from_core(cls, user: CoreUser) -> User | None:
        """None for an anonymous visitor, as authors expect of a session without sign-in."""
        if user.role == ANONYMOUS:
            return None
        metadata = dict(user.metadata)
        identifier = str(metadata.pop("identifier", "") or user.name or user.id)
        return cls(identifier, user.name, metadata, user.id, user.role)


def stable_id(identifier: str) -> str:
    """The identifier where it may stand in a stream's name, otherwise a hash of it."""
    if _PLAIN.match(identifier):
        return identifier
    return "u-" + hashlib.sha256(identifier.encode()).hexdigest()[:32]
