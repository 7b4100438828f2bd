"""A recorded history as a document: `{version, session, events}`, checked when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from parlour.agents.events import event_type, parse_data
from parlour.errors import InvalidPayload

VERSION: Final = 1

EVENTS: Final = 50_000
"""Largest trajectory."""

PLACE: Final = frozenset(
    {"id", "timestamp", "source", "cause", "conversation_id", "stream", "epoch", "offset"}
)
"""Fields of an event on the wire that are not in its record."""


class Recorded(BaseModel):
    """One event of a trajectory."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: Annotated[int, Field(ge=1)]
    source: Literal["user", "agent", "environment"]
    timestamp: str = ""
    cause: int | None = None

    @property
    def data(self) -> dict[str, Any]:
        """What stands in its record."""
        return dict(self.model_extra or {})

    @property
    def type(self) -> str:
        return event_type(parse_data(self.data))


class Trajectory(BaseModel):
    """`{version, session, events}`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal[1] = 1
    session: dict[str, Any] = Field(default_factory=dict)
    events: Annotated[list[Recorded], Field(max_length=EVENTS)]


def parse_trajectory(given: str | bytes | Mapping[str, Any]) -> Trajectory:
    """Raises `InvalidPayload` with the first mistake; every event of the result can be read."""
    try:
        value = orjson.loads(given) if isinstance(given, str | bytes) else given
        trajectory = Trajectory.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidPayload(f"trajectory.{where}: {first['msg']}") from None
    except ValueError:
        raise InvalidPayload("A trajectory is a JSON document.") from None
    for number, event in enumerate(trajectory.events, 1):
        if event.id != number:
            raise InvalidPayload(f"trajectory.events: number {number} is missing.")
        try:
            parse_data(event.data)
        except InvalidPayload as error:
            raise InvalidPayload(f"trajectory.events.{number}: {error.message}") from None
    return trajectory
