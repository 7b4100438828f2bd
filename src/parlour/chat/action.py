"""Buttons under a message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from parlour.chat.context import get_context
from parlour.chat.identity import new_id
from parlour.wire.records import Action as ActionRecord
from parlour.wire.told import MESSAGE_UPDATE


@dataclass(slots=True)
class Action:
    """A button. `payload` comes back to `@action_callback(name)`; it is visible to the person.

    `value` is short for `payload={"value": …}`.
    """

    name: str
    payload: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    tooltip: str = ""
    icon: str | None = None
    id: str = field(default_factory=new_id)
    for_id: str | None = None
    value: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.payload, dict):
            raise TypeError(f"the payload of action {self.name!r} has to be a dict")
        if self.value is not None and not self.payload:
            self.payload = {"value": self.value}

    def to_dict(self) -> ActionRecord:
        """As it travels and is stored."""
        known: ActionRecord = {
            "id": self.id,
            "name": self.name,
            "label": self.label or self.name,
            "tooltip": self.tooltip,
            "payload": self.payload,
        }
        if self.icon:
            known["icon"] = self.icon
        return known

    @classmethod
    def from_wire(cls, data: Mapping[str, Any], message_id: str | None = None) -> Action:
        payload = data.get("payload")
        return cls(
            name=str(data["name"]),
            payload=dict(payload) if isinstance(payload, Mapping) else {},
            label=str(data.get("label") or ""),
            tooltip=str(data.get("tooltip") or ""),
            icon=data.get("icon"),
            id=str(data.get("id") or new_id()),
            for_id=data.get("message_id") or message_id,
        )

    async def remove(self) -> None:
        """Take this button away from its message; the others stay."""
        if self.for_id is None:
            return
        message = await get_context().find_message(self.for_id)
        if message is None:
            return
        rest = [action for action in message.get("actions", ()) if action.get("id") != self.id]
        await get_context().emitter.emit_all(MESSAGE_UPDATE({"id": self.for_id, "actions": rest}))


def find_action(messages: Iterable[Mapping[str, Any]], pressed: Mapping[str, Any]) -> Action | None:
    """The button that was pressed, as the app sent it: a client names it (`id`, `name`) and decides
    nothing else about it. None where no message has it."""
    for message in messages:
        for action in message.get("actions") or ():
            if (action["id"], action["name"]) == (pressed.get("id"), pressed.get("name")):
                return Action.from_wire(action, message["id"])
    return None
