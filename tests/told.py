"""What a client hears has the form that the wire's types give it: checked for everything that tests hear."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from parlour.wire.told import SOCKET_EVENTS, STREAM_EVENTS

SOCKETS: Mapping[str, Any] = {one.name: one.form for one in SOCKET_EVENTS}
STREAMS: Mapping[str, Mapping[str, Any]] = {
    kind: {one.type: one.form for one in types} for kind, types in STREAM_EVENTS.items()
}
CARRIERS = {"events:channel": "channel", "events:note": "note"}


@cache
def _adapter(form: Any) -> TypeAdapter[Any]:
    return TypeAdapter(form)


def faults(event: str, payload: Any) -> list[str]:
    """What is wrong with an event of a socket. Names that only an app knows are its own business."""
    form = SOCKETS.get(event)
    if form is None:
        return []
    return [*_faults(event, form, payload), *_inner(event, payload)]


def _inner(event: str, payload: Any) -> list[str]:
    """The same for the event of a stream inside."""
    if event == "events":
        kind = payload["stream"].partition(":")[0]
    elif event in CARRIERS:
        kind = CARRIERS[event]
    else:
        return []
    type, data = payload["data"]["type"], payload["data"]["data"]
    form = STREAMS[kind].get(type)
    if form is None:
        # Apps add types of their own to conversations and to what they tell a person.
        own = kind in ("thread", "user") and payload["source"] in ("app", "system")
        return [] if own else [f"{kind} {type}: no such type"]
    return _faults(f"{kind} {type}", form, data)


def _faults(what: str, form: Any, value: Any) -> list[str]:
    try:
        _adapter(form).validate_python(value)
    except ValidationError as error:
        return [f"{what} {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    if getattr(form, "__pydantic_config__", {}).get("extra") == "allow":
        return []
    more = value.keys() - form.__required_keys__ - form.__optional_keys__
    return [f"{what}: {name} is in no form" for name in sorted(more)]
