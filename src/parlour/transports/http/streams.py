"""`GET /api/streams/{name}`: any stream without a socket, as a page, a long poll or server-sent events.

No state is kept between requests, so any node can answer the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import Response

from parlour.core.streams import Position, check_stream_name
from parlour.errors import InvalidPayload, PositionLost
from parlour.server.connections import Caller
from parlour.transports.http import events as sse
from parlour.transports.http.calling import CurrentCaller
from parlour.transports.http.following import (
    News,
    follow,
    parse_position,
    position_of,
    with_ticks,
)
from parlour.transports.http.identity import CurrentNode, token_of
from parlour.transports.http.rates import OpenAnswers
from parlour.wire.events import event_payload

router = APIRouter(tags=["streams"])

LONGEST_WAIT: Final = 60.0
"""Seconds."""

Wire = dict[str, Any]


@router.get("/api/streams/{name}", response_model=None)
async def read_stream(
    name: Annotated[str, Path(max_length=200)],
    request: Request,
    caller: CurrentCaller,
    node: CurrentNode,
    after: Annotated[str | None, Query(max_length=60)] = None,
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT)] = 0.0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    last_event_id: Annotated[str | None, Header(max_length=60)] = None,
) -> Wire | Response:
    """Events after a position (`epoch:offset`), or a snapshot where there is none or it is lost.

    JSON: `{status, events, snapshot?, position, head}`; with `wait` seconds the answer is held back until
    something happens. `Accept: text/event-stream`: the same without end; `Last-Event-ID` wins over
    `after`; events named `snapshot` replace everything before, `error` is the last one.
    """
    _check_name(name)
    places: OpenAnswers = request.app.state.open_answers
    if sse.MEDIA_TYPE in request.headers.get("accept", ""):
        position = parse_position(last_event_id) or parse_position(after)
        watch = sse.Watch(node, token_of(request) or "")
        # Refusals are answers of their own, not events in an answer that began well.
        await node.permissions.require_read(caller.user, name)
        places.check(caller.user.id)
        flow = _flow(node, caller, name, position, watch)
        return sse.stream_response(sse.told(flow, places.one(caller.user.id)))
    answer = await _page(node, caller, name, parse_position(after), limit)
    if wait and answer["status"] == "live":
        with places.one(caller.user.id):
            return await _wait(node, caller, name, position_of(answer["position"]), wait)
    return answer


def _check_name(name: str) -> None:
    try:
        check_stream_name(name)
    except ValueError as error:
        raise InvalidPayload(str(error), field="name") from None


async def _page(
    node: CurrentNode, caller: Caller, name: str, after: Position | None, limit: int
) -> Wire:
    """At most `limit` events from exactly where the reader stands. A snapshot may be shorter than
    the history, but who asks for events by position wants them."""
    if after is not None:
        await node.permissions.require_read(caller.user, name)
        try:
            page = await node.log.read(name, after, min(limit, node.settings.page_limit))
        except PositionLost:
            pass
        else:
            return {
                "status": "replayed" if page.events else "live",
                "events": [event_payload(event) for event in page.events],
                "position": page.position.to_wire(),
                "head": page.head.to_wire(),
            }
    answer: Wire = await node.recovery.snapshot(caller, name)
    return {**answer, "head": answer["position"]}


async def _wait(
    node: CurrentNode, caller: Caller, name: str, position: Position, seconds: float
) -> Wire:
    """The first news within the time, else the same position again."""
    try:
        async with (
            asyncio.timeout(seconds),
            aclosing(follow(node, caller, name, position)) as all_news,
        ):
            async for news in all_news:
                return _answer(news)
    except TimeoutError:
        pass
    here = position.to_wire()
    return {"status": "live", "events": [], "position": here, "head": here}


def _answer(news: News) -> Wire:
    position = news.position.to_wire()
    if news.snapshot is not None:
        snapshot = news.snapshot
        answer: Wire = {"status": "snapshot", "events": [], "snapshot": snapshot}
    else:
        answer = {"status": "replayed", "events": news.events}
    return {**answer, "position": position, "head": position}


async def _flow(
    node: CurrentNode, caller: Caller, name: str, position: Position | None, watch: sse.Watch
) -> AsyncGenerator[bytes]:
    quiet = 0
    source = follow(node, caller, name, position)
    async with aclosing(with_ticks(source, sse.TICK_SECONDS)) as all_news:
        async for news in all_news:
            await watch.tick()
            if watch.leaving:
                return
            quiet = quiet + 1 if news is None else 0
            if news is not None:
                yield _encode(news)
            elif quiet % sse.COMMENT_TICKS == 0:
                yield sse.COMMENT


def _encode(news: News) -> bytes:
    if news.snapshot is not None:
        data = {"snapshot": news.snapshot, "position": news.position.to_wire()}
        return sse.event(data, name="snapshot", id=str(news.position))
    return b"".join(sse.event(item, id=item["id"]) for item in news.events)
