"""The schema that clients' types are made from is that of the models."""

from __future__ import annotations

from pathlib import Path

from parlour.wire.schema import payload_models, render

CHECKED_IN = Path(__file__).parents[3] / "sdk/src/generated/wire.schema.json"


def test_the_schema_that_is_checked_in_is_current() -> None:
    assert CHECKED_IN.read_text("utf-8") == render(), "run `make schema`"


def test_every_command_that_changes_something_is_in_it() -> None:
    names = {model.__name__ for model in payload_models()}

    assert {"MessageSend", "AskAnswer", "RunStop", "Subscribe", "DocumentUpdate"} <= names
