"""The author's pages under test: every name is documented, and every example runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import parlour as cl
from parlour import input_widget

DOCS = Path(__file__).parents[3] / "docs"
PYTHON = re.findall(r"^```python\n(.*?)^```$", (DOCS / "tutorial.md").read_text(), re.M | re.S)
BLOCKS = [block for block in PYTHON if "def test_" not in block]
TESTS = [block for block in PYTHON if "def test_" in block]
NAMES = next(block for block in BLOCKS if "AskUserMessage" in block)
UNDOCUMENTED = {"__version__", "context", "InputWidget"}


def test_every_public_name_is_in_the_authors_page() -> None:
    page = (DOCS / "author-api.md").read_text()
    names = {*cl.__all__, *input_widget.__all__} - UNDOCUMENTED

    missing = [name for name in sorted(names) if not re.search(rf"\b{name}\b", page)]

    assert missing == []


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_block_of_the_tutorial_is_an_app(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLOUR_DATA_FOLDER", str(tmp_path))
    path = tmp_path / f"chapter_{number}.py"
    path.write_text(BLOCKS[number])

    assert cl.load_app(path).handles("on_message")


async def test_the_tests_of_the_tutorial_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.py").write_text(NAMES)
    namespace: dict[str, Any] = {}
    for block in TESTS:
        exec(block, namespace)
    tests = [value for name, value in namespace.items() if name.startswith("test_")]
    for test in tests:
        await test()

    assert len(tests) == 2


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in ("tutorial.md", "author-api.md"):
        for target in re.findall(r"\]\(([a-z-]+\.md)\)", (DOCS / page).read_text()):
            assert (DOCS / target).is_file(), f"{page} → {target}"
