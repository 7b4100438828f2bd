"""The runtime on this machine: a folder per session, and a keeper for what runs in it."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from parlour.agents.errors import RuntimeUnavailable
from parlour.agents.ports import CommandResult, FileEntry, RuntimeFactory
from parlour.agents.runtime.limits import RuntimeLimits
from parlour.agents.runtime.link import KeeperLink, OnOutput, Place
from parlour.agents.runtime.sandbox import (
    Choice,
    Sandbox,
    choose_python,
    choose_sandbox,
    reachable,
    workspace_user,
)
from parlour.agents.runtime.survivors import MARK
from parlour.agents.runtime.workspace import Workspace
from parlour.errors import InvalidPayload

if TYPE_CHECKING:
    from parlour.config import Settings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")

P = ParamSpec("P")
T = TypeVar("T")

SEARCH_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


class LocalRuntime:
    """See the `Runtime` port. Processes start with the first command or cell, so a session that only
    talks costs a folder. A workspace whose processes died (it may kill them itself) gets new ones with
    the next command."""

    def __init__(
        self,
        session_id: str,
        folder: Path,
        *,
        limits: RuntimeLimits | None = None,
        sandbox: Choice = "auto",
        network: bool = False,
        python: str = "",
    ) -> None:
        if not _NAME.match(session_id):
            raise InvalidPayload("A session with this id cannot have a workspace.")
        self._limits = limits or RuntimeLimits()
        self._choice: Choice = sandbox
        self._network = network
        self._python = python
        self._place: Place | None = None
        self._link: KeeperLink | None = None
        self._turn = asyncio.Lock()
        self._closed = False
        root = folder.absolute() / session_id
        self._files = Workspace(
            root, workspace_user(root), self._limits.read_bytes, self._limits.listed_files
        )

    @property
    def folder(self) -> Path:
        """The workspace's folder on this machine."""
        return self._files.root

    @property
    def sandbox(self) -> Sandbox:
        """How its processes are kept; known after `open`."""
        return self._opened().sandbox

    # -- its life --------------------------------------------------------------------------------

    async def open(self) -> None:
        self._closed = False
        if self._place is None:
            self._place = await asyncio.to_thread(self._prepare)

    async def close(self) -> None:
        self._closed = True
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def _prepare(self) -> Place:
        sandbox = choose_sandbox(self._choice, network=self._network)
        self._files.create()
        user = self._files.user
        if not sandbox.confines and user is not None and not reachable(self._files.root):
            raise RuntimeUnavailable(
                "The folder of the workspaces is closed to their users: open the folders above it "
                "(chmod o+x), choose another one, or install bubblewrap."
            )
        python = choose_python(sandbox)
        wanted = choose_python(sandbox, self._python) if self._python else python
        mark = secrets.token_hex(16)
        folder = sandbox.folder(self._files.root)
        environment = _environment(folder, wanted, mark)
        return Place(
            self._files.root, folder, sandbox, python, wanted, user, self._limits, mark, environment
        )

    def _opened(self) -> Place:
        if self._place is None or self._closed:
            raise RuntimeUnavailable("The workspace is closed.")
        return self._place

    # -- what runs in it -------------------------------------------------------------------------

    async def run(
        self, command: str, *, timeout_s: float, on_output: OnOutput | None = None
    ) -> CommandResult:
        return await self._run("shell", command, timeout_s, on_output)

    async def run_cell(
        self, code: str, timeout_s: float, on_output: OnOutput | None = None
    ) -> CommandResult:
        return await self._run("cell", code, timeout_s, on_output)

    async def _run(
        self, console: str, text: str, timeout_s: float, on_output: OnOutput | None
    ) -> CommandResult:
        async with self._turn:
            link = await self._linked()
            result = await link.run(console, text, timeout_s=timeout_s, on_output=on_output)
        if self._closed:
            raise RuntimeUnavailable("The workspace was closed while this ran.")
        return result

    async def _linked(self) -> KeeperLink:
        place = self._opened()
        if self._link is not None and not self._link.alive:
            await self._link.close()
            self._link = None
        if self._link is None:
            link = KeeperLink(place)
            await link.start()
            if self._closed:
                await link.close()
                raise RuntimeUnavailable("The workspace is closed.")
            self._link = link
        return self._link

    # -- its files -------------------------------------------------------------------------------

    async def read_file(self, path: str) -> str:
        content = await self._in_thread(self._files.read, path)
        # No zero bytes: databases refuse them in text.
        return content.decode("utf-8", "replace").replace("\0", "\ufffd")

    async def write_file(self, path: str, text: str) -> None:
        await self._in_thread(self._files.write, path, text.encode("utf-8", "replace"))

    async def edit_file(self, path: str, old: str, new: str) -> None:
        await self._in_thread(
            self._files.edit, path, old.encode("utf-8", "replace"), new.encode("utf-8", "replace")
        )

    async def list_files(self) -> Sequence[FileEntry]:
        return await self._in_thread(self._files.entries)

    async def _in_thread(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self._opened()
        return await asyncio.to_thread(act, *args, **kwargs)


def local_runtimes(settings: Settings) -> RuntimeFactory:
    """Workspaces on this machine, as the settings want them."""
    folder = settings.agent_workspaces or settings.data_folder / "workspaces"
    limits = RuntimeLimits(
        output_bytes=settings.agent_output_bytes,
        processes=settings.agent_processes,
        memory_bytes=settings.agent_memory_bytes,
        file_bytes=settings.agent_file_bytes,
    )
    return lambda session_id: LocalRuntime(
        session_id,
        folder,
        limits=limits,
        sandbox=settings.agent_sandbox,
        network=settings.agent_network,
        python=settings.agent_python,
    )


def _environment(folder: str, python: str, mark: str) -> dict[str, str]:
    """All that a workspace's processes know of the server's environment: nothing."""
    return {
        "PATH": f"{os.path.dirname(python)}:{SEARCH_PATH}",
        "HOME": folder,
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        # Programs that draw on the screen or wait for a key are of no use to a reader of text.
        "TERM": "dumb",
        "PAGER": "cat",
        "GIT_PAGER": "cat",
        "GIT_TERMINAL_PROMPT": "0",
        "DEBIAN_FRONTEND": "noninteractive",
        "PYTHONDONTWRITEBYTECODE": "1",
        MARK: mark,
    }
