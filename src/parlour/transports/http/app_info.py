"""`GET /api/app`: what the page shows of the app before anything was said."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from parlour.chat.chat_settings import offered
from parlour.transports.http.calling import CurrentCaller
from parlour.transports.http.identity import CurrentNode

router = APIRouter(tags=["app"])


class Limits(BaseModel):
    """Bytes."""

    max_message_bytes: int
    max_file_bytes: int


class AppInfo(BaseModel):
    """`settings` are the inputs that the app offers in the conversation, with the values in force."""

    name: str
    description: str
    profiles: list[dict[str, Any]]
    starters: list[dict[str, Any]]
    settings: list[dict[str, Any]]
    limits: Limits


@router.get("/api/app")
async def read_app(
    caller: CurrentCaller,
    node: CurrentNode,
    thread_id: Annotated[str | None, Query(max_length=64)] = None,
    profile: Annotated[str | None, Query(max_length=100)] = None,
) -> AppInfo:
    """The app as this user sees it."""
    settings: list[dict[str, Any]] = []
    for chat in node.chats.of_thread(thread_id) if thread_id else ():
        if chat.user.id == caller.user.id:
            settings = offered(chat)
    return AppInfo(
        name=node.app.name,
        description=node.app.description,
        profiles=[dict(item) for item in await node.app.profiles(caller.user)],
        starters=[dict(item) for item in await node.app.starters(caller.user, profile)],
        settings=settings,
        limits=Limits(
            max_message_bytes=node.settings.max_message_bytes,
            max_file_bytes=node.settings.max_file_bytes,
        ),
    )
