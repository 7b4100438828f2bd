"""`parlour replay`: a recorded agent session as a regression test."""

from __future__ import annotations

import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parlour.cli.console import err, out, run_async
from parlour.errors import CommandError, SettingsError

if TYPE_CHECKING:
    from parlour.agents.recording import Trajectory
    from parlour.agents.rehearsal import Rehearsal


def replay(
    files: Annotated[list[Path], typer.Argument(help="Trajectories, as the export gives them.")],
) -> None:
    """Run recorded agent sessions against the controller, without a model and without a workspace.

    Compares what happens now with what was recorded; the exit code is 1 where it differs.
    """
    from parlour.telemetry import configure_logging

    configure_logging("console", "error")
    different = 0
    for path in files:
        rehearsal = run_async(_rehearse(_read(path)))
        different += bool(rehearsal.differences)
        _tell(path, rehearsal)
    if different:
        sys.exit(1)


def _read(path: Path) -> Trajectory:
    from parlour.agents.recording import parse_trajectory

    try:
        return parse_trajectory(path.read_bytes())
    except OSError as error:
        raise SettingsError([f"{path} cannot be read: {error.strerror}"]) from None
    except CommandError as error:
        raise SettingsError([f"{path}: {error.message}"]) from None


async def _rehearse(trajectory: Trajectory) -> Rehearsal:
    """On a node of its own that is thrown away."""
    from parlour.agents.assembly import make_agents
    from parlour.agents.rehearsal import rehearse
    from parlour.agents.service import Agents
    from parlour.chat.application import ChatApp
    from parlour.chat.registry import Registry
    from parlour.config import Settings
    from parlour.server.node import run_node

    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="parlour-replay-"))
        settings = Settings(data_folder=Path(folder), durability="memory")
        app = ChatApp(Registry())
        node = await stack.enter_async_context(run_node(settings, app, parts=(make_agents,)))
        user = await node.accounts.add_user("replay", node.new_id())
        return await rehearse(node.part(Agents), trajectory, user.id)


def _tell(path: Path, rehearsal: Rehearsal) -> None:
    if not rehearsal.differences:
        out.print(f"{path}: {len(rehearsal.expected)} events, as recorded", highlight=False)
        return
    err.print(f"{path}: differs", highlight=False)
    for difference in rehearsal.differences:
        err.print(f"  {difference}", highlight=False, markup=False)
