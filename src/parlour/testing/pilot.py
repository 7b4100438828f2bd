"""A pilot for app authors' tests: talks to an app in a real node, without sockets and without a
page.

    async with pilot("app.py") as node:
        talk = await node.open("ann")
        [answer] = await talk.say("hello")
        assert answer["content"] == "You said: hello"

Everything below the app is real: runs, questions, stored conversations. Waits end with a
TimeoutError after `PATIENCE` seconds. Messages, steps and questions are the JSON records that
clients get.
"""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from parlour.chat.application import ChatApp
from parlour.chat.loading import load_app
from parlour.config import Settings
from parlour.core.streams import Batch, Event
from parlour.core.thread import ThreadState
from parlour.core.users import User
from parlour.errors import NotFound
from parlour.ports import FileRecord, Lost, SessionRecord
from parlour.server.connections import Caller
from parlour.server.node import Node, run_node
from parlour.server.runs import Run
from parlour.transports.parts import PARTS

PATIENCE: Final = 10.0
"""Seconds that any wait may take."""

Record = dict[str, Any]


@asynccontextmanager
async def pilot(
    app: ChatApp | str | Path, *, folder: Path | None = None, **settings: Any
) -> AsyncIterator[Pilot]:
    """Run a node with the app: one that was loaded, a file, or a module. `folder` keeps the data
    for another pilot to find (a restart); without it the data is thrown away. `settings` are
    those of docs/settings.md. Raises what loading and starting an app raise."""
    loaded = app if isinstance(app, ChatApp) else load_app(app)
    async with AsyncExitStack() as stack:
        if folder is None:
            made = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="parlour-pilot-")
            stack.push_async_callback(asyncio.to_thread, made.cleanup)
            folder = Path(made.name)
        options: dict[str, Any] = {"demo_tokens_per_second": 0, **settings}
        node = await stack.enter_async_context(
            run_node(Settings(data_folder=folder, **options), loaded, parts=PARTS)
        )
        yield Pilot(node)


@dataclass(frozen=True, slots=True)
class Pilot:
    """A node, and a way to sit down at it."""

    node: Node

    async def open(
        self,
        name: str = "ann",
        *,
        thread_id: str | None = None,
        session_id: str | None = None,
        user_env: Mapping[str, str] | None = None,
        chat_profile: str | None = None,
        role: str = "user",
    ) -> Talk:
        """Somebody opens a conversation, a new one or (`thread_id`) one that exists. Gives back
        when the app's greeting has ended, or asks something."""
        talk = Talk(
            self.node,
            User(name, name.capitalize(), role),
            session_id or uuid.uuid4().hex,
            thread_id or uuid.uuid4().hex,
            dict(user_env or {}),
            chat_profile,
        )
        await talk.open()
        return talk


@dataclass
class Talk:
    """One person's session in one conversation."""

    node: Node
    user: User = field(default_factory=lambda: User("ann", "Ann"))
    session_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    thread_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    user_env: dict[str, str] = field(default_factory=dict)
    chat_profile: str | None = None

    # -- what the person does ----------------------------------------------------------------------

    async def open(self) -> None:
        """Open the conversation as a page does, and wait until the app's greeting ended or asks."""
        await self._bind()
        await self.node.permissions.require_write(self.user, self.stream)
        await self.node.chats.open(self.caller, self.thread_id)
        await self.settle()

    async def say(self, text: str, *, files: Sequence[str] = ()) -> list[Record]:
        """Send a message (which answers an open question for a text) and wait until the app has
        finished or asks something; the messages that the app sent meanwhile, as they are then."""
        before = {message["id"] for message in await self.messages()}
        await self.send(text, files=files)
        await self.settle()
        return [m for m in await self.answers() if m["id"] not in before]

    async def send(self, text: str, *, files: Sequence[str] = ()) -> Record:
        """Send a message without waiting for the app; the command's answer."""
        return await self.command("message:send", content=text, files=list(files))

    async def question(self) -> Record:
        """The question that is open; waits for one."""
        await self._until(lambda state, active: bool(state.asks))
        return dict(next(iter((await self.state()).asks.values())))

    async def answer(self, value: Any) -> Record:
        """Answer the open question: a text, the name of an action, or a list of file ids. Waits
        until the app has finished or asks something else; the command's answer."""
        ask = await self.question()
        given = {"files": list(value)} if isinstance(value, list | tuple) else value
        told = await self.command("ask:answer", ask_id=ask["ask_id"], answer=given)
        await self._until(lambda state, active: ask["ask_id"] not in state.asks)
        await self.settle()
        return told

    async def press(self, name: str) -> None:
        """Press the newest button of this name and wait until the app has finished. Raises
        `NotFound`."""
        for message in reversed(await self.messages()):
            for action in message.get("actions") or ():
                if action["name"] == name:
                    await self.command("action:call", action=action, message_id=message["id"])
                    await self.settle()
                    return
        raise NotFound(f"There is no button {name!r} in this conversation.")

    async def stop(self) -> bool:
        """Press Stop; whether something was stopped."""
        return bool((await self.command("run:stop"))["accepted"])

    async def change_settings(self, **values: Any) -> Record:
        """Change chat settings and wait for the app; all settings afterwards."""
        answer = await self.command("settings:update", settings=values)
        await self.settle()
        return dict(answer["settings"])

    async def upload(self, name: str, content: bytes, mime: str = "text/plain") -> str:
        """Put a file into the store; its id, for `files=` or `answer`."""

        async def chunks() -> AsyncIterator[bytes]:
            yield content

        record = FileRecord(
            self.node.new_id(),
            self.user.id,
            name,
            mime,
            0,
            self.thread_id,
            self.node.clock.now_ms(),
        )
        limit = self.node.settings.max_file_bytes
        return (await self.node.files.put(record, chunks(), limit=limit)).id

    async def leave(self) -> None:
        """End the session for good: the app hears `on_chat_end`."""
        record = await self.node.sessions.load(self.session_id)
        if record is not None:
            await self.node.chats.end(record)

    async def command(self, event: str, **payload: Any) -> Record:
        """Any command of the wire protocol, with its ids filled in. Raises `CommandError`."""
        filled = {"thread_id": self.thread_id, "command_id": uuid.uuid4().hex, **payload}
        return await self.node.router.execute(self.caller, event, filled)

    # -- what there is to see ----------------------------------------------------------------------

    async def messages(self) -> list[Record]:
        """All messages, oldest first."""
        return list((await self.state()).messages.values())

    async def contents(self) -> list[str]:
        """The texts of all messages, oldest first."""
        return [message["content"] for message in await self.messages()]

    async def answers(self) -> list[Record]:
        """The app's messages, oldest first."""
        return [message for message in await self.messages() if message["role"] != "user"]

    async def steps(self) -> list[Record]:
        """All steps, oldest first."""
        return list((await self.state()).steps.values())

    async def outcome(self) -> str:
        """How the last run ended: `completed`, `stopped`, `failed` or `interrupted`. Raises
        `NotFound` where none has ended."""
        last = (await self.state()).last_run
        if last is None:
            raise NotFound("No run has ended in this conversation.")
        return str(last["outcome"])

    async def session_values(self) -> dict[str, Any]:
        """What handlers keep in `user_session`."""
        return dict((await self.node.chats.open(self.caller, self.thread_id)).values)

    async def state(self) -> ThreadState:
        """The conversation as clients see it now."""
        return await self.node.state_of(self.stream)

    async def events(self) -> list[Event]:
        """The conversation's events, at most 1,000, oldest first."""
        return list((await self.node.log.read(self.stream, None, 1000)).events)

    # -- waiting -----------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Wait until the app has finished here, or asks something."""
        await self._until(lambda state, active: _asks(state, active) or not active)

    async def finish(self) -> None:
        """Wait until the app has finished here, questions and all."""
        await self._until(lambda state, active: not active)

    async def _until(self, done: Callable[[ThreadState, list[Run]], bool]) -> None:
        """Wait for a condition of the state and the runs; looked at after each event and run."""
        feed = await self.node.feeds.acquire(self.stream)
        heard = asyncio.Event()

        def hear(item: Batch | Lost) -> None:
            heard.set()

        feed.watch(hear)
        try:
            async with asyncio.timeout(PATIENCE):
                while not done(feed.state, active := self.node.runs.active(self.thread_id)):
                    heard.clear()
                    news = asyncio.ensure_future(heard.wait())
                    waited: list[asyncio.Future[Any]] = [news, *(run.ended for run in active)]
                    try:
                        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        news.cancel()
        finally:
            feed.unwatch(hear)
            self.node.feeds.release(feed)

    # -- who asks ----------------------------------------------------------------------------------

    @property
    def stream(self) -> str:
        return f"thread:{self.thread_id}"

    @property
    def caller(self) -> Caller:
        """On whose behalf commands run."""
        return Caller(self.user, self.session_id, client="http", user_env=self.user_env)

    async def _bind(self) -> None:
        now = self.node.clock.now_ms()
        await self.node.sessions.bind(
            SessionRecord(
                self.session_id,
                self.user.id,
                chat_profile=self.chat_profile,
                created_at=now,
                last_seen=now,
            )
        )


def _asks(state: ThreadState, active: Sequence[Run]) -> bool:
    running = {run.id for run in active}
    return any(ask.get("run_id") in running for ask in state.asks.values())
