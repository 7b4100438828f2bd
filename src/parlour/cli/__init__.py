"""The command line. Errors that people can mend are told in a line or two, and the exit code is 1."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer

from parlour.cli.console import Commands, out
from parlour.cli.operating import keys, print_settings, print_token, upgrade
from parlour.cli.replaying import replay
from parlour.cli.scaffold import create_app_files
from parlour.cli.serving import demo, run
from parlour.cli.users import users

cli = typer.Typer(
    name="parlour",
    help="The session layer for AI chat and agents: live, durable, shareable conversations.",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

cli.command("run")(run)
cli.command("demo")(demo)
cli.command("init")(create_app_files)
cli.add_typer(users, name="user")
cli.command("token")(print_token)
cli.add_typer(keys, name="keys")
cli.command("migrate")(upgrade)
cli.command("config")(print_settings)
cli.command("replay")(replay)


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"parlour {metadata.version('parlour')}", highlight=False)
        raise typer.Exit


@cli.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Settings come from options, the environment, `.env` and `parlour.toml`: see `parlour config`."""


def main() -> None:
    """The entry point of the `parlour` command."""
    cli()
