"""Asks: durable questions with at most one accepted answer, from any tab, node or life of the server.

An ask is an event; closing it is an event under the dedupe key `ask:{ask_id}`, so the log itself decides
who was first: an answer, a second answer, the time limit or a Stop. The handler that waits hears of it
through the stream like everybody else, wherever the answer came in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import orjson
import structlog

from parlour.core.asks import accept, ask_thread, check_files
from parlour.core.streams import Batch, Dedupe, Position
from parlour.errors import CommandError, NotFound, PositionLost
from parlour.ports import Lost
from parlour.server.connections import Caller, Connection
from parlour.server.feeds import Feed
from parlour.server.streams import NewData
from parlour.wire.records import AskFields, AskSpec, Author, MessageFields
from parlour.wire.told import (
    ASK,
    ASK_CLOSED,
    ASKED,
    MESSAGE,
    MESSAGE_UPDATE,
    AskClosed,
    Asked,
    AskedMessage,
)

if TYPE_CHECKING:
    from parlour.server.node import Node
    from parlour.server.runs import Run

log = structlog.get_logger(__name__)

Closed = Mapping[str, Any]


class Asks:
    """Opens asks for runs and takes answers from anybody who may write in the conversation."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._waiting: set[str] = set()

    async def ask(
        self,
        run: Run,
        spec: Mapping[str, Any],
        content: str,
        author: Mapping[str, Any] | None,
        timeout: float,
    ) -> dict[str, Any] | None:
        """See `Run.ask`."""
        node = self._node
        ask_id = f"{run.thread_id}.{node.new_id()}"
        message_id = node.new_id()
        closed: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()

        def hear(item: Batch | Lost) -> None:
            if isinstance(item, Lost):
                node.tasks.spawn(self._look_again(run.stream_name, ask_id, hear, closed), "ask")
                return
            for event in item.events:
                if event.type == "ask:closed" and event.data.get("ask_id") == ask_id:
                    _resolve(closed, event.data)

        feed = await node.feeds.acquire(run.stream_name)
        feed.watch(hear)
        self._waiting.add(ask_id)
        try:
            body = self._describe(run, ask_id, message_id, spec, content, author, timeout)
            await run.emit(*body)
            await self._tell_connections(run, body[-1][1])
            return await self._wait(run, ask_id, closed, timeout, message_id)
        except asyncio.CancelledError:
            # A Stop ends the question, also one that is only just being put. A node that goes away
            # leaves it open: it outlives the handler.
            if run.stopping:
                closing = self._close(run, ask_id, "cancelled", closed)
                await asyncio.shield(node.tasks.spawn(closing, "ask cancelled"))
            raise
        finally:
            self._waiting.discard(ask_id)
            feed.unwatch(hear)
            node.feeds.release(feed)

    def _describe(
        self,
        run: Run,
        ask_id: str,
        message_id: str,
        spec: Mapping[str, Any],
        content: str,
        author: Mapping[str, Any] | None,
        timeout: float,
    ) -> tuple[NewData, NewData]:
        """The question as a message of the conversation, and the ask that refers to it."""
        now = self._node.clock.now_ms()
        message: MessageFields = {
            "id": message_id,
            "role": "assistant",
            "author": cast(Author | None, author),
            "content": content,
            "created_at": now,
            "run_id": run.id,
            "data": {"ask_id": ask_id},
        }
        asked: AskFields = {
            "ask_id": ask_id,
            "message_id": message_id,
            "content": content,
            "author": cast(Author | None, author),
            "spec": cast(AskSpec, {**spec, "timeout_at": now + int(timeout * 1000)}),
            "run_id": run.id,
        }
        return MESSAGE(message), ASK(asked)

    async def _tell_connections(self, run: Run, ask: Mapping[str, Any]) -> None:
        """The session whose run asks; a guest's only as long as the conversation is shared with the guest."""
        grant = await self._node.permissions.grant(run.chat.user, run.stream_name)
        if not grant.write:
            return
        for connection in self._node.hub.members(f"session:{run.chat.session_id}"):
            self._put(connection, ask)

    def repeat(self, connection: Connection, asks: Sequence[Mapping[str, Any]]) -> None:
        """Put the open questions of a conversation to a connection that comes (back) to it."""
        for ask in asks:
            self._put(connection, ask)

    def _put(self, connection: Connection, ask: Mapping[str, Any]) -> None:
        """Existing clients hear `ask` as an event of its own and may answer in its acknowledgement."""
        message: AskedMessage = {
            "id": ask["message_id"],
            "content": ask["content"],
            "author": ask["author"],
        }
        payload: Asked = {
            "ask_id": ask["ask_id"],
            "message": message,
            "spec": ask["spec"],
            "thread_id": ask_thread(ask["ask_id"]),
        }
        caller = self._node.caller_of(connection)

        def done(args: Sequence[Any] | None) -> None:
            if args and args[0] not in (None, {}):
                work = self._answer_from_ack(caller, ask["ask_id"], args[0])
                self._node.tasks.spawn(work, "ask answered by acknowledgement")

        connection.link.call(ASKED.name, [payload], done)

    async def _answer_from_ack(self, caller: Caller, ask_id: str, answer: Any) -> None:
        try:
            await self.answer(caller, ask_id, answer, command_id=f"ack-{caller.session_id}")
        except CommandError as error:
            log.info("answer refused", ask=ask_id, code=error.code)

    async def _wait(
        self, run: Run, ask_id: str, closed: asyncio.Future[Closed], timeout: float, message_id: str
    ) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(timeout):
                outcome = await asyncio.shield(closed)
        except TimeoutError:
            outcome = await self._close(run, ask_id, "expired", closed)
        if outcome.get("outcome") != "answered":
            return None
        return {
            "answer": outcome["answer"],
            "answered_by": outcome["answered_by"],
            "message_id": message_id,
            "ask_id": ask_id,
        }

    async def _close(
        self,
        run: Run,
        ask_id: str,
        outcome: Literal["cancelled", "expired"],
        closed: asyncio.Future[Closed],
    ) -> Closed:
        """Close without an answer, unless somebody was faster: then that answer counts."""
        data: AskClosed = {"ask_id": ask_id, "outcome": outcome, "answered_by": None}
        appended = await self._node.streams.append(
            run.stream_name,
            ASK_CLOSED(data),
            cause=run.id,
            fence=run.fence,
            dedupe=Dedupe(_key(ask_id), orjson.dumps(data)),
        )
        return orjson.loads(appended.receipt) if appended.duplicate else data

    async def _look_again(
        self, stream: str, ask_id: str, hear: Any, closed: asyncio.Future[Closed]
    ) -> None:
        """Continuity was lost: follow the stream again and see whether the ask was closed meanwhile."""
        feed = await self._node.feeds.acquire(stream)
        feed.watch(hear)
        self._node.feeds.release(feed)
        if ask_id not in feed.state.asks and not closed.done():
            known = await self._receipt(stream, ask_id)
            _resolve(closed, known or {"ask_id": ask_id, "outcome": "cancelled"})

    # -- answers ---------------------------------------------------------------------------------

    async def answer(
        self, caller: Caller, ask_id: str, answer: Any, command_id: str, *, shown: bool = False
    ) -> dict[str, Any]:
        """Answer an ask: `{accepted, answered_by, position}`. The first answer is accepted; a retry of
        the same command hears the same. `shown`: the answer already stands in the conversation.
        Raises `NotFound`, `Forbidden` (also for who may only read), `InvalidPayload`."""
        thread_id = ask_thread(ask_id)
        stream = f"thread:{thread_id}"
        await self._node.permissions.require_existing(caller.user, stream)
        await self._node.permissions.require_write(caller.user, stream)
        ask = (await self._node.state_of(stream)).asks.get(ask_id)
        if ask is None:
            known = await self._receipt(stream, ask_id)
            if known is None:
                raise NotFound("There is no such ask.")
            return _answered(known, command_id)
        return await self._accept(caller, stream, ask, answer, command_id, shown)

    async def _accept(
        self,
        caller: Caller,
        stream: str,
        ask: Mapping[str, Any],
        answer: Any,
        command_id: str,
        shown: bool,
    ) -> dict[str, Any]:
        accepted = accept(ask["spec"], answer)
        files = await self._node.attachments(
            caller.user, accepted.get("files", []), thread_id=ask_thread(ask["ask_id"])
        )
        check_files(ask["spec"], files)
        by = caller.user.author()
        closed: AskClosed = {
            "ask_id": ask["ask_id"],
            "outcome": "answered",
            "answered_by": by,
            "answer": {**accepted, **({"files": files} if files else {})},
        }
        receipt = orjson.dumps({**closed, "command_id": command_id})
        appended = await self._node.streams.append(
            stream,
            ASK_CLOSED(closed),
            *([] if shown else self._show(ask, accepted, files, caller)),
            source=f"user:{caller.user.id}",
            cause=command_id,
            dedupe=Dedupe(_key(ask["ask_id"]), receipt),
        )
        known = orjson.loads(appended.receipt) if appended.duplicate else orjson.loads(receipt)
        if not appended.duplicate:
            await self._wake_app(caller, stream, ask, closed, appended.position)
        return {**_answered(known, command_id), "position": appended.position.to_wire()}

    def _show(
        self, ask: Mapping[str, Any], accepted: Mapping[str, Any], files: list[Any], caller: Caller
    ) -> list[NewData]:
        """How the answer appears in the conversation."""
        if "action" in accepted:
            chosen = accepted["action"]
            data = {"ask_id": ask["ask_id"], "selected": chosen.get("label") or chosen.get("name")}
            return [MESSAGE_UPDATE({"id": ask["message_id"], "data": data})]
        message: MessageFields = {
            "id": self._node.new_id(),
            "role": "user",
            "author": caller.user.author(),
            "content": accepted.get("text", ""),
            "created_at": self._node.clock.now_ms(),
            "data": {"answers": ask["ask_id"]},
        }
        if files:
            message["files"] = files
        return [MESSAGE(message)]

    async def _wake_app(
        self,
        caller: Caller,
        stream: str,
        ask: Mapping[str, Any],
        closed: Closed,
        position: Position,
    ) -> None:
        """Where the handler that asked is gone, the answer reaches `on_message` with the ask in its data."""
        thread_id = stream.partition(":")[2]
        # The lease first: a run writes its end before it gives the lease up.
        held = await self._node.leases.holder(f"run:{thread_id}") is not None
        feed = await self._node.feeds.acquire(stream)
        try:
            running = ask.get("run_id") in feed.state.runs
            finished = _ended_since(feed, position, ask.get("run_id"))
        finally:
            self._node.feeds.release(feed)
        if finished or (running and held):
            return
        chat = await self._node.chats.open(caller, thread_id)
        message: MessageFields = {
            "id": self._node.new_id(),
            "role": "user",
            "author": caller.user.author(),
            "content": closed["answer"].get("text", ""),
            "files": closed["answer"].get("files", []),
            "created_at": self._node.clock.now_ms(),
            "data": {"ask": dict(ask), "answer": closed["answer"]},
        }
        self._node.runs.start(
            chat,
            "on_message",
            lambda run: self._node.app.message(run, message),
            cause=ask["ask_id"],
        )

    async def _receipt(self, stream: str, ask_id: str) -> Closed | None:
        """How the ask was closed, asked of the log without writing anything."""
        appended = await self._node.streams.known(stream, _key(ask_id))
        if appended is None:
            return None
        closed: Closed = orjson.loads(appended.receipt)
        return closed


def _ended_since(feed: Feed, position: Position, run_id: str | None) -> bool:
    """Whether the run ended after the answer: a quick handler has taken it and is done already."""
    try:
        events = feed.since(position) or ()
    except PositionLost:  # this node has not heard of the answer yet
        return False
    return any(e.type == "run:ended" and e.data.get("run_id") == run_id for e in events)


def _key(ask_id: str) -> str:
    return f"ask:{ask_id}"


def _resolve(closed: asyncio.Future[Closed], data: Closed) -> None:
    if not closed.done():
        closed.set_result(data)


def _answered(known: Closed, command_id: str) -> dict[str, Any]:
    accepted = known.get("outcome") == "answered" and known.get("command_id") == command_id
    return {"accepted": accepted, "answered_by": known.get("answered_by")}
