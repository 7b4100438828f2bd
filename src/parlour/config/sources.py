"""Where settings come from: arguments, the environment, `.env`, `parlour.toml`, in this order.

In the environment and in `.env` a setting is `PARLOUR_` plus its name in capitals; names that
existing deployments know are read too, and lose against Parlour's own. In `parlour.toml` settings
stand flat or in tables, whose names are free.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from dotenv import dotenv_values
from pydantic import ValidationError

from parlour.config.settings import Settings, contradictions
from parlour.errors import SettingsError

PREFIX: Final = "PARLOUR_"
CONFIG_FILE: Final = "PARLOUR_CONFIG"
"""Names the TOML file, where it is not `parlour.toml` in the working folder."""

KNOWN_NAMES: Final[Mapping[str, str]] = {
    "ENABLE_WEBSOCKET_SUPPORT": "websocket",
    "WEBSOCKET_SERVER_PING_INTERVAL": "ping_interval_seconds",
    "WEBSOCKET_SERVER_PING_TIMEOUT": "ping_timeout_seconds",
    "WEBSOCKET_SERVER_LOGGING": "socket_logging",
    "WEBSOCKET_SERVER_ENGINEIO_LOGGING": "engineio_logging",
    "MAX_MESSAGES_PER_SESSION": "max_messages_per_session",
    "SESSION_EXPIRY_SECONDS": "session_expiry_seconds",
    "SESSION_SYNC_INTERVAL_SECONDS": "session_sync_interval_seconds",
    "WEBSOCKET_REDIS_URL": "redis_url",
    "REDIS_URL": "redis_url",
    "REDIS_KEY_PREFIX": "redis_key_prefix",
    "WEBSOCKET_REDIS_CLUSTER": "redis_cluster",
    "REDIS_CLUSTER": "redis_cluster",
    "WEBSOCKET_SENTINEL_HOSTS": "redis_sentinel_hosts",
    "REDIS_SENTINEL_HOSTS": "redis_sentinel_hosts",
    "WEBSOCKET_SENTINEL_PORT": "redis_sentinel_port",
    "REDIS_SENTINEL_PORT": "redis_sentinel_port",
    "OPENAI_API_KEY": "openai_api_key",
    "OPENAI_BASE_URL": "openai_base_url",
    "OPENAI_MODEL": "openai_model",
}
"""Names of other systems and the setting that each one sets; the earlier wins. An empty value means
that it is not set."""

UPSTASH_URL: Final = "UPSTASH_REDIS_REST_URL"
UPSTASH_TOKEN: Final = "UPSTASH_REDIS_REST_TOKEN"
MANAGER: Final = "WEBSOCKET_MANAGER"

NOT_WORKED_OUT: Final = "default_factory_not_called"
"""pydantic's word for a default that depends on a field with a mistake; that field is reported."""

HIDDEN: Final = ("Secret", "ModelService")
"""Kinds of values that are not repeated in a message: they are keys, or hold some."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value and the words that say where it was found."""

    value: Any
    where: str


@dataclass(slots=True)
class Reading:
    """What the sources say so far: the first that names a setting wins; mistakes are kept."""

    given: dict[str, Given] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    redis_expected: str = ""

    def take(self, name: str, value: Any, where: str) -> None:
        self.given.setdefault(name, Given(value, where))


def load_settings(
    *, folder: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: Any
) -> Settings:
    """Read all sources. An override of None counts as not given; `folder` is where `.env` and
    `parlour.toml` are looked for (the working folder). Raises `SettingsError` with every mistake
    at once, each with its remedy."""
    folder = folder or Path.cwd()
    environ = os.environ if environ is None else environ
    reading = Reading()
    for name, value in overrides.items():
        if value is not None:
            reading.take(name, value, name)
    _read_variables(reading, environ, "in the environment")
    _read_variables(reading, _dotenv(reading, folder / ".env"), "in .env")
    _read_toml(reading, folder, environ)
    _check_manager(reading)
    return _validate(reading)


def _dotenv(reading: Reading, path: Path) -> Mapping[str, str]:
    if not path.is_file():
        return {}
    try:
        return {name: value or "" for name, value in dotenv_values(path).items()}
    except (OSError, UnicodeDecodeError) as error:
        reading.problems.append(f"{path} cannot be read ({error}): make it readable UTF-8 text.")
        return {}


def _read_variables(reading: Reading, variables: Mapping[str, str], where: str) -> None:
    for variable, value in variables.items():
        if variable.startswith(PREFIX) and variable != CONFIG_FILE:
            name = variable.removeprefix(PREFIX).lower()
            if name in Settings.model_fields:
                reading.take(name, value, f"{variable} {where}")
            else:
                reading.problems.append(_unknown(f"{variable} {where}", name, PREFIX))
    for variable, name in KNOWN_NAMES.items():
        if variables.get(variable):
            reading.take(name, variables[variable], f"{variable} {where}")
    _read_upstash(reading, variables, where)
    _read_manager(reading, variables, where)


def _read_upstash(reading: Reading, variables: Mapping[str, str], where: str) -> None:
    """The REST address of a hosted Redis stands for the TLS endpoint of the same host, where the
    token is the password of the default user."""
    url, token = variables.get(UPSTASH_URL), variables.get(UPSTASH_TOKEN)
    if not url:
        return
    host = urlsplit(url).hostname
    if host is None or not token:
        reading.problems.append(
            f"{UPSTASH_URL} {where} must be https://host and needs {UPSTASH_TOKEN} beside it: "
            "give both, or set PARLOUR_REDIS_URL."
        )
        return
    address = f"rediss://default:{quote(token, safe='')}@{host}:6379"
    reading.take("redis_url", address, f"{UPSTASH_URL} {where}")


def _read_manager(reading: Reading, variables: Mapping[str, str], where: str) -> None:
    manager = variables.get(MANAGER, "").lower()
    if manager not in ("", "redis"):
        reading.problems.append(f"{MANAGER} {where} is {manager!r}: the only value is redis.")
    elif manager == "redis":
        reading.redis_expected = where


def _check_manager(reading: Reading) -> None:
    if reading.redis_expected and "redis_url" not in reading.given:
        reading.problems.append(
            f"{MANAGER} {reading.redis_expected} is redis, but no address is given: "
            "set WEBSOCKET_REDIS_URL."
        )


def _read_toml(reading: Reading, folder: Path, environ: Mapping[str, str]) -> None:
    named = environ.get(CONFIG_FILE)
    path = folder / (named or "parlour.toml")
    if not named and not path.is_file():
        return
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reading.problems.append(f"{path} cannot be read ({error}): correct or remove it.")
        return
    for name, value in _flat(document):
        if name in Settings.model_fields:
            reading.take(name, value, f"{name} in {path.name}")
        else:
            reading.problems.append(_unknown(f"{name} in {path.name}", name, ""))


def _flat(document: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value)
        else:
            yield name, value


def _unknown(where: str, name: str, prefix: str) -> str:
    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    known = f"{prefix}{near[0].upper()}" if near and prefix else "".join(near)
    remedy = f"did you mean {known}?" if near else "remove it; docs/settings.md lists them all."
    return f"{where} is not a setting: {remedy}"


def _validate(reading: Reading) -> Settings:
    try:
        settings = Settings(**{name: given.value for name, given in reading.given.items()})
    except ValidationError as error:
        problems = [
            _explain(reading, dict(mistake))
            for mistake in error.errors()
            if mistake["type"] != NOT_WORKED_OUT
        ]
        raise SettingsError(reading.problems + problems) from None
    problems = reading.problems + contradictions(settings)
    if problems:
        raise SettingsError(problems)
    return settings


def _explain(reading: Reading, mistake: Mapping[str, Any]) -> str:
    """One line: where the value stands, what is wrong with it, what belongs there; never a
    secret."""
    name = str(mistake["loc"][0]) if mistake["loc"] else ""
    where = reading.given[name].where if name in reading.given else name
    known = Settings.model_fields.get(name)
    if known is None:
        return _unknown(where, name, "")
    reason = str(mistake["msg"]).removeprefix("Value error, ").rstrip(".")
    hidden = any(kind in str(known.annotation) for kind in HIDDEN)
    shown = "" if hidden else f" (it is {mistake.get('input')!r:.80})"
    return f"{where}: {reason[:1].lower()}{reason[1:]}{shown}. {known.description}"
