"""`parlour user`: accounts from the command line; the first administrator is made here."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.table import Table

from parlour.cli.console import out, run_async
from parlour.core.users import ADMIN

if TYPE_CHECKING:
    from parlour.ports import UserRecord
    from parlour.server.accounts import Accounts

users = typer.Typer(help="Accounts: add, list, disable, enable, password.", no_args_is_help=True)

T = TypeVar("T")
Data = Annotated[Path | None, typer.Option(help="Data folder.")]
Login = Annotated[str, typer.Argument(help="Name, e-mail address or id.")]


@users.command("add")
def add(
    name: Annotated[str, typer.Argument(help="The name that others see; a login, too.")],
    email: Annotated[str | None, typer.Option(help="E-mail address; a login, too.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="Make an administrator.")] = False,
    data: Data = None,
) -> None:
    """Add a user. The password is asked for, or read from standard input."""
    password = _ask_password()
    role = ADMIN if admin else "user"
    user = _with_accounts(data, lambda known: known.add_user(name, password, email, role))
    out.print(f"Added {user.name} ({user.role}), id {user.id}", highlight=False, markup=False)


@users.command("list")
def show(data: Data = None) -> None:
    """List all users."""
    table = Table("name", "role", "e-mail", "id", "added", "state", box=None, pad_edge=False)
    for record in _with_accounts(data, _everybody):
        table.add_row(
            record.name,
            record.role,
            record.email or "",
            record.id,
            datetime.fromtimestamp(record.created_at / 1000, UTC).strftime("%Y-%m-%d"),
            "disabled" if record.disabled else "",
        )
    out.print(table)


@users.command("disable")
def disable(login: Login, data: Data = None) -> None:
    """Lock an account; its tokens end."""
    _change(login, data, lambda known, user_id: known.set_disabled(user_id, True))
    out.print(f"Disabled {login}", highlight=False, markup=False)


@users.command("enable")
def enable(login: Login, data: Data = None) -> None:
    """Open a locked account again."""
    _change(login, data, lambda known, user_id: known.set_disabled(user_id, False))
    out.print(f"Enabled {login}", highlight=False, markup=False)


@users.command("password")
def set_password(login: Login, data: Data = None) -> None:
    """Set a password; every token of the user ends."""
    password = _ask_password()
    _change(login, data, lambda known, user_id: known.set_password(user_id, password))
    out.print(f"The password of {login} is set", highlight=False, markup=False)


async def _everybody(known: Accounts) -> list[UserRecord]:
    found: list[UserRecord] = []
    cursor: str | None = None
    while True:
        page, cursor = await known.users(cursor, 200)
        found += page
        if cursor is None:
            return found


def _change(
    login: str, data: Path | None, work: Callable[[Accounts, str], Awaitable[object]]
) -> None:
    async def find_and_change(known: Accounts) -> None:
        await work(known, (await known.find(login)).id)

    _with_accounts(data, find_and_change)


def _with_accounts(data: Path | None, work: Callable[[Accounts], Awaitable[T]]) -> T:
    from parlour.cli.stores import accounts
    from parlour.config import load_settings

    async def opened() -> T:
        async with accounts(load_settings(data_folder=data)) as known:
            return await work(known)

    return run_async(opened())


def _ask_password() -> str:
    """Twice from a terminal, once from a pipe; never an option, which other users of the machine see."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\n")
