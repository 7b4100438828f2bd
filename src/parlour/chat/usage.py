"""Saying which model a session uses, for as long as it is used."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from parlour.chat.context import get_context

NAME_LIMIT: Final = 200
"""Characters of a model's name."""


@asynccontextmanager
async def use_model(name: str) -> AsyncIterator[None]:
    """While the block runs this session counts among those that use the model (`GET /api/usage`).

        async with cl.use_model("gpt-4o"):
            async for token in model(message.content):
                await out.stream_token(token)

    The entry is renewed every second and runs out three seconds after the last time, also when the
    server is killed. Works inside handlers; raises `ContextMissing` elsewhere, ValueError for a name
    that is empty or longer than `NAME_LIMIT`.
    """
    if not 0 < len(name) <= NAME_LIMIT:
        raise ValueError(f"the name of a model has 1 to {NAME_LIMIT} characters")
    context = get_context()
    with context.node.usage.during(name, context.session.id):
        yield
