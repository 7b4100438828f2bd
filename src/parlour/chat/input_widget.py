"""The inputs of the settings dialog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(slots=True, kw_only=True)
class InputWidget:
    """One input. `id` names the setting, `initial` is its value until a person changes it."""

    type: ClassVar[str] = ""

    id: str
    label: str
    initial: Any = None
    tooltip: str | None = None
    description: str | None = None
    disabled: bool = False

    def __post_init__(self) -> None:
        if not self.id or not self.label:
            raise ValueError(f"{type(self).__name__} needs an id and a label")

    def to_dict(self) -> dict[str, Any]:
        """As the page gets it."""
        common = {
            "type": self.type,
            "id": self.id,
            "label": self.label,
            "initial": self.initial,
            "tooltip": self.tooltip,
            "description": self.description,
            "disabled": self.disabled,
        }
        return {key: value for key, value in {**common, **self._own()}.items() if value is not None}

    def accept(self, value: Any) -> Any:
        """The value as the app gets it. Raises ValueError for one that this input cannot hold."""
        return value

    def _own(self) -> dict[str, Any]:
        return {}


@dataclass(slots=True, kw_only=True)
class Select(InputWidget):
    """One of several values: a list, or `items` as label → value."""

    type: ClassVar[str] = "select"

    values: Sequence[str] = ()
    items: Mapping[str, str] = field(default_factory=dict)
    initial_value: str | None = None
    initial_index: int | None = None

    def __post_init__(self) -> None:
        InputWidget.__post_init__(self)
        if bool(self.values) == bool(self.items):
            raise ValueError(f"Select {self.id!r} needs either values or items")
        self.items = dict(self.items) or {value: value for value in self.values}
        choices = list(self.items.values())
        if self.initial_index is not None:
            self.initial = choices[self.initial_index]
        self.initial = self.initial_value or self.initial or choices[0]
        self.accept(self.initial)

    def accept(self, value: Any) -> Any:
        if value not in self.items.values():
            raise ValueError(f"{self.label}: {value!r} is not one of the choices")
        return value

    def _own(self) -> dict[str, Any]:
        return {"items": [{"label": key, "value": value} for key, value in self.items.items()]}


@dataclass(slots=True, kw_only=True)
class Slider(InputWidget):
    """A number within bounds."""

    type: ClassVar[str] = "slider"

    initial: float = 0
    min: float = 0
    max: float = 10
    step: float = 1

    def __post_init__(self) -> None:
        InputWidget.__post_init__(self)
        if self.min > self.max or self.step <= 0:
            raise ValueError(f"Slider {self.id!r} needs min <= max and a step above 0")
        self.accept(self.initial)

    def accept(self, value: Any) -> Any:
        number = _number(self.label, value)
        if not self.min <= number <= self.max:
            raise ValueError(f"{self.label}: {value!r} is not between {self.min} and {self.max}")
        return number

    def _own(self) -> dict[str, Any]:
        return {"min": self.min, "max": self.max, "step": self.step}


@dataclass(slots=True, kw_only=True)
class Switch(InputWidget):
    """On or off."""

    type: ClassVar[str] = "switch"

    initial: bool = False

    def accept(self, value: Any) -> Any:
        if not isinstance(value, bool):
            raise ValueError(f"{self.label}: {value!r} is neither on nor off")
        return value


@dataclass(slots=True, kw_only=True)
class TextInput(InputWidget):
    """A line of text, or several with `multiline`."""

    type: ClassVar[str] = "text"

    initial: str = ""
    placeholder: str | None = None
    multiline: bool = False

    def accept(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"{self.label}: {value!r} is not a text")
        return value

    def _own(self) -> dict[str, Any]:
        return {"placeholder": self.placeholder, "multiline": self.multiline}


@dataclass(slots=True, kw_only=True)
class NumberInput(InputWidget):
    """Any number."""

    type: ClassVar[str] = "number"

    initial: float | None = None
    placeholder: str | None = None

    def accept(self, value: Any) -> Any:
        return None if value is None else _number(self.label, value)

    def _own(self) -> dict[str, Any]:
        return {"placeholder": self.placeholder}


def _number(label: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{label}: {value!r} is not a number")
    return value
