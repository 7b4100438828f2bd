"""Asks: which answers a question accepts (promise I6 is kept by the log's dedupe key)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parlour.errors import InvalidPayload, TooLarge


def ask_thread(ask_id: str) -> str:
    """The conversation that an ask belongs to: ask ids are `{thread_id}.{random}`."""
    thread_id, dot, rest = ask_id.rpartition(".")
    if not dot or not thread_id or not rest:
        raise InvalidPayload("This is not the id of an ask.")
    return thread_id


def accept(spec: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    """The answer in its stored form: `{text}`, `{action}` or `{files}`. Raises `InvalidPayload`."""
    match spec.get("type"):
        case "text":
            return {"text": _text(answer)}
        case "action":
            return {"action": _action(spec, answer)}
        case "file":
            return {"files": _files(spec, answer)}
    raise InvalidPayload("This ask takes no answer.")


def _text(answer: Any) -> str:
    for name in ("text", "output", "content"):
        if isinstance(answer, Mapping) and name in answer:
            answer = answer[name]
    if not isinstance(answer, str) or not answer.strip():
        raise InvalidPayload("The answer must be a text.")
    return answer


def _action(spec: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    wanted = answer.get("action_id", answer.get("id")) if isinstance(answer, Mapping) else answer
    for action in spec.get("actions", ()):
        if wanted is not None and wanted in (action.get("id"), action.get("name")):
            return dict(action)
    raise InvalidPayload("The answer must be one of the offered actions.")


def _files(spec: Mapping[str, Any], answer: Any) -> list[str]:
    given = answer.get("files") if isinstance(answer, Mapping) else answer
    if not isinstance(given, list) or not given:
        raise InvalidPayload("The answer must be a list of files.")
    ids = [item.get("id") if isinstance(item, Mapping) else item for item in given]
    if not all(isinstance(item, str) for item in ids):
        raise InvalidPayload("Each file is named by its id.")
    if len(ids) > int(spec.get("max_files") or 1):
        raise InvalidPayload(f"At most {spec.get('max_files') or 1} files are accepted.")
    return [str(item) for item in ids]


def check_files(spec: Mapping[str, Any], files: Sequence[Mapping[str, Any]]) -> None:
    """Whether a file ask takes these files (`{name, mime, size}`). Raises `TooLarge` past
    `max_size_mb` (millions of bytes), `InvalidPayload` for a type that `accept` does not list."""
    limit = float(spec.get("max_size_mb") or 0) * 1_000_000
    for file in files:
        if limit and file["size"] > limit:
            raise TooLarge(f"{file['name']} is larger than {spec['max_size_mb']:g} MB.")
        if not _accepts(spec.get("accept") or (), str(file["name"]), str(file["mime"])):
            raise InvalidPayload(f"{file['name']} is not of a type that is asked for.")


def _accepts(accept: Sequence[str], name: str, mime: str) -> bool:
    """As the `accept` of a file input: MIME types, `type/*`, or extensions with a dot; none is
    any."""
    mime = mime.partition(";")[0].strip().lower()
    kinds = [kind.strip().lower() for kind in accept]
    wanted = {"*", "*/*", mime, f"{mime.partition('/')[0]}/*"}
    return not kinds or any(
        name.lower().endswith(kind) if kind.startswith(".") else kind in wanted for kind in kinds
    )
