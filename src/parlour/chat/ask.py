"""Questions to the person: a text, a choice, a file.

A question is durable: it survives a reconnect and can be answered from any tab, once. `send` gives
back None when nobody answered within `timeout` seconds, or raises TimeoutError with
`raise_on_timeout`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from parlour.chat.action import Action
from parlour.chat.authors import sign
from parlour.chat.context import ParlourContext, get_context
from parlour.chat.copies import copy_file
from parlour.chat.text import clean
from parlour.chat.user_session import note_changes
from parlour.errors import Conflict

ASK_TIMEOUT: Final = 60.0
FILE_TIMEOUT: Final = 90.0


class AskUserResponse(TypedDict):
    """A text answer: `output` is the text, `name` and `user_id` say who gave it."""

    id: str
    name: str
    user_id: str
    output: str
    type: str


class AskActionResponse(TypedDict):
    """The action that was chosen."""

    id: str
    name: str
    payload: dict[str, Any]
    label: str
    tooltip: str
    forId: str
    user_name: str


@dataclass(frozen=True, slots=True)
class AskFileResponse:
    """A file that was given. `path` is a copy that lives as long as the run; `type` is its MIME
    type."""

    id: str
    name: str
    path: str
    size: int
    type: str
    url: str

    @property
    def mime(self) -> str:
        return self.type


class AskMessage:
    """What the three questions have in common."""

    def __init__(
        self, content: str, author: str | None, timeout: float, raise_on_timeout: bool
    ) -> None:
        if timeout <= 0:
            raise ValueError("timeout has to be more than 0 seconds")
        self.content = clean(content)
        self.author = author
        self.timeout = timeout
        self.raise_on_timeout = raise_on_timeout

    def _spec(self) -> dict[str, Any]:
        raise NotImplementedError

    async def _ask(self) -> tuple[ParlourContext, Mapping[str, Any]] | None:
        found = get_context()
        if found.run is None:
            raise Conflict("A question needs a run: ask inside a handler.")
        # The answer may take long: what is in the session by now survives the node.
        note_changes(found)
        reply = await found.run.ask(
            self._spec(),
            self.content,
            author=await sign(found, self.author),
            timeout=min(self.timeout, found.node.settings.max_ask_timeout_seconds),
        )
        if reply is None and self.raise_on_timeout:
            raise TimeoutError(f"nobody answered within {self.timeout:g} seconds")
        return (found, reply) if reply is not None else None


class AskUserMessage(AskMessage):
    """Ask for a text."""

    def __init__(
        self,
        content: str,
        author: str | None = None,
        timeout: float = ASK_TIMEOUT,
        raise_on_timeout: bool = False,
    ) -> None:
        super().__init__(content, author, timeout, raise_on_timeout)

    async def send(self) -> AskUserResponse | None:
        """Ask and wait. The answer also appears in the conversation as the person's message."""
        replied = await self._ask()
        if replied is None:
            return None
        _, reply = replied
        by = reply["answered_by"]
        return AskUserResponse(
            id=str(reply.get("ask_id") or ""),
            name=str(by["name"]),
            user_id=str(by["id"]),
            output=str(reply["answer"]["text"]),
            type="user_message",
        )

    def _spec(self) -> dict[str, Any]:
        return {"type": "text"}


class AskActionMessage(AskMessage):
    """Ask for one of several actions, shown as buttons."""

    def __init__(
        self,
        content: str,
        actions: Sequence[Action],
        author: str | None = None,
        timeout: float = FILE_TIMEOUT,
        raise_on_timeout: bool = False,
    ) -> None:
        super().__init__(content, author, timeout, raise_on_timeout)
        if not actions:
            raise ValueError("AskActionMessage needs at least one action")
        self.actions = list(actions)

    async def send(self) -> AskActionResponse | None:
        """Ask and wait; the chosen action with the payload that the app gave it."""
        replied = await self._ask()
        if replied is None:
            return None
        _, reply = replied
        chosen = reply["answer"]["action"]
        return AskActionResponse(
            id=str(chosen.get("id") or ""),
            name=str(chosen["name"]),
            payload=dict(chosen.get("payload") or {}),
            label=str(chosen.get("label") or ""),
            tooltip=str(chosen.get("tooltip") or ""),
            forId=str(reply.get("message_id") or ""),
            user_name=str(reply["answered_by"]["name"]),
        )

    def _spec(self) -> dict[str, Any]:
        return {"type": "action", "actions": [action.to_dict() for action in self.actions]}


class AskFileMessage(AskMessage):
    """Ask for files. `accept` lists MIME types or extensions, or maps MIME types to extensions."""

    def __init__(
        self,
        content: str,
        accept: Sequence[str] | Mapping[str, Sequence[str]] = ("*/*",),
        max_size_mb: float = 2,
        max_files: int = 1,
        author: str | None = None,
        timeout: float = FILE_TIMEOUT,
        raise_on_timeout: bool = False,
    ) -> None:
        super().__init__(content, author, timeout, raise_on_timeout)
        if isinstance(accept, str):
            raise TypeError("accept is a list of types, such as ['text/plain']")
        if max_files < 1 or max_size_mb <= 0:
            raise ValueError("max_files has to be at least 1 and max_size_mb more than 0")
        self.accept = _accepted(accept)
        self.max_size_mb = max_size_mb
        self.max_files = max_files

    async def send(self) -> list[AskFileResponse] | None:
        """Ask and wait. The files also appear in the conversation."""
        replied = await self._ask()
        if replied is None:
            return None
        found, reply = replied
        return [await _response(found, file) for file in reply["answer"]["files"]]

    def _spec(self) -> dict[str, Any]:
        return {
            "type": "file",
            "accept": self.accept,
            "max_files": self.max_files,
            "max_size_mb": self.max_size_mb,
        }


def _accepted(accept: Sequence[str] | Mapping[str, Sequence[str]]) -> list[str]:
    if isinstance(accept, Mapping):
        return [kind for mime, extensions in accept.items() for kind in (mime, *extensions)]
    return list(accept)


async def _response(found: ParlourContext, file: Mapping[str, Any]) -> AskFileResponse:
    return AskFileResponse(
        id=str(file["id"]),
        name=str(file["name"]),
        path=await copy_file(found, file),
        size=int(file["size"]),
        type=str(file["mime"]),
        url=str(file["url"]),
    )
