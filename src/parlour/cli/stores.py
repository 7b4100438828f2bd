"""The database, opened for one command while a server may run on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from parlour.backends.sql import SqlStore, open_sql
from parlour.cli.console import progress_bar
from parlour.config import Settings
from parlour.errors import Unavailable
from parlour.server.accounts import Accounts
from parlour.server.clock import SystemClock


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[SqlStore]:
    """The stores. The data folder is not locked: users and keys are the database's own business, and a
    running server sees them at once."""
    if settings.uses_sqlite:
        try:
            settings.data_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            folder = settings.data_folder
            raise Unavailable(
                f"the data folder {folder} cannot be made: {error.strerror}"
            ) from None
    with progress_bar() as progress:
        store = await open_sql(
            settings.database_url.get_secret_value(),
            None,
            clock=SystemClock(),
            progress=progress,
            pool_size=2,
            time_limit=settings.database_timeout_seconds,
        )
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def accounts(settings: Settings) -> AsyncIterator[Accounts]:
    """The users and keys of that database."""
    async with opened(settings) as store:
        yield Accounts(store.users, settings, SystemClock())
