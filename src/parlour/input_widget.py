"""The inputs of the settings dialog, under the name that authors import them by."""

from parlour.chat.input_widget import (
    InputWidget,
    NumberInput,
    Select,
    Slider,
    Switch,
    TextInput,
)

__all__ = ["InputWidget", "NumberInput", "Select", "Slider", "Switch", "TextInput"]
