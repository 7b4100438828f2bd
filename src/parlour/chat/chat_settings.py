"""The settings dialog of a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from parlour.chat.context import ParlourContext, get_context
from parlour.chat.input_widget import (
    InputWidget,
    NumberInput,
    Select,
    Slider,
    Switch,
    TextInput,
)
from parlour.chat.user_session import SETTINGS_WIDGETS, keep
from parlour.errors import InvalidPayload
from parlour.server.chats import Chat
from parlour.wire.told import SETTINGS, OfferedSettings

_WIDGETS: Final[Mapping[str, type[InputWidget]]] = {
    widget.type: widget for widget in (Select, Slider, Switch, TextInput, NumberInput)
}


class ChatSettings:
    """Offer settings to the person. Handlers read them in `user_session.get("chat_settings")`."""

    def __init__(self, inputs: Sequence[InputWidget]) -> None:
        ids = [widget.id for widget in inputs]
        if len(set(ids)) != len(ids):
            raise ValueError("two settings have the same id")
        self.inputs = list(inputs)

    def settings(self) -> dict[str, Any]:
        """The initial values."""
        return {widget.id: widget.initial for widget in self.inputs}

    async def send(self) -> dict[str, Any]:
        """Show the dialog's button; gives back the values in force: what the person chose before
        stays, where the input still accepts it."""
        found = get_context()
        values = {
            widget.id: _still_valid(widget, found.chat.chat_settings) for widget in self.inputs
        }
        widgets = [widget.to_dict() for widget in self.inputs]
        keep(found.chat, SETTINGS_WIDGETS, widgets)
        await found.node.chats.save_settings(found.chat, values)
        await announce(found)
        return values


def offered(chat: Chat) -> list[dict[str, Any]]:
    """The inputs of a conversation as the page gets them: `initial` is the value in force."""
    widgets: list[dict[str, Any]] = chat.values.get(SETTINGS_WIDGETS) or []
    values = chat.chat_settings
    return [
        {**widget, "initial": values.get(widget["id"], widget.get("initial"))} for widget in widgets
    ]


def accept_settings(chat: Chat, changes: Mapping[str, Any]) -> dict[str, Any]:
    """All settings with a person's changes in them. Raises `InvalidPayload` for a value that its
    input does not hold; settings that were never offered are left out."""
    widgets = {widget["id"]: _restore(widget) for widget in offered(chat)}
    values = {key: widget.initial for key, widget in widgets.items()}
    try:
        for key in changes.keys() & widgets.keys():
            values[key] = widgets[key].accept(changes[key])
    except ValueError as error:
        raise InvalidPayload(str(error)) from error
    return values


async def announce(found: ParlourContext) -> None:
    """Other tabs of the person on the conversation show the same; settings are each person's own."""
    settings: OfferedSettings = {"settings": offered(found.chat), "user_id": found.chat.user.id}
    await found.emitter.emit_all(SETTINGS(settings))


def _still_valid(widget: InputWidget, known: Mapping[str, Any]) -> Any:
    if widget.id not in known:
        return widget.initial
    try:
        return widget.accept(known[widget.id])
    except ValueError:
        return widget.initial


def _restore(widget: Mapping[str, Any]) -> InputWidget:
    """The input that `to_dict` described."""
    kind = _WIDGETS[widget["type"]]
    options = {field.name: widget[field.name] for field in fields(kind) if field.name in widget}
    if kind is Select:
        options["items"] = {item["label"]: item["value"] for item in widget["items"]}
    return kind(**options)
