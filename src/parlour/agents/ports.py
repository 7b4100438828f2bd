"""What an agent session asks of the parts it is made of: a workspace, models, memory, a store of files.

A docstring here is the contract. Implementations stand in `agents/runtime`, `agents/llm`,
`agents/memory` and `agents/files`; errors that leave are classes of `parlour.errors` or of
`parlour.agents.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from parlour.core.streams import Event

Json = Mapping[str, Any]

# --------------------------------------------------------------------------------------------------
# The workspace
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a shell command or a cell did.

    `exit_code` is None where it did not end by itself (`timed_out`). `output` is what it printed, both
    channels in the order of printing, valid text, of bounded size; `truncated` says that some of it is
    left out."""

    exit_code: int | None
    output: str
    truncated: bool = False
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the workspace: its path below the workspace's folder, its size in bytes and the time of its last
    change (ms since 1970 UTC)."""

    path: str
    size: int
    modified_at: int = 0
    folder: bool = False


class Runtime(Protocol):
    """A session's workspace: a folder, a shell and a Python interpreter that nobody else sees.

    One command or cell runs at a time; the shell keeps its folder and variables between commands, the
    interpreter its names between cells. Paths are relative to the workspace: one that leads out of it
    (`..`, an absolute path, a symbolic link) raises `WorkspaceEscape`, and nothing is touched. Cancelling
    a call ends what it runs, with everything it started.
    """

    async def open(self) -> None:
        """Ready after this. Raises `RuntimeUnavailable` where the workspace cannot be set up."""
        ...

    async def run(
        self,
        command: str,
        *,
        timeout_s: float,
        on_output: Callable[[str], None] | None = None,
    ) -> CommandResult:
        """Run a shell command; `on_output` hears what it prints, on the event loop, while it runs (bounded as
        the result is)."""
        ...

    async def read_file(self, path: str) -> str:
        """A text file, whole. Raises `NotFound`, `TooLarge`."""
        ...

    async def write_file(self, path: str, text: str) -> None:
        """Create or replace, with the folders that are missing. Raises `TooLarge`."""
        ...

    async def edit_file(self, path: str, old: str, new: str) -> None:
        """Replace the one place where `old` stands. Raises `NotFound`, and `Conflict` where `old` is not there
        exactly once."""
        ...

    async def run_cell(self, code: str, timeout_s: float) -> CommandResult:
        """Run Python; names are kept for the next cell and the last expression is shown. Exit code 1 is an
        exception, its traceback in the output."""
        ...

    async def list_files(self) -> Sequence[FileEntry]:
        """The files of the workspace, sorted by path, of bounded number."""
        ...

    async def close(self) -> None:
        """End every process that was started here; the folder stays. Idempotent."""
        ...


RuntimeFactory = Callable[[str], Runtime]
"""Makes the runtime of a session id; nothing is started before `open`."""

# --------------------------------------------------------------------------------------------------
# Models
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model wants something done: `arguments` are decoded and are an object."""

    id: str
    name: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one answer."""

    prompt: int = 0
    completion: int = 0


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """One answer of a model. `cost` is in US dollars, 0 where no price is known."""

    text: str
    tool_calls: Sequence[ToolCall] = ()
    usage: TokenUsage = field(default_factory=TokenUsage)
    cost: float = 0.0


class Model(Protocol):
    """A language model behind one name."""

    async def complete(
        self,
        messages: Sequence[Json],
        tools: Sequence[Json] = (),
        *,
        on_delta: Callable[[str], None] | None = None,
    ) -> ModelAnswer:
        """Answer a conversation in the form of OpenAI's chat API; `on_delta` hears the text as it comes.

        Raises `ModelLimited` (with `retry_after` seconds), `ModelUnavailable`, `ContextTooLong`,
        `ModelRefused`. Cancelling ends the request."""
        ...


class Registry(Protocol):
    """Models by the names that settings give them."""

    def service(self, name: str) -> Model:
        """Raises `NotFound` for a name that is not configured."""
        ...


# --------------------------------------------------------------------------------------------------
# Memory and files
# --------------------------------------------------------------------------------------------------


class Memory(Protocol):
    """What of a session's history a model is shown."""

    def view(self, events: Sequence[Event], budget: int) -> Sequence[Json]:
        """The messages for `Model.complete` (without the system prompt of the agent), of about `budget` tokens at most.
        A tool call and its result are shown together or not at all; every call has a result. The first
        message of a person and the newest events always are in it. Pure: the same events give the same messages."""
        ...


class FileStore(Protocol):
    """Bytes by path: `/`-separated, relative, never leading out of the store (`WorkspaceEscape`)."""

    async def read(self, path: str) -> bytes:
        """Raises `NotFound`."""
        ...

    async def write(self, path: str, content: bytes) -> None:
        """Create or replace, atomically: a reader sees the old or the new bytes, whole."""
        ...

    async def list(self, prefix: str) -> Sequence[str]:
        """Paths that begin with `prefix`, sorted."""
        ...

    async def delete(self, path: str) -> None:
        """Idempotent."""
        ...
