"""Attachments of messages: stored once, sent by reference."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, cast

from parlour.chat.context import get_context
from parlour.chat.identity import new_id
from parlour.errors import NotFound
from parlour.ports import FileRecord
from parlour.wire.records import FileRef
from parlour.wire.told import FILES

CHUNK: Final = 256 * 1024
DEFAULT_MIME: Final = "application/octet-stream"


@dataclass(slots=True)
class Element:
    """Something that is shown with a message. Exactly one of `path`, `content` and `url` says where
    it is.

    `stored` is the reference as it travels, `{id, name, mime, size, url}`, once the bytes are
    stored. `path` of a file that a person sent is a copy that lives as long as the run.
    """

    name: str = ""
    path: str | None = None
    content: bytes | str | None = None
    url: str | None = None
    mime: str = ""
    display: str = "inline"
    language: str | None = None
    id: str = field(default_factory=new_id)
    for_id: str | None = None
    stored: FileRef | None = None

    type: ClassVar[str] = "file"

    def __post_init__(self) -> None:
        sources = [self.path is not None, self.content is not None, self.url is not None]
        if self.stored is None and sum(sources) != 1:
            raise ValueError("an element needs exactly one of path, content and url")
        if not self.name:
            self.name = Path(self.path).name if self.path else self.type
        self.mime = self.mime or self._guess_mime()

    def _guess_mime(self) -> str:
        return mimetypes.guess_type(self.path or self.name)[0] or DEFAULT_MIME

    @classmethod
    def from_wire(cls, reference: Mapping[str, Any], for_id: str | None = None) -> Element:
        """A file that is already stored."""
        return cls(
            name=str(reference.get("name") or ""),
            url=reference.get("url"),
            mime=str(reference.get("mime") or ""),
            id=str(reference["id"]),
            for_id=for_id,
            stored=cast(FileRef, dict(reference)),
        )

    @property
    def size(self) -> int:
        """Bytes; 0 until it is stored, and for something that lives elsewhere."""
        return int(self.stored.get("size") or 0) if self.stored is not None else 0

    async def store(self) -> FileRef:
        """Put the bytes into the file store, once. Raises `TooLarge`, and OSError for a path
        that cannot be read."""
        if self.stored is None:
            self.stored = await self._put()
        return self.stored

    async def send(self, for_id: str | None = None) -> None:
        """Attach it to a message that was already sent."""
        self.for_id = for_id or self.for_id
        if self.for_id is None:
            raise ValueError("send needs the id of the message: element.send(for_id=message.id)")
        reference = await self.store()
        await get_context().emitter.emit_all(
            FILES({"message_id": self.for_id, "files": [reference]})
        )

    async def read(self) -> bytes:
        """The bytes. Raises `NotFound` when the file was deleted, or lives elsewhere."""
        if self.content is not None:
            return _as_bytes(self.content)
        if self.path is not None:
            return await asyncio.to_thread(Path(self.path).read_bytes)
        if self.stored is None:
            raise NotFound(f"{self.name} is not in the file store")
        return b"".join([chunk async for chunk in get_context().node.files.open(self.id)])

    async def _put(self) -> FileRef:
        if self.url is not None:
            return self._reference(0, self.url)
        found = get_context()
        record = FileRecord(
            id=self.id,
            # What the app shows belongs to the conversation: a guest's run leaves nothing to the guest.
            user_id=await found.node.permissions.owner(found.chat.thread_id) or found.chat.user.id,
            name=self.name,
            mime=self.mime,
            size=0,
            thread_id=found.chat.thread_id,
            created_at=found.node.clock.now_ms(),
        )
        limit = found.node.settings.max_file_bytes
        stored = await found.node.files.put(record, self._chunks(), limit=limit)
        return self._reference(stored.size, f"/api/files/{stored.id}")

    def _reference(self, size: int, url: str) -> FileRef:
        reference: FileRef = {
            "id": self.id,
            "name": self.name,
            "mime": self.mime,
            "size": size,
            "url": url,
            "display": self.display,
        }
        if self.language:
            reference["language"] = self.language
        return reference

    async def _chunks(self) -> AsyncIterator[bytes]:
        if self.content is not None:
            yield _as_bytes(self.content)
            return
        assert self.path is not None
        file = await asyncio.to_thread(open, self.path, "rb")
        try:
            while chunk := await asyncio.to_thread(file.read, CHUNK):
                yield chunk
        finally:
            await asyncio.to_thread(file.close)


class File(Element):
    """Any file."""

    __slots__ = ()


class Image(Element):
    """A picture."""

    __slots__ = ()
    type = "image"

    def _guess_mime(self) -> str:
        guessed = Element._guess_mime(self)
        return guessed if guessed.startswith("image/") else "image/png"


class Text(Element):
    """A text of its own: a document, a source file (`language`)."""

    __slots__ = ()
    type = "text"

    def _guess_mime(self) -> str:
        guessed = Element._guess_mime(self)
        return guessed if guessed != DEFAULT_MIME else "text/plain; charset=utf-8"


class Pdf(Element):
    """A PDF document."""

    __slots__ = ()
    type = "pdf"

    def _guess_mime(self) -> str:
        return "application/pdf"


class Audio(Element):
    """A recording."""

    __slots__ = ()
    type = "audio"

    def _guess_mime(self) -> str:
        guessed = Element._guess_mime(self)
        return guessed if guessed.startswith("audio/") else "audio/mpeg"


class Video(Element):
    """A film."""

    __slots__ = ()
    type = "video"

    def _guess_mime(self) -> str:
        guessed = Element._guess_mime(self)
        return guessed if guessed.startswith("video/") else "video/mp4"


_KINDS: Final[Mapping[str, type[Element]]] = {"image": Image, "audio": Audio, "video": Video}


def element_from_wire(reference: Mapping[str, Any], for_id: str | None = None) -> Element:
    """A file that is already stored, as the class that fits its type."""
    mime = str(reference.get("mime") or "")
    kind = Pdf if mime == "application/pdf" else _KINDS.get(mime.partition("/")[0], File)
    return kind.from_wire(reference, for_id)


def _as_bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content
