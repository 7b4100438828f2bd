"""What a person may choose before the first message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Starter:
    """A suggestion on the empty page: pressing `label` sends `message`."""

    label: str
    message: str
    icon: str | None = None

    def to_dict(self) -> dict[str, Any]:
        known = {"label": self.label, "message": self.message}
        return {**known, "icon": self.icon} if self.icon else known


@dataclass(slots=True)
class ChatProfile:
    """A variant of the app. Handlers find its name in `user_session.get("chat_profile")`."""

    name: str
    markdown_description: str = ""
    icon: str | None = None
    default: bool = False
    starters: Sequence[Starter] | None = field(default=None)
    display_name: str | None = None

    def to_dict(self) -> dict[str, Any]:
        profile: dict[str, Any] = {
            "name": self.name,
            "markdown_description": self.markdown_description,
            "default": self.default,
        }
        if self.icon:
            profile["icon"] = self.icon
        if self.display_name:
            profile["display_name"] = self.display_name
        if self.starters is not None:
            profile["starters"] = [starter.to_dict() for starter in self.starters]
        return profile
