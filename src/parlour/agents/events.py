"""The events of an agent session: actions (what somebody wants done) and observations (what came of it).

In the stream an event's type is `action:{name}` or `observation:{name}` and its data are the object that
clients get: `{action, args, message, …}` or `{observation, content, extras, message}`. `parse` gives back the
typed form; what it cannot read is skipped by whoever reads the stream, one event at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from parlour.core.agents import AgentState, InputPolicy, Request
from parlour.core.streams import Event
from parlour.errors import InvalidPayload

Text = Annotated[str, StringConstraints(max_length=1_000_000)]
Path = Annotated[str, StringConstraints(min_length=1, max_length=1_000)]


class Action(BaseModel):
    """Base of every action; its fields are the `args` on the wire."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    name: ClassVar[str]

    @property
    def message(self) -> str:
        """One line for people."""
        return self.name

    def to_data(self) -> dict[str, Any]:
        args = self.model_dump(mode="json", exclude_none=True)
        return {"action": self.name, "args": args, "message": self.message}


class Observation(BaseModel):
    """Base of every observation; its fields but `content` are the `extras` on the wire."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    name: ClassVar[str]

    content: str = ""

    @property
    def message(self) -> str:
        """One line for people."""
        return _line(self.content)

    def to_data(self) -> dict[str, Any]:
        extras = self.model_dump(mode="json", exclude_none=True, exclude={"content"})
        return {
            "observation": self.name,
            "content": self.content,
            "extras": extras,
            "message": self.message,
        }


def _line(text: str, limit: int = 200) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= limit else line[: limit - 1] + "…"


# -- what people send ------------------------------------------------------------------------------


class MessageAction(Action):
    """Words of a person or of the agent. `wait` (the agent's): it has nothing to do until somebody answers.
    `policy` (a person's): overrides the session's policy for input during a run."""

    name = "message"
    content: Annotated[str, StringConstraints(min_length=1, max_length=1_000_000)]
    wait: bool = False
    policy: InputPolicy | None = None

    @property
    def message(self) -> str:
        return _line(self.content)


class CommentAction(Action):
    """Words for the people who watch; the agent does not read them."""

    name = "comment"
    content: Annotated[str, StringConstraints(min_length=1, max_length=10_000)]

    @property
    def message(self) -> str:
        return _line(self.content)


class ChangeStateAction(Action):
    """Somebody asks for a change of the agent's state. `ask_id` is the action that a confirmation is about."""

    name = "change_agent_state"
    agent_state: Request
    ask_id: int | None = None

    @property
    def message(self) -> str:
        return _REQUESTED[self.agent_state]


_REQUESTED: Final[Mapping[Request, str]] = {
    Request.RESUME: "Go on",
    Request.PAUSE: "Pause",
    Request.STOP: "Stop",
    Request.CONFIRM: "Yes, do it",
    Request.REJECT: "No, leave it",
}


# -- what agents do --------------------------------------------------------------------------------


class RunAction(Action):
    """A shell command in the workspace."""

    name = "run"
    command: Annotated[str, StringConstraints(min_length=1, max_length=100_000)]
    timeout: Annotated[float, Field(gt=0, le=86_400)] | None = None
    thought: Text = ""

    @property
    def message(self) -> str:
        return f"Running: {_line(self.command)}"


class CellAction(Action):
    """Python in the session's interpreter."""

    name = "run_ipython"
    code: Annotated[str, StringConstraints(min_length=1, max_length=100_000)]
    timeout: Annotated[float, Field(gt=0, le=86_400)] | None = None
    thought: Text = ""

    @property
    def message(self) -> str:
        return f"Running Python: {_line(self.code)}"


class ReadAction(Action):
    """A file of the workspace."""

    name = "read"
    path: Path
    thought: Text = ""

    @property
    def message(self) -> str:
        return f"Reading {self.path}"


class WriteAction(Action):
    """Create or replace a file of the workspace."""

    name = "write"
    path: Path
    content: Text
    thought: Text = ""

    @property
    def message(self) -> str:
        return f"Writing {self.path}"


class EditAction(Action):
    """Replace the one place where `old` stands in a file."""

    name = "edit"
    path: Path
    old: Annotated[str, StringConstraints(min_length=1, max_length=1_000_000)]
    new: Text
    thought: Text = ""

    @property
    def message(self) -> str:
        return f"Editing {self.path}"


class ThinkAction(Action):
    """A thought; nothing is done."""

    name = "think"
    thought: Text

    @property
    def message(self) -> str:
        return _line(self.thought)


class FinishAction(Action):
    """The task is done; a sub-agent's words go to the agent that asked it."""

    name = "finish"
    content: Text = ""
    outputs: dict[str, Any] = Field(default_factory=dict)

    @property
    def message(self) -> str:
        return _line(self.content) or "Finished"


class RejectAction(Action):
    """The agent will not do the task."""

    name = "reject"
    content: Text = ""

    @property
    def message(self) -> str:
        return _line(self.content) or "Rejected"


class DelegateAction(Action):
    """Give a task to another agent; its events land in the same stream."""

    name = "delegate"
    agent: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    task: Text
    thought: Text = ""

    @property
    def message(self) -> str:
        return f"Asking {self.agent}: {_line(self.task)}"


# -- what came of it -------------------------------------------------------------------------------


class RunObservation(Observation):
    """What a command printed. `exit_code` None: it did not end by itself."""

    name = "run"
    command: str = ""
    exit_code: int | None = None
    truncated: bool = False
    timed_out: bool = False
    interrupted: bool = False

    @property
    def message(self) -> str:
        ended = "did not end" if self.exit_code is None else f"ended with {self.exit_code}"
        return f"The command {ended}"


class CellObservation(RunObservation):
    """What a cell printed and gave."""

    name = "run_ipython"

    @property
    def message(self) -> str:
        return "The cell failed" if self.exit_code else "The cell ran"


class ReadObservation(Observation):
    """A file's text; `content` may be cut (`truncated`)."""

    name = "read"
    path: str = ""
    truncated: bool = False

    @property
    def message(self) -> str:
        return f"Read {self.path}"


class WriteObservation(Observation):
    """A file was written. `before` is its text until then (None: it is new), where that is short."""

    name = "write"
    path: str = ""
    before: str | None = None

    @property
    def message(self) -> str:
        return f"Wrote {self.path}"


class EditObservation(Observation):
    """A file was edited; `diff` is a unified difference."""

    name = "edit"
    path: str = ""
    diff: str = ""

    @property
    def message(self) -> str:
        return f"Edited {self.path}"


class ThinkObservation(Observation):
    """The thought was noted."""

    name = "think"


class DelegateObservation(Observation):
    """What a sub-agent answered."""

    name = "delegate"
    agent: str = ""
    outputs: dict[str, Any] = Field(default_factory=dict)


class UserRejectedObservation(Observation):
    """A person refused the action, or wanted something else instead; it was not carried out."""

    name = "user_rejected"
    action_id: int


class ErrorObservation(Observation):
    """Something went wrong. `code` is stable; `reference` finds the traceback in the log of the server."""

    name = "error"
    code: str = "error"
    reference: str | None = None
    retryable: bool = False


class StateObservation(Observation):
    """The agent's state changed. `began` starts a new run (limits count from here); `ask_id` is the action about
    which people are asked; `resume_at` (ms) says when a rate-limited agent goes on; `user` is who asked."""

    name = "agent_state_changed"
    agent_state: AgentState
    reason: str = ""
    began: bool | None = None
    confirmed: bool | None = None
    ask_id: int | None = None
    resume_at: int | None = None
    user: dict[str, str] | None = None

    @property
    def message(self) -> str:
        return f"The agent is {str(self.agent_state).replace('_', ' ')}"


class InputTakenObservation(Observation):
    """The agent takes these messages into account from here on."""

    name = "input_taken"
    ids: list[int]

    @property
    def message(self) -> str:
        return "Took a message" if len(self.ids) == 1 else f"Took {len(self.ids)} messages"


class StatusObservation(Observation):
    """Something about the session itself: `phase` of its set-up, `moved` to another node, `limit`, …"""

    name = "status"
    status: str
    node: str | None = None
    detail: dict[str, Any] | None = None


class CondensationObservation(Observation):
    """Events up to `through` were forgotten; `content` is their summary."""

    name = "condensation"
    through: int


AnyAction = (
    MessageAction
    | CommentAction
    | ChangeStateAction
    | RunAction
    | CellAction
    | ReadAction
    | WriteAction
    | EditAction
    | ThinkAction
    | FinishAction
    | RejectAction
    | DelegateAction
)
AnyObservation = (
    RunObservation
    | CellObservation
    | ReadObservation
    | WriteObservation
    | EditObservation
    | ThinkObservation
    | DelegateObservation
    | UserRejectedObservation
    | ErrorObservation
    | StateObservation
    | InputTakenObservation
    | StatusObservation
    | CondensationObservation
)

ACTIONS: Final[Mapping[str, type[Action]]] = {one.name: one for one in AnyAction.__args__}
OBSERVATIONS: Final[Mapping[str, type[Observation]]] = {
    one.name: one for one in AnyObservation.__args__
}

Source = Literal["user", "agent", "environment"]


def event_type(event: Action | Observation) -> str:
    """The type under which an event stands in the stream."""
    kind = "action" if isinstance(event, Action) else "observation"
    return f"{kind}:{event.name}"


def parse(event: Event) -> Action | Observation:
    """The typed form of a stored event. Raises `InvalidPayload` where it cannot be read."""
    return parse_data(event.data)


def parse_data(data: Mapping[str, Any]) -> Action | Observation:
    """The typed form of `{action, args}` or `{observation, content, extras}`. Raises `InvalidPayload`."""
    try:
        if "action" in data:
            return ACTIONS[data["action"]].model_validate(data.get("args") or {})
        given = {**(data.get("extras") or {}), "content": data.get("content", "")}
        return OBSERVATIONS[data["observation"]].model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidPayload(f"{where}: {first['msg']}") from None
    except (KeyError, TypeError) as error:
        raise InvalidPayload("This is neither an action nor an observation.") from error


def source_of(event: Event) -> Source:
    """Who an event comes from, as clients see it."""
    if event.source.startswith("user:"):
        return "user"
    return "agent" if event.source.startswith("agent:") else "environment"
