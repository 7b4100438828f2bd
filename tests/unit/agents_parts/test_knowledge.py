"""What a workspace tells its agent."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from parlour.agents.memory import Knowledge, KnowledgeFile, load_knowledge
from parlour.agents.memory.knowledge import ALL_CHARACTERS, FILE_CHARACTERS
from parlour.agents.runtime import LocalRuntime


def test_a_head_names_the_triggers() -> None:
    file = KnowledgeFile.parse("k.md", "---\ntriggers: Deploy, 'release notes'\n---\nUse make.\n")

    assert file == KnowledgeFile("k.md", "Use make.", ("deploy", "release notes"))


@pytest.mark.parametrize("content", ["Use make.", "---\nauthor: x\n---\nUse make."])
def test_without_triggers_it_is_always_told(content: str) -> None:
    file = KnowledgeFile.parse("k.md", content)

    assert file.text == "Use make."
    assert file.concerns("anything")


@pytest.mark.parametrize(
    ("said", "called_up"),
    [
        ("please DEPLOY it", True),
        ("deploy.", True),
        ("redeployment", False),
        ("write release notes", True),
        ("release the notes", False),
    ],
)
def test_a_trigger_is_a_word_of_its_own(said: str, called_up: bool) -> None:
    file = KnowledgeFile("k.md", "Use make.", ("deploy", "release notes"))

    assert file.concerns(said) == called_up


def test_only_what_is_spoken_of_is_recalled() -> None:
    knowledge = Knowledge(
        [
            KnowledgeFile("AGENTS.md", "Always test."),
            KnowledgeFile("d.md", "Deploy so.", ("deploy",)),
            KnowledgeFile("s.md", "Sell so.", ("sell",)),
        ]
    )

    assert knowledge.recall(["Now deploy it."]) == (
        "From the workspace's file AGENTS.md:\nAlways test.\n\n"
        "From the workspace's file d.md:\nDeploy so."
    )


def test_knowledge_is_bounded() -> None:
    big = [KnowledgeFile.parse(f"{n}.md", "x" * 50_000) for n in range(10)]

    recalled = Knowledge(big).recall(["x"])

    assert len(big[0].text) <= FILE_CHARACTERS + 100
    assert len(recalled) <= ALL_CHARACTERS + 1_000


@pytest.fixture
def workspace() -> Iterator[Path]:
    """A workspace's folder; its users can pass through the one above it, other than pytest's own."""
    above = Path(tempfile.mkdtemp(prefix="parlour-knowledge-"))
    above.chmod(0o711)
    knowledge = above / "s" / ".agents" / "knowledge"
    knowledge.mkdir(parents=True)
    (above / "s" / "AGENTS.md").write_text("Always test.")
    (knowledge / "deploy.md").write_text("---\ntriggers: deploy\n---\nUse make.")
    (knowledge / "link.md").symlink_to("/etc/passwd")
    (knowledge / "picture.png").write_bytes(b"\x89PNG")
    yield above / "s"
    shutil.rmtree(above)


async def test_it_is_found_in_the_workspace(workspace: Path) -> None:
    runtime = LocalRuntime(workspace.name, workspace.parent)
    await runtime.open()

    found = await load_knowledge(runtime)

    await runtime.close()
    assert [file.path for file in found.files] == ["AGENTS.md", ".agents/knowledge/deploy.md"]
