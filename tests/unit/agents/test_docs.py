"""The page about agents says what the code does."""

from __future__ import annotations

from pathlib import Path

from parlour.agents.diagram import renew
from parlour.agents.events import ACTIONS, OBSERVATIONS
from parlour.agents.session_settings import Wanted

PAGE = (Path(__file__).parents[3] / "docs" / "agents.md").read_text()


def test_the_diagrams_are_drawn_from_the_tables() -> None:
    # python -m parlour.agents.diagram docs/agents.md
    assert renew(PAGE) == PAGE


def test_every_event_and_every_setting_is_documented() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    documented = " ".join(line.split("|")[1] for line in rows)

    assert [name for name in (*ACTIONS, *OBSERVATIONS) if f"`{name}`" not in documented] == []
    assert [name for name in Wanted.model_fields if f"`{name}`" not in PAGE] == []
