"""What clients send and get as JSON Schema: `python -m parlour.wire.schema`.

The clients' types are generated from it (`make schema`); a test fails where they differ from the models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import TypeAdapter

from parlour.wire import documents, events, records, told

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def payload_models() -> list[type[events.Payload]]:
    """The payload model of every command, by name."""
    bases = (events.Payload, events.Placed)
    found = {
        value
        for module in (events, documents)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, events.Payload) and value not in bases
    }
    return sorted(found, key=lambda model: model.__name__)


def told_forms() -> dict[str, dict[str, Any]]:
    """The forms of what the server tells, by the name of the map that the clients' types get."""
    streams = {
        f"{kind.title()}EventData": {one.type: one.form for one in types}
        for kind, types in told.STREAM_EVENTS.items()
    }
    return {**streams, "ServerEvents": {one.name: one.form for one in told.SOCKET_EVENTS}}


def payload_schema() -> dict[str, Any]:
    """One JSON Schema (2020-12) with a definition for each model and form."""
    maps = told_forms()
    forms = {form for one in maps.values() for form in one.values()}
    kept = {records.ThreadSnapshot, records.Membership, records.ChannelMember, records.Step}
    wanted = [*payload_models(), *sorted(forms | kept, key=lambda form: form.__name__)]
    adapters: list[tuple[str, Literal["validation"], TypeAdapter[Any]]] = [
        (one.__name__, "validation", TypeAdapter(one)) for one in wanted
    ]
    _, schema = TypeAdapter.json_schemas(
        adapters,
        title="Parlour",
        description="What clients send and what they get. Unknown fields are ignored.",
    )
    for name, types in maps.items():
        schema["$defs"][name] = _map(name, types)
    return {"$schema": DRAFT, **schema}


def _map(name: str, types: Mapping[str, Any]) -> dict[str, Any]:
    what = "Events of sockets" if name == "ServerEvents" else "Types of events"
    return {
        "type": "object",
        "description": f"{what} and what they carry.",
        "properties": {key: {"$ref": f"#/$defs/{form.__name__}"} for key, form in types.items()},
        "required": list(types),
    }


def render() -> str:
    """The schema as it is checked in."""
    return json.dumps(payload_schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    print(render(), end="")
