"""Agents: who decides what to do next. The controller carries it out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pydantic import ValidationError

from parlour.agents.events import (
    Action,
    CellAction,
    DelegateAction,
    EditAction,
    FinishAction,
    MessageAction,
    ReadAction,
    RejectAction,
    RunAction,
    ThinkAction,
    WriteAction,
)
from parlour.agents.ports import Json, Model, ModelAnswer, ToolCall
from parlour.config import Settings


@dataclass(frozen=True, slots=True)
class Planned:
    """An action that an agent wants. `record` is stored with it: `usage` on the first one of an answer, `tool`
    (`{id, name, arguments}`) where a model called a tool. `mistake` says why it cannot be carried out."""

    action: Action
    record: Mapping[str, Any] = field(default_factory=dict)
    mistake: str = ""


@dataclass(frozen=True, slots=True)
class Situation:
    """What an agent sees when it is asked. `depth` counts from 0, the session's own agent."""

    messages: Sequence[Json]
    model: Model
    depth: int = 0
    instructions: str = ""
    agents: Sequence[str] = ()
    on_delta: Callable[[str], None] | None = None


class Agent(Protocol):
    """Decides the next actions. Stateless: everything it knows is in the situation."""

    async def step(self, situation: Situation) -> Sequence[Planned]:
        """At least one action, to be carried out one after the other. Raises what the model raises."""
        ...


AGENTS: Final[dict[str, Agent]] = {}
MODELS: Final[dict[str, Callable[[Settings], Model]]] = {}


def register_agent(name: str, agent: Agent) -> None:
    """Make an agent known to every node of this process, by the name that `settings.agent` uses; at import time of
    the app."""
    AGENTS[name] = agent


def register_model(name: str, make: Callable[[Settings], Model]) -> None:
    """Make a model known by the name that `settings.model` uses, beside the configured services."""
    MODELS[name] = make


TOOLS: Final[Mapping[str, type[Action]]] = {
    "run": RunAction,
    "run_ipython": CellAction,
    "read": ReadAction,
    "write": WriteAction,
    "edit": EditAction,
    "think": ThinkAction,
    "delegate": DelegateAction,
    "finish": FinishAction,
    "reject": RejectAction,
}
"""What a model may call, by name; arguments are the action's fields."""

SYSTEM: Final = """\
You work on a task in a workspace: a folder with a shell and a Python interpreter. Look before you change,
change in small steps, and check what you did by running it. Say in one sentence why you do a step (`thought`).
When the task is done call `finish` with a short report. Answer without a tool only to ask the person something."""


class ToolAgent:
    """Asks a model that calls tools."""

    def __init__(self, system: str = SYSTEM, tools: Sequence[str] = tuple(TOOLS)) -> None:
        self._system = system
        self._tools = tuple(tools)

    async def step(self, situation: Situation) -> Sequence[Planned]:
        system = "\n\n".join(part for part in (self._system, situation.instructions) if part)
        answer = await situation.model.complete(
            [{"role": "system", "content": system}, *situation.messages],
            [_described(name, situation.agents) for name in self._offered(situation)],
            on_delta=situation.on_delta,
        )
        return plan(answer)

    def _offered(self, situation: Situation) -> list[str]:
        return [name for name in self._tools if name != "delegate" or situation.agents]


Answer = Action | Planned | str
"""What an author's function gives back, or a sequence of these. A text asks the person something."""


@dataclass(frozen=True, slots=True)
class FunctionAgent:
    """An author's function as an agent (`parlour.agent`)."""

    function: Callable[[Situation], Awaitable[Answer | Sequence[Answer]]]

    async def step(self, situation: Situation) -> Sequence[Planned]:
        """Raises `TypeError` for what is no action."""
        answer = await self.function(situation)
        answers = answer if isinstance(answer, list | tuple) else [answer]
        if not answers:
            raise TypeError("an agent gives back at least one action, or a text")
        return [_planned(one) for one in answers]


def _planned(answer: Any) -> Planned:
    if isinstance(answer, Planned):
        return answer
    if isinstance(answer, str):
        return Planned(MessageAction(content=answer, wait=True))
    if not isinstance(answer, Action):
        raise TypeError(f"an agent gives back actions or a text, not {answer!r}")
    return Planned(answer)


def plan(answer: ModelAnswer) -> list[Planned]:
    """The actions in a model's answer. Words without a call are a message that waits for the person."""
    usage = {
        "prompt": answer.usage.prompt,
        "completion": answer.usage.completion,
        "cost": answer.cost,
    }
    if not answer.tool_calls:
        words = answer.text.strip()
        spoken = MessageAction(content=words or "(The model gave no answer.)", wait=True)
        return [Planned(spoken, {"usage": usage})]
    planned = [
        _called(call, answer.text if number == 0 else "")
        for number, call in enumerate(answer.tool_calls)
    ]
    first = planned[0]
    return [Planned(first.action, {**first.record, "usage": usage}, first.mistake), *planned[1:]]


def _called(call: ToolCall, text: str) -> Planned:
    record = {"tool": {"id": call.id, "name": call.name, "arguments": dict(call.arguments)}}
    kind = TOOLS.get(call.name)
    if kind is None:
        return _mistaken(record, f"There is no tool {call.name!r}.")
    given = dict(call.arguments)
    if text.strip() and not given.get("thought") and "thought" in kind.model_fields:
        given["thought"] = text.strip()
    try:
        return Planned(kind.model_validate(given), record)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return _mistaken(record, f"{call.name}: {where}: {first['msg']}")


def _mistaken(record: Mapping[str, Any], mistake: str) -> Planned:
    return Planned(
        ThinkAction(thought=f"A call that cannot be carried out: {mistake}"), record, mistake
    )


def _described(name: str, agents: Sequence[str]) -> Json:
    kind = TOOLS[name]
    schema = kind.model_json_schema()
    schema.pop("title", None)
    schema.pop("description", None)
    if name == "delegate":
        schema["properties"]["agent"] = {"type": "string", "enum": list(agents)}
    about = (kind.__doc__ or name).strip().partition("\n")[0]
    return {
        "type": "function",
        "function": {"name": name, "description": about, "parameters": schema},
    }
