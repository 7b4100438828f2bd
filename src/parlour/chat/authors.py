"""How the app signs what it says."""

from __future__ import annotations

from parlour.chat.calling import call
from parlour.chat.context import ParlourContext
from parlour.wire.records import Author


async def sign(found: ParlourContext, name: str | None) -> Author:
    """The author record of an app's message: its name, or the app's, put through
    `author_rename`."""
    signed = name or found.app_name
    if found.author_rename is not None:
        signed = str(await call(found.author_rename, signed))
    return {"id": "app", "name": signed}
