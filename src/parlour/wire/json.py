"""JSON as it travels: strict on what is not JSON, forgiving on text that is not Unicode.

A JavaScript string may hold half of a surrogate pair (a cut emoji), which JSON can write and UTF-8
cannot. Refusing it would close the connection of a person who pasted such text, again at every
retry; so both directions replace the half by U+FFFD. NaN and the infinities are not JSON: refused
when received, null when sent. This happens on a second, slower attempt; well-formed text never pays
for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

import orjson

from parlour.errors import ProtocolError

_OPTIONS: Final = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z

Default = Callable[[Any], Any]


def loads(text: str | bytes) -> Any:
    """Read one JSON value. Raises ProtocolError on anything else."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _loads_lenient(text)


def dumps(
    value: Any, default: Default | None = None, restart: Callable[[], None] | None = None
) -> bytes:
    """Write a value as UTF-8. `default` gives what stands for a value whose type JSON does not
    have; it is asked in the order of the text, and from the beginning again after `restart`. Raises
    TypeError."""
    try:
        return orjson.dumps(value, default, _OPTIONS)
    except orjson.JSONEncodeError as error:
        if "surrogates" not in str(error):
            raise
    if restart is not None:
        restart()
    return orjson.dumps(_repair(value)[0], default, _OPTIONS)


def depth_exceeds(text: str, value: Any, limit: int) -> bool:
    """Whether the value read from `text` is nested deeper than `limit`."""
    if text.count("[") + text.count("{") <= limit:
        return False
    level: list[Any] = [value]
    for _ in range(limit):
        level = [child for item in level for child in _children(item)]
    return any(isinstance(item, dict | list) for item in level)


def _children(item: Any) -> Iterable[Any]:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list) else ()


def _loads_lenient(text: str | bytes) -> Any:
    try:
        # Only an escape can bring a lone surrogate; without one there is nothing to forgive.
        source = text if isinstance(text, str) else text.decode()
        if "\\u" not in source:
            raise ProtocolError("not JSON")
        value, _ = _repair(json.loads(source, parse_constant=_refuse_constant))
    except (ValueError, RecursionError) as error:
        raise ProtocolError("not JSON") from error
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ProtocolError(f"{name} is not JSON")


def _repair(value: Any) -> tuple[Any, bool]:
    """The value with every lone surrogate replaced, and whether there was one."""
    if isinstance(value, str):
        fixed = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return fixed, fixed != value
    if isinstance(value, dict):
        return _repair_object(value)
    if isinstance(value, list | tuple):
        pairs = [_repair(item) for item in value]
        return [item for item, _ in pairs], any(changed for _, changed in pairs)
    return value, False


def _repair_object(value: dict[Any, Any]) -> tuple[dict[Any, Any], bool]:
    changed = False
    result = {}
    for key, item in value.items():
        new_key, key_changed = _repair(key)
        result[new_key], item_changed = _repair(item)
        changed = changed or key_changed or item_changed
    return result, changed
