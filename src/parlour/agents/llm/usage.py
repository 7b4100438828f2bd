"""What models cost, and saying that one is in use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from parlour.agents.ports import Json, Model, ModelAnswer, TokenUsage
from parlour.errors import NotFound

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars per million tokens."""

    prompt: float = 0.0
    completion: float = 0.0

    def of(self, usage: TokenUsage) -> float:
        """US dollars."""
        spent = usage.prompt * self.prompt + usage.completion * self.completion
        return spent / MILLION


@dataclass(frozen=True, slots=True)
class ModelInUse:
    """A model that is said to be in use for as long as it answers, as `parlour.use_model` says it for a handler."""

    model: Model
    said: Callable[[], AbstractContextManager[None]]

    async def complete(
        self,
        messages: Sequence[Json],
        tools: Sequence[Json] = (),
        *,
        on_delta: Callable[[str], None] | None = None,
    ) -> ModelAnswer:
        with self.said():
            return await self.model.complete(messages, tools, on_delta=on_delta)


@dataclass(frozen=True, slots=True)
class AbsentModel:
    """In place of a service that is not configured, for an agent that may never ask it."""

    error: NotFound

    async def complete(
        self,
        messages: Sequence[Json],
        tools: Sequence[Json] = (),
        *,
        on_delta: Callable[[str], None] | None = None,
    ) -> ModelAnswer:
        raise NotFound(self.error.message)
