"""The payloads of commands as JSON Schema: `python -m parlour.wire.schema`.

The clients' types are generated from it (`make schema`); a test fails where they differ from the models.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import models_json_schema

from parlour.wire import documents, events


def payload_models() -> list[type[events.Payload]]:
    """Every payload model, by name."""
    bases = (events.Payload, events.Placed)
    found = {
        value
        for module in (events, documents)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, events.Payload) and value not in bases
    }
    return sorted(found, key=lambda model: model.__name__)


def payload_schema() -> dict[str, Any]:
    """One JSON Schema (2020-12) with a definition for each model."""
    _, schema = models_json_schema(
        [(model, "validation") for model in payload_models()],
        title="Parlour",
        description="What clients send. Unknown fields are ignored.",
    )
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def render() -> str:
    """The schema as it is checked in."""
    return json.dumps(payload_schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    print(render(), end="")
