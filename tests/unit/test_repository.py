"""What a clean clone relies on: pinned versions, lock files without hosts, commands that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"[a-z0-9][a-z0-9.-]*==[^\s;@]+")
LOCK_FILES = sorted(
    path for path in ROOT.glob("**/package-lock.json") if "node_modules" not in path.parts
)


def normal(requirement: str) -> str:
    """The name in a requirement, as indexes compare names."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def test_every_dependency_is_pinned_by_name_and_version_alone() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = [requirement for group in groups for requirement in group]

    files = (ROOT / "constraints.txt", ROOT / "constraints-litellm.txt")
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]

    assert [line for line in lines if not PIN.fullmatch(line)] == []
    pinned = {normal(line) for line in lines}
    missing = {normal(name) for name in wanted} - pinned - {"parlour"}
    assert missing == set(), "run `make constraints`"


@pytest.mark.parametrize("lock", LOCK_FILES, ids=lambda lock: str(lock.relative_to(ROOT)))
def test_lock_files_name_no_host(lock: Path) -> None:
    assert '"resolved": "http' not in lock.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_command_that_is_documented_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    documented = set(re.findall(r"`make ([a-z-]+)`|^\$ make ([a-z-]+)", text, re.MULTILINE))
    targets = {first or second for first, second in documented}

    assert targets
    assert {target for target in targets if f"\n{target}:" not in makefile} == set()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_every_linked_page_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")

    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)

    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []
