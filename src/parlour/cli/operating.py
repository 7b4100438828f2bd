"""`parlour token`, `keys`, `migrate`, `config`: for operators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import typer
from rich.table import Table

from parlour.cli.console import out, run_async

if TYPE_CHECKING:
    from pydantic import SecretStr

    from parlour.config import Settings

keys = typer.Typer(help="Keys that sign access tokens.", no_args_is_help=True)

Data = Annotated[Path | None, typer.Option(help="Data folder.")]
DAY: Final = 86_400
MASK: Final = "***"


def print_token(
    login: Annotated[str, typer.Argument(help="Name, e-mail address or id.")],
    days: Annotated[
        float | None, typer.Option(help="How long it is valid.", min=0.01, max=365)
    ] = None,
    data: Data = None,
) -> None:
    """Print an access token of a user, for scripts and bots."""
    from parlour.cli.stores import accounts
    from parlour.config import load_settings

    settings = load_settings(data_folder=data)

    async def issue() -> str:
        async with accounts(settings) as known:
            record = await known.find(login)
            issued = await known.issue(record.id, int(days * DAY) if days else None)
            return issued.token

    typer.echo(run_async(issue()))


@keys.command("rotate")
def rotate(data: Data = None) -> None:
    """Sign with a new key from now on; tokens of the old one stay valid until they expire."""
    from parlour.cli.stores import accounts
    from parlour.config import load_settings

    settings = load_settings(data_folder=data)

    async def add() -> str:
        async with accounts(settings) as known:
            return await known.rotate_keys()

    out.print(f"New tokens are signed with key {run_async(add())}", highlight=False)


def upgrade(data: Data = None) -> None:
    """Bring the database up to date. Servers do it at their start, too."""
    from parlour.cli.stores import opened
    from parlour.config import load_settings

    settings = load_settings(data_folder=data)

    async def open_once() -> None:
        async with opened(settings):
            pass

    run_async(open_once())
    out.print(f"{_shown(settings.database_url)} is up to date", highlight=False, markup=False)


def print_settings(
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Print the settings in force; secrets are masked."""
    from parlour.config import load_settings
    from parlour.config.page import grouped

    settings = load_settings()
    if as_json:
        typer.echo(json.dumps(_values(settings), indent=2))
        return
    values = _values(settings)
    table = Table("setting", "value", box=None, pad_edge=False)
    for group, fields in grouped().items():
        table.add_row(f"[bold]{group}[/]", "")
        for name in fields:
            table.add_row(f"  {name}", _text(values[name]))
    out.print(table)


def _values(settings: Settings) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name in type(settings).model_fields:
        shown[name] = _plain(getattr(settings, name))
    return shown


def _plain(value: Any) -> Any:
    """What can be printed, as JSON too, with nothing secret in it."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if hasattr(type(value), "model_fields"):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if hasattr(value, "get_secret_value"):
        return _shown(value)
    return str(value) if isinstance(value, Path) else value


def _shown(secret: SecretStr) -> str:
    """Where it leads, without what opens it."""
    text = secret.get_secret_value()
    scheme, found, _ = text.partition("://")
    if not found:
        return MASK if text else ""
    if scheme.startswith("sqlite"):
        return text
    parts = urlsplit(text)
    port = f":{parts.port}" if parts.port else ""
    user = f"{MASK}@" if parts.username or parts.password else ""
    return f"{scheme}://{user}{parts.hostname or ''}{port}{parts.path}"


def _text(value: Any) -> str:
    if value is None or value in ("", []):
        return "[dim]none[/]"
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(map(_word, value)) if isinstance(value, list) else str(value)


def _word(value: Any) -> str:
    return str(value["name"]) if isinstance(value, dict) else str(value)
