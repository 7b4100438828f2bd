"""What models cost: prices, and counters that whoever asked for them keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from parlour.agents.ports import Json, Model, ModelAnswer, TokenUsage

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


@dataclass(slots=True)
class UsageCounter:
    """Adds up the answers of one session (or of whatever asks). `cost` is in US dollars."""

    answers: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    by_service: dict[str, float] = field(default_factory=dict)

    def add(self, service: str, answer: ModelAnswer) -> None:
        self.answers += 1
        self.prompt_tokens += answer.usage.prompt
        self.completion_tokens += answer.usage.completion
        self.cost += answer.cost
        self.by_service[service] = self.by_service.get(service, 0.0) + answer.cost


@dataclass(frozen=True, slots=True)
class MeteredModel:
    """A model whose answers are counted."""

    model: Model
    service: str
    counter: UsageCounter

    async def complete(
        self,
        messages: Sequence[Json],
        tools: Sequence[Json] = (),
        *,
        on_delta: Callable[[str], None] | None = None,
    ) -> ModelAnswer:
        try:
            answer = await self.model.complete(messages, tools, on_delta=on_delta)
        except Exception:
            self.counter.failures += 1
            raise
        self.counter.add(self.service, answer)
        return answer
