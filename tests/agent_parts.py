"""Small parts for tests of agent sessions: a model that says what it is told, a workspace in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from parlour.agents.handlers import arrive, routes
from parlour.agents.ports import (
    CommandResult,
    FileEntry,
    Json,
    Model,
    ModelAnswer,
    TokenUsage,
    ToolCall,
)
from parlour.agents.service import Agents
from parlour.agents.web_session import WebSession
from parlour.chat.application import ChatApp
from parlour.chat.registry import Registry as ChatRegistry
from parlour.config import Settings
from parlour.core.agents import AgentState
from parlour.core.streams import Event
from parlour.core.users import User
from parlour.errors import Conflict, NotFound
from parlour.ports import UserRecord
from parlour.server.node import Node, run_node

PATIENCE_S = 60.0
"""How long a test waits for something that must happen on a busy machine."""

Reply = ModelAnswer | Exception | Callable[[Sequence[Json]], Any]


def call(name: str, text: str = "", cost: float = 0.0, **arguments: Any) -> ModelAnswer:
    """An answer that calls one tool."""
    call_id = f"call-{name}-{abs(hash(str(arguments))) % 10_000}"
    usage = TokenUsage(10, 5)
    return ModelAnswer(text, (ToolCall(call_id, name, arguments),), usage, cost)


def words(text: str) -> ModelAnswer:
    """An answer without a tool: the agent asks the person."""
    return ModelAnswer(text, (), TokenUsage(10, 5))


class ToldModel:
    """Gives one reply after the other; when there are no more it finishes. Keeps what it was shown."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.shown: list[list[Json]] = []

    async def complete(
        self,
        messages: Sequence[Json],
        tools: Sequence[Json] = (),
        *,
        on_delta: Callable[[str], None] | None = None,
    ) -> ModelAnswer:
        self.shown.append(list(messages))
        reply: Any = self.replies.pop(0) if self.replies else call("finish", content="done")
        if callable(reply):
            reply = reply(messages)
        if asyncio.iscoroutine(reply):
            reply = await reply
        if isinstance(reply, Exception):
            raise reply
        assert isinstance(reply, ModelAnswer)
        if on_delta is not None and reply.text:
            for piece in reply.text.split(" "):
                on_delta(f"{piece} ")
        return reply


class Models:
    """A registry of models by name."""

    def __init__(self, default: Model) -> None:
        self.models = {"default": default}

    def service(self, name: str) -> Model:
        if name not in self.models:
            raise NotFound("There is no such model.")
        return self.models[name]


class PlainMemory:
    """Shows everything, one message per event."""

    def view(self, events: Sequence[Event], budget: int) -> Sequence[Json]:
        return [
            {
                "role": "user" if event.source.startswith("user:") else "assistant",
                "content": f"{event.type} {event.data.get('message', '')}",
            }
            for event in events
        ]


class Workspace:
    """A runtime in memory. Commands: `echo …`, `wait` (until told or ended), `fail`."""

    def __init__(self, session_id: str = "") -> None:
        self.session_id = session_id
        self.files: dict[str, str] = {}
        self.commands: list[str] = []
        self.opened = 0
        self.closed = 0
        self.waiting = asyncio.Event()
        self.go_on = asyncio.Event()

    async def open(self) -> None:
        self.opened += 1

    async def run(
        self, command: str, *, timeout_s: float, on_output: Callable[[str], None] | None = None
    ) -> CommandResult:
        self.commands.append(command)
        if command == "wait":
            self.waiting.set()
            if on_output is not None:
                on_output("begun ")
            await self.go_on.wait()
            return CommandResult(0, "waited")
        if command == "fail":
            raise RuntimeError("/secret/path of the server")
        return CommandResult(0, command.removeprefix("echo "))

    async def run_cell(self, code: str, timeout_s: float) -> CommandResult:
        return CommandResult(0, code)

    async def read_file(self, path: str) -> str:
        if path not in self.files:
            raise NotFound("There is no such file.")
        return self.files[path]

    async def write_file(self, path: str, text: str) -> None:
        self.files[path] = text

    async def edit_file(self, path: str, old: str, new: str) -> None:
        text = await self.read_file(path)
        if text.count(old) != 1:
            raise Conflict("The text is not there exactly once.")
        self.files[path] = text.replace(old, new)

    async def list_files(self) -> Sequence[FileEntry]:
        return [FileEntry(path, len(text)) for path, text in sorted(self.files.items())]

    async def close(self) -> None:
        self.closed += 1


class Stage:
    """A node with agents, and what its sessions work with."""

    def __init__(
        self,
        node: Node,
        model: ToldModel,
        workspaces: dict[str, Workspace],
        models: Models,
        model_name: str = "default",
    ) -> None:
        self.node = node
        self.model = model
        self.workspaces = workspaces
        self.models = models
        self.model_name = model_name

    @asynccontextmanager
    async def scene(self, *replies: Reply) -> AsyncIterator[Stage]:
        """The same node, with a model of its own."""
        name, model = self.node.new_id(), ToldModel(*replies)
        self.models.models[name] = model
        yield Stage(self.node, model, self.workspaces, self.models, name)

    @property
    def agents(self) -> Agents:
        return self.node.part(Agents)

    async def user(self, name: str = "ann") -> User:
        record = await self.node.users.user_by_login(name)
        if record is None:
            record = await self.node.users.add_user(UserRecord(self.node.new_id(), name))
        return User(record.id, record.name)

    async def begin(self, message: str = "", name: str = "ann", **settings: Any) -> Talk:
        user = await self.user(name)
        session_id = settings.pop("session_id", None) or self.node.new_id()
        replay = settings.pop("replay_json", None)
        settings.setdefault("confirmation", "never")
        settings.setdefault("model", self.model_name)
        web = WebSession(session_id, sio=self.agents, user_id=user.id)
        await web.initialize_agent(settings, message or None, replay)
        return Talk(self, session_id, user)


class Talk:
    """One person's view of one session."""

    def __init__(self, stage: Stage, session_id: str, user: User) -> None:
        self.stage = stage
        self.id = session_id
        self.user = user

    @property
    def workspace(self) -> Workspace:
        return self.stage.workspaces[self.id]

    async def send(self, action: str, command_id: str | None = None, **args: Any) -> dict[str, Any]:
        web = self.stage.agents.session(self.id)
        return await web.dispatch({"action": action, "args": args}, self.user, command_id)

    async def say(self, text: str, **args: Any) -> dict[str, Any]:
        return await self.send("message", content=text, **args)

    async def ask_for(self, state: str, **args: Any) -> dict[str, Any]:
        return await self.send("change_agent_state", agent_state=state, **args)

    async def events(self) -> list[Event]:
        log, stream = self.stage.node.log, f"agent:{self.id}"
        found: list[Event] = []
        after = None
        while True:
            page = await log.read(stream, after, 500)
            found += page.events
            after = page.position
            if page.position == page.head:
                return found

    async def types(self) -> list[str]:
        """What happened, in short; states by name."""
        return [_short(event) for event in await self.events() if "status" not in event.type]

    async def until(self, condition: Callable[[Any], bool]) -> Any:
        """Wait until the fold of the session satisfies a condition."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                state = await self.stage.agents.state_of(self.id)
                if condition(state):
                    return state
                await asyncio.sleep(0.005)

    async def until_state(self, *wanted: AgentState | str) -> Any:
        """Wait until the agent rests in a state with nothing left to do."""
        return await self.until(
            lambda state: state.state in wanted and not state.inputs and not state.requests
        )


def _short(event: Event) -> str:
    name = event.type.partition(":")[2]
    if name == "agent_state_changed":
        return f"={event.data['extras']['agent_state']}"
    return f"{'!' if event.type.startswith('action') else '>'}{name}"


@asynccontextmanager
async def stage(folder: Path, *replies: Reply, **overrides: Any) -> AsyncIterator[Stage]:
    """A node of its own. `overrides` are settings."""
    model = ToldModel(*replies)
    models = Models(model)
    workspaces: dict[str, Workspace] = {}

    def workspace(session_id: str) -> Workspace:
        return workspaces.setdefault(session_id, Workspace(session_id))

    def part(node: Node) -> Agents:
        agents = Agents(
            node,
            llm_registry=models,
            runtimes=workspace,
            memory=PlainMemory(),
            tables=[routes],
        )
        node.gateway.arrivals.append(lambda connection: arrive(node, connection))
        return agents

    settings = Settings(data_folder=folder, **overrides)
    async with run_node(settings, ChatApp(ChatRegistry()), parts=(part,)) as node:
        yield Stage(node, model, workspaces, models)
