"""The page of all settings, made from the fields; docs/settings.md is this text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from parlour.config.settings import Settings
from parlour.config.sources import KNOWN_NAMES, MANAGER, PREFIX, UPSTASH_TOKEN, UPSTASH_URL

MILLION = 1_000_000

_HEAD = f"""\
# Settings

<!-- Made by `make docs` from src/parlour/config/settings.py; do not edit. -->

A setting is read from, in this order: an option of the command line; the environment, as
`{PREFIX}` plus its name in capitals (`{PREFIX}PORT=9000`); the file `.env` in the working folder,
with the same names; the file `parlour.toml` there (or the one that `{PREFIX}CONFIG` names), where
settings stand flat or in tables whose names are free:

```toml
port = 9000

[accounts]
sign_up = true
```

Every mistake is listed at once when a node starts, each with its remedy, and the exit code is 1.
`parlour config` prints what is in force, with secrets masked. In the environment the parts of a
list are separated by commas.
"""

_TAIL = f"""\
## Names that other deployments use

Read from the environment and from `.env`; an empty value counts as not set, and Parlour's own name
wins.

| name | sets |
| --- | --- |
{{known}}
| `{UPSTASH_URL}` with `{UPSTASH_TOKEN}` | `redis_url`: the TLS endpoint of the same host |
| `{MANAGER}` | `redis` asks that `redis_url` be given; nothing else is accepted |
"""


def settings_page() -> str:
    """The Markdown text."""
    parts = [_HEAD]
    for group, fields in grouped().items():
        rows = [_row(name, info) for name, info in fields.items()]
        parts.append(f"## {group}\n\n| setting | default | meaning |\n| --- | --- | --- |")
        parts.append("\n".join(rows) + "\n")
    known = "\n".join(f"| `{name}` | `{target}` |" for name, target in KNOWN_NAMES.items())
    parts.append(_TAIL.format(known=known))
    return "\n".join(parts)


def grouped() -> dict[str, dict[str, FieldInfo]]:
    """The fields by group, in the order in which they are written."""
    groups: dict[str, dict[str, FieldInfo]] = {}
    for name, info in Settings.model_fields.items():
        groups.setdefault(_extra(info, "group"), {})[name] = info
    return groups


def _extra(info: FieldInfo, key: str) -> str:
    extra = info.json_schema_extra
    return str(extra.get(key, "")) if isinstance(extra, dict) else ""


def _row(name: str, info: FieldInfo) -> str:
    notes = [info.description or "", *_notes(info)]
    return f"| `{name}` | {_default(info)} | {' '.join(notes)} |"


def _default(info: FieldInfo) -> str:
    shown = _extra(info, "shown")
    if shown:
        return shown
    value = info.default
    if value is True or value is False:
        return "on" if value else "off"
    if value in ("", (), None):
        return "none"
    text = _number(value)
    unit = _extra(info, "unit")
    return f"`{text}` {unit}".rstrip()


def _notes(info: FieldInfo) -> Iterator[str]:
    if _extra(info, "unit") and _extra(info, "shown"):
        yield f"Unit: {_extra(info, 'unit')}."
    choices = _choices(info.annotation)
    if choices:
        yield "One of " + ", ".join(f"`{choice}`" for choice in choices) + "."
    bounds = list(_bounds(info))
    if bounds:
        yield f"({', '.join(bounds)})"
    if SecretStr in (info.annotation, *get_args(info.annotation)):
        yield "Never printed."


def _choices(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _bounds(info: FieldInfo) -> Iterator[str]:
    words = {"ge": "at least", "gt": "above", "le": "at most"}
    for rule in info.metadata:
        for key, word in words.items():
            if getattr(rule, key, None) is not None:
                yield f"{word} {_number(getattr(rule, key))}"


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) and value < MILLION else str(value)
