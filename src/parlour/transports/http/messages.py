"""`/api/threads/{id}/messages`: reading a conversation, and talking in it without a socket."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from parlour.core.access import CLIENT_ID
from parlour.errors import InvalidPayload
from parlour.server.connections import Caller
from parlour.transports.http import events as sse
from parlour.transports.http.calling import CurrentCaller, execute
from parlour.transports.http.following import follow, with_ticks
from parlour.transports.http.identity import CurrentNode, token_of
from parlour.transports.http.rates import OpenAnswers
from parlour.transports.http.threads import ThreadId, readable_thread
from parlour.transports.http.turns import Turn

router = APIRouter(prefix="/api/threads/{thread_id}/messages", tags=["messages"])

Wire = dict[str, Any]


class MessagePage(BaseModel):
    """Oldest first; `next_cursor` as `before` gives the page before this one, None at the beginning."""

    items: list[Wire]
    next_cursor: str | None


class NewMessage(BaseModel):
    """`stream` asks for server-sent events as the `Accept` header does. `user_env` is for this session."""

    content: str
    command_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    files: Annotated[list[str], Field(max_length=20)] = []
    parent_id: str | None = None
    reply_to_id: str | None = None
    data: dict[str, Any] | None = None
    stream: bool = False
    user_env: Annotated[dict[str, str], Field(max_length=50)] = {}


class RunOut(BaseModel):
    """`waiting`: the app asks something; answer with `POST /api/commands/ask:answer`."""

    id: str | None
    outcome: Literal["completed", "stopped", "failed", "interrupted", "waiting", "none"]
    error: Wire | None = None


class Answer(BaseModel):
    """What came of a message: `message` is it as stored, `messages` are the app's, in order."""

    thread_id: str
    message: Wire
    run: RunOut
    messages: list[Wire]
    asks: list[Wire]
    position: Wire


@router.get("")
async def list_messages(
    thread_id: ThreadId,
    caller: CurrentCaller,
    node: CurrentNode,
    before: Annotated[str | None, Query(max_length=20)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> MessagePage:
    """The newest messages, or those before a cursor. What has left the window comes from the database."""
    await readable_thread(node, caller, thread_id)
    stream = f"thread:{thread_id}"
    until = _offset(before)
    answer = await node.recovery.snapshot(caller, stream)
    held = [m for m in answer["snapshot"]["messages"] if until is None or m["offset"] < until]
    found: list[Wire] = held[-limit:]
    # One more than asked tells whether there is another page.
    if len(held) <= limit and answer["snapshot"]["truncated"]:
        found = await _older(node, stream, found, until, limit) + found
    more = len(held) > limit or len(found) > limit
    items = found[-limit:]
    cursor = str(items[0]["offset"]) if items and more else None
    return MessagePage(items=items, next_cursor=cursor)


async def _older(
    node: CurrentNode, stream: str, held: Sequence[Wire], until: int | None, limit: int
) -> list[Wire]:
    before = held[0]["offset"] if held else until
    older = await node.archive.messages(stream, before=before, limit=limit + 1 - len(held))
    return [dict(message) for message in reversed(older)]


def _offset(cursor: str | None) -> int | None:
    if cursor is None or cursor == "":
        return None
    if not cursor.isascii() or not cursor.isdigit():
        raise InvalidPayload("This cursor is not one of ours.", field="before")
    return int(cursor)


@router.post("", response_model=Answer)
async def send_message(
    thread_id: ThreadId,
    body: NewMessage,
    request: Request,
    caller: CurrentCaller,
    node: CurrentNode,
) -> Answer | Response:
    """Say something and get the answer: as JSON when the run has ended (or asks something), or as
    server-sent events while it goes on. A new id begins a conversation. A retry with the same
    `command_id` sends nothing again and gives the same answer.
    """
    if not CLIENT_ID.match(thread_id):
        raise InvalidPayload("A conversation's id has 8 to 64 of A-Z a-z 0-9 _ -.")
    places: OpenAnswers = request.app.state.open_answers
    places.check(caller.user.id)
    caller = _with_environment(node, caller, body.user_env)
    payload = body.model_dump(exclude={"stream", "user_env"}, exclude_none=True)
    sent = await execute(node, caller, "message:send", {"thread_id": thread_id, **payload})
    turn = Turn(f"thread:{thread_id}", sent, node.app.handles("on_message"))
    watch = sse.Watch(node, token_of(request) or "")
    if body.stream or sse.MEDIA_TYPE in request.headers.get("accept", ""):
        flow = _flow(node, caller, turn, watch)
        return sse.stream_response(sse.told(flow, places.one(caller.user.id)))
    with places.one(caller.user.id):
        await _finish(node, caller, turn, watch, request)
    return _answer(thread_id, turn)


def _with_environment(node: CurrentNode, caller: Caller, user_env: dict[str, str]) -> Caller:
    """The caller with a `user_env` of its own (kept in the process, never on disk)."""
    missing = [name for name in node.settings.user_env if not user_env.get(name)]
    if missing:
        raise InvalidPayload(f"The app needs in user_env: {', '.join(missing)}.", names=missing)
    return replace(caller, user_env=user_env)


async def _finish(
    node: CurrentNode, caller: Caller, turn: Turn, watch: sse.Watch, request: Request
) -> None:
    """Wait for the end of the turn, unless nobody waits for it any more: the run goes on without."""
    if turn.over:
        return
    source = follow(node, caller, turn.stream, turn.position)
    async with aclosing(with_ticks(source, sse.TICK_SECONDS)) as all_news:
        async for news in all_news:
            await watch.tick()
            if news is not None:
                turn.hear(news)
            elif await request.is_disconnected():
                return
            if turn.over or watch.leaving:
                return


def _answer(thread_id: str, turn: Turn) -> Answer:
    return Answer(
        thread_id=thread_id,
        message=turn.message,
        run=RunOut(id=turn.run_id, outcome=turn.outcome, error=turn.error),
        messages=turn.messages,
        asks=turn.asks,
        position=turn.position.to_wire(),
    )


async def _flow(
    node: CurrentNode, caller: Caller, turn: Turn, watch: sse.Watch
) -> AsyncGenerator[bytes]:
    """`message` (as stored), the conversation's events, at last `end` with what JSON callers get."""
    yield sse.event({"message": turn.message}, name="message-sent", id=str(turn.position))
    quiet = 0
    source = follow(node, caller, turn.stream, turn.position)
    async with aclosing(with_ticks(source, sse.TICK_SECONDS)) as all_news:
        while not turn.over and not watch.leaving:
            news = await anext(all_news)
            await watch.tick()
            quiet = quiet + 1 if news is None else 0
            if news is not None:
                turn.hear(news)
                yield b"".join(sse.event(item, id=item["id"]) for item in news.events)
            elif quiet % sse.COMMENT_TICKS == 0:
                yield sse.COMMENT
    end = _answer(turn.stream.partition(":")[2], turn)
    yield sse.event(end.model_dump(), name="end", id=str(turn.position))
