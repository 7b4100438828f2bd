"""What is in force in a session: server, user and session settings merged, and a record of where each came from.

Precedence, the strongest first: what the session was started with, what the user set, what the server's
settings say. The server's limits on iterations, time and cost are also upper bounds for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError

from parlour.config import Settings
from parlour.core.agent_state import Limits
from parlour.core.agents import Confirmation, InputPolicy
from parlour.errors import InvalidPayload

Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]

BOUNDED: Final = ("max_iterations", "max_seconds", "max_cost")
"""Settings that nobody may raise above the server's."""


class Wanted(BaseModel):
    """What a user or a session asks for; None is not said. Unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent: Name | None = None
    model: Name | None = None
    instructions: Annotated[str, StringConstraints(max_length=20_000)] | None = None
    confirmation: Confirmation | None = None
    input_policy: InputPolicy | None = None
    max_iterations: Annotated[int, Field(ge=1, le=10_000)] | None = None
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    max_cost: Annotated[float, Field(ge=0)] | None = None
    context_tokens: Annotated[int, Field(ge=1_000)] | None = None
    command_seconds: Annotated[float, Field(gt=0)] | None = None
    secrets: Annotated[dict[Name, SecretStr], Field(max_length=100)] | None = None


@dataclass(frozen=True, slots=True)
class InForce:
    """The merged settings of one session. `sources` says for each name whether it came from the `session`, the
    `user` or the `server`; secrets are in neither of the JSON forms."""

    agent: str = "coder"
    model: str = "default"
    instructions: str = ""
    confirmation: Confirmation = Confirmation.COMMANDS
    input_policy: InputPolicy = InputPolicy.STEER
    max_iterations: int = 100
    max_seconds: float = 3600.0
    max_cost: float = 0.0
    context_tokens: int = 60_000
    command_seconds: float = 120.0
    secrets: Mapping[str, SecretStr] = field(default_factory=dict, repr=False)
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        return Limits(self.max_iterations, self.max_seconds, self.max_cost)

    def to_json(self) -> dict[str, Any]:
        """As it is recorded and shown."""
        names = [name for name in Wanted.model_fields if name != "secrets"]
        shown = {name: getattr(self, name) for name in names}
        plain = {name: str(v) if isinstance(v, str) else v for name, v in shown.items()}
        return {**plain, "secrets": sorted(self.secrets), "sources": dict(self.sources)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> InForce:
        """What was recorded, without the secrets. What cannot be read is as the server's default."""
        kept = {name: stored[name] for name in Wanted.model_fields if name in stored}
        kept.pop("secrets", None)
        try:
            wanted = Wanted.model_validate(kept)
        except ValidationError:
            wanted = Wanted()
        values = {name: value for name, value in wanted if value is not None and name != "secrets"}
        return cls(**values, sources=dict(stored.get("sources", {})))


def parse_wanted(given: Mapping[str, Any] | None) -> Wanted:
    """Raises `InvalidPayload` with the first mistake."""
    try:
        return Wanted.model_validate(dict(given or {}))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidPayload(f"settings.{where}: {first['msg']}") from None


def of_user(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a user's own settings (those that are the same on all devices) say under `agents`; what does not fit is
    left out, so that an old entry does not keep anybody from beginning a session."""
    given = settings.get("agents")
    if not isinstance(given, Mapping):
        return {}
    kept = {}
    for name, value in given.items():
        try:
            parse_wanted({name: value})
        except InvalidPayload:
            continue
        kept[str(name)] = value
    return kept


def merge(
    server: Settings, user: Mapping[str, Any] | None, session: Mapping[str, Any] | None
) -> InForce:
    """What is in force. Raises `InvalidPayload` for what a user or a session may not ask for."""
    values, sources = _of_server(server), {}
    for name in Wanted.model_fields:
        sources[name] = "server"
    for origin, given in (("user", user), ("session", session)):
        for name, value in parse_wanted(given):
            if value is not None:
                values[name], sources[name] = value, origin
    bounds = _of_server(server)
    for name in BOUNDED:
        if bounds[name] and (not values[name] or values[name] > bounds[name]):
            values[name], sources[name] = bounds[name], "server"
    return InForce(**values, sources=sources)


def _of_server(server: Settings) -> dict[str, Any]:
    return {
        "agent": "coder",
        "model": server.agent_model,
        "instructions": "",
        "confirmation": Confirmation(server.agent_confirmation),
        "input_policy": InputPolicy(server.agent_input_policy),
        "max_iterations": server.agent_max_iterations,
        "max_seconds": server.agent_max_seconds,
        "max_cost": server.agent_max_cost,
        "context_tokens": server.agent_context_tokens,
        "command_seconds": server.agent_command_seconds,
        "secrets": {},
    }
