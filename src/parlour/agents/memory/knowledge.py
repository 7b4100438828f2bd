"""What a workspace tells its agent: instructions that always hold, and knowledge for when it is spoken of.

Instructions are files with known names. Knowledge files stand in `.agents/knowledge`, in Markdown; a head like this
one names the words that call them up, and one without a head is always told:

    ---
    triggers: deploy, release notes
    ---
    Deployments go through `make release`. …

All of it comes out of the workspace, so it is bounded, and shown to the model as what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from parlour.agents.errors import WorkspaceEscape
from parlour.agents.ports import Runtime
from parlour.core.streams import Event
from parlour.errors import Conflict, NotFound, TooLarge

INSTRUCTION_FILES: Final = ("AGENTS.md", ".agents/AGENTS.md", ".parlour/instructions.md")
FOLDER: Final = ".agents/knowledge/"

FILE_CHARACTERS: Final = 10_000
ALL_CHARACTERS: Final = 30_000
FILES: Final = 50

_HEAD = re.compile(r"\A---\n(.*?)\n---\n?", re.DOTALL)
_TRIGGERS = re.compile(r"^triggers:\s*(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class KnowledgeFile:
    """`triggers` are words or phrases in lower case; without one the file is always told."""

    path: str
    text: str
    triggers: tuple[str, ...] = ()

    @classmethod
    def parse(cls, path: str, content: str) -> KnowledgeFile:
        content = content.replace("\r\n", "\n")
        head = _HEAD.match(content)
        found = _TRIGGERS.search(head[1]) if head else None
        words = found[1].strip("[] ").split(",") if found else []
        triggers = tuple(word.strip(" \"'").lower() for word in words if word.strip(" \"'"))
        text = content[head.end() :] if head else content
        return cls(path, bounded(text.strip(), FILE_CHARACTERS), triggers)

    def concerns(self, words: str) -> bool:
        """Whether one of its triggers stands in a text, as a word of its own."""
        lowered = words.lower()
        return not self.triggers or any(
            re.search(rf"(?<!\w){re.escape(trigger)}(?!\w)", lowered) for trigger in self.triggers
        )


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What was found in a workspace."""

    files: Sequence[KnowledgeFile] = ()

    def recall(self, said: Iterable[str]) -> str:
        """The part that concerns what people said, for the instructions of a model; "" where nothing does."""
        words = "\n".join(said)
        parts, left = [], ALL_CHARACTERS
        for file in self.files:
            if file.text and file.concerns(words) and left > 0:
                text = bounded(file.text, left)
                left -= len(text)
                parts.append(f"From the workspace's file {file.path}:\n{text}")
        return "\n\n".join(parts)


def words_of_people(history: Sequence[Event]) -> list[str]:
    """What people wrote to the agent."""
    return [
        str((event.data.get("args") or {}).get("content", ""))
        for event in history
        if event.type == "action:message" and event.source.startswith("user:")
    ]


async def load_knowledge(runtime: Runtime) -> Knowledge:
    """Read an open workspace. What cannot be read is left out."""
    there = {entry.path for entry in await runtime.list_files() if not entry.folder}
    wanted: list[str] = [path for path in INSTRUCTION_FILES if path in there]
    wanted += sorted(path for path in there if path.startswith(FOLDER) and path.endswith(".md"))
    found = []
    for path in wanted[:FILES]:
        try:
            found.append(KnowledgeFile.parse(path, await runtime.read_file(path)))
        except (NotFound, Conflict, TooLarge, WorkspaceEscape):
            continue
    return Knowledge(tuple(found))


def bounded(text: str, limit: int) -> str:
    """The beginning of a text that is too long, with a line that says so."""
    return text if len(text) <= limit else f"{text[:limit]}\n[… the rest is left out …]"
