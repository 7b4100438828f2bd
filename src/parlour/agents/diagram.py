"""Draws the tables of `core.agents` for docs/agents.md.

    python -m parlour.agents.diagram docs/agents.md

replaces what stands between the markers in the page; without a page it prints.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from parlour.core.agents import PHASES, REQUESTS, STATES, USER_ACTIONS, AgentState, Phase


def draw(table: Mapping[Phase, Iterable[Phase]] | Mapping[AgentState, Iterable[AgentState]]) -> str:
    """A state machine as a Mermaid diagram, in the order of the table."""
    order = [str(state) for state in table]
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {order[0]}"]
    for state, following in table.items():
        names = sorted(map(str, following), key=order.index)
        lines += [f"    {state} --> {name}" for name in names]
        if not following:
            lines.append(f"    {state} --> [*]")
    return "\n".join([*lines, "```"])


def list_requests() -> str:
    """What a client may ask for, as a table."""
    lines = ["| `agent_state` | allowed while the agent is | leads to |", "| --- | --- | --- |"]
    for request, (allowed, target) in REQUESTS.items():
        states = ", ".join(f"`{state}`" for state in AgentState if state in allowed)
        lines.append(f"| `{request}` | {states} | `{target}` |")
    return "\n".join(lines)


def list_actions() -> str:
    """What a client may send, as a table."""
    lines = ["| `action` | least role |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| `{name}` | `{role}` |" for name, role in USER_ACTIONS.items())])


PIECES = {
    "phases": lambda: draw(PHASES),
    "states": lambda: draw(STATES),
    "requests": list_requests,
    "user-actions": list_actions,
}


def renew(page: str) -> str:
    """The page with every piece as the tables say."""
    for name, make in PIECES.items():
        pattern = re.compile(rf"(<!-- {name} -->\n)(?:(?!<!--).)*(<!-- end -->)", re.DOTALL)
        piece = make()
        page = pattern.sub(lambda found, piece=piece: f"{found[1]}{piece}\n{found[2]}", page)  # type: ignore[misc]
    return page


def main() -> None:
    if len(sys.argv) > 1:
        path = Path(sys.argv[1])
        path.write_text(renew(path.read_text()))
    else:
        for make in PIECES.values():
            sys.stdout.write(make() + "\n\n")


if __name__ == "__main__":
    main()
