"""`/api/files`: bytes by reference."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Header, HTTPException, Path, Request
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.responses import Response, StreamingResponse

from parlour.documents.manager import Documents
from parlour.errors import InvalidPayload, NotFound
from parlour.ports import FileRecord
from parlour.server.connections import Caller
from parlour.transports.http.calling import CurrentCaller
from parlour.transports.http.identity import CurrentNode

router = APIRouter(prefix="/api/files", tags=["files"])

CHUNK: Final = 64 * 1024
LONGEST_NAME: Final = 200
SHOWN: Final = frozenset(
    {"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "audio/mpeg", "audio/ogg"}
    | {"audio/wav", "video/mp4", "video/webm", "text/plain", "application/pdf"}
)
"""Types that a browser may show; everything else is downloaded, since it could carry scripts."""

_MIME = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}\Z")
_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})\Z")
_SANDBOX: Final = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


class FileOut(BaseModel):
    """`url` is relative to the server; `size` is in bytes."""

    id: str
    name: str
    mime: str
    size: int
    url: str


@router.post("", status_code=201)
async def upload(request: Request, caller: CurrentCaller, node: CurrentNode) -> FileOut:
    """Multipart with the field `file`, and optionally `thread_id`. Messages refer to the `id`."""
    async with request.form(max_files=1, max_fields=4) as form:
        file, thread_id = form.get("file"), form.get("thread_id")
        if not isinstance(file, UploadFile):
            raise InvalidPayload("The form has no file in its field `file`.", field="file")
        if thread_id is not None:
            await node.permissions.require_write(caller.user, f"thread:{thread_id}")
        record = FileRecord(
            id=node.new_id(),
            user_id=caller.user.id,
            name=_safe_name(file.filename),
            mime=_safe_mime(file.content_type),
            size=0,
            thread_id=str(thread_id) if thread_id is not None else None,
            created_at=node.clock.now_ms(),
        )
        limit = node.settings.max_file_bytes
        return shown(await node.files.put(record, _chunks(file), limit=limit))


@router.get("/{file_id}")
async def download(
    file_id: Annotated[str, Path(max_length=64)],
    caller: CurrentCaller,
    node: CurrentNode,
    if_none_match: Annotated[str | None, Header(max_length=200)] = None,
    if_range: Annotated[str | None, Header(max_length=200)] = None,
    range_: Annotated[str | None, Header(alias="range", max_length=200)] = None,
) -> Response:
    """The bytes, for the owner and for readers of the conversation that the file belongs to. With `Range`
    a part of them (RFC 9110, section 14), as players of sound and video ask for."""
    record = await node.files.file(file_id)
    if record is None or not await _may_read(node, caller, record):
        raise NotFound("There is no such file.")
    # The bytes never change, but who may read them does: a browser asks each time before it shows its copy.
    kept = {"cache-control": "private, no-cache", "etag": f'"{record.id}"'}
    if if_none_match == kept["etag"]:
        return Response(status_code=304, headers=kept)
    kind = "inline" if record.mime in SHOWN else "attachment"
    part = None
    if range_ is not None and if_range in (None, kept["etag"]):
        part = requested_part(range_, record.size)
    start, size = part or (0, record.size)
    headers = {
        "accept-ranges": "bytes",
        "content-length": str(size),
        "content-disposition": f"{kind}; filename*=UTF-8''{quote(record.name, safe='')}",
        "content-security-policy": _SANDBOX,
        **kept,
    }
    if part is not None:
        headers["content-range"] = f"bytes {start}-{start + size - 1}/{record.size}"
    chunks = await _begun(node.files.open(file_id, start, size))
    return StreamingResponse(
        chunks,
        status_code=200 if part is None else 206,
        headers=headers,
        media_type=_media_type(record.mime),
    )


def requested_part(wanted: str, size: int) -> tuple[int, int] | None:
    """Start and size of the part that a `Range` header asks for; None where it is to be ignored (several
    parts, another unit, nonsense). Raises `RangeNotSatisfiable` where the file ends before it."""
    match = _RANGE.match(wanted.strip())
    if match is None:
        return None
    first, last = match.groups()
    if first:
        start = int(first)
        end = size if not last else min(int(last) + 1, size)
        if last and int(last) < start:
            return None
    elif last:
        start, end = max(0, size - int(last)), size
    else:
        return None
    if start >= end:
        raise RangeNotSatisfiable(size)
    return start, end - start


class RangeNotSatisfiable(HTTPException):
    """The file has no byte of what was asked for; `size` is its size."""

    def __init__(self, size: int) -> None:
        super().__init__(
            416, "The file ends before this part.", {"content-range": f"bytes */{size}"}
        )


@router.delete("/{file_id}", status_code=204)
async def delete(
    file_id: Annotated[str, Path(max_length=64)], caller: CurrentCaller, node: CurrentNode
) -> None:
    """Only the owner may."""
    record = await node.files.file(file_id)
    if record is None or record.user_id != caller.user.id:
        raise NotFound("There is no such file.")
    await node.files.delete(file_id)


async def _begun(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same chunks. Raises what the first of them raises, while the answer can still say so: the bytes may have
    been deleted meanwhile, or be in the folder of another machine."""
    first = await anext(chunks, b"")

    async def all_of_them() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return all_of_them()


def shown(record: FileRecord) -> FileOut:
    return FileOut(
        id=record.id,
        name=record.name,
        mime=record.mime,
        size=record.size,
        url=f"/api/files/{record.id}",
    )


async def _may_read(node: CurrentNode, caller: Caller, record: FileRecord) -> bool:
    if record.user_id == caller.user.id:
        return True
    if record.thread_id is not None:
        grant = await node.permissions.grant(caller.user, f"thread:{record.thread_id}")
        if grant.read and not grant.create:
            return True
    if await node.channels.may_read_file(caller.user, record.id):
        return True
    return await node.part(Documents).notes.may_read_file(caller.user, record.id)


async def _chunks(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(CHUNK):
        yield chunk


def _safe_name(name: str | None) -> str:
    """What the file is called when it is shown; it never becomes a path."""
    name = re.split(r"[/\\]", name or "")[-1]
    name = "".join(char for char in name if char.isprintable()).strip()
    return name[-LONGEST_NAME:] or "file"


def _safe_mime(mime: str | None) -> str:
    kind = (mime or "").partition(";")[0].strip().lower()
    return kind if _MIME.match(kind) else "application/octet-stream"


def _media_type(mime: str) -> str:
    return f"{mime}; charset=utf-8" if mime.startswith("text/") else mime
