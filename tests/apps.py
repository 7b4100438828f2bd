"""An app for tests, written against the server's own port: what it does is told by the message."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from parlour.core.thread import digest
from parlour.core.users import User
from parlour.server.chats import Chat
from parlour.server.node import Node
from parlour.server.runs import Run

HANDLERS = {"on_message", "on_chat_end"}


class ScriptedApp:
    """Commands: `say WORDS`, `endless`, `ask [briefly]`, `fail`."""

    name = "Scripted"
    description = ""

    def __init__(self) -> None:
        self.ended: list[tuple[str, str]] = []
        self.end_heard = asyncio.Event()

    def handles(self, handler: str) -> bool:
        return handler in HANDLERS

    async def startup(self, node: Node) -> None:
        return None

    async def shutdown(self) -> None:
        return None

    async def chat_start(self, run: Run) -> None:
        return None

    async def chat_resume(self, run: Run, snapshot: Mapping[str, Any]) -> None:
        return None

    async def message(self, run: Run, message: Mapping[str, Any]) -> None:
        asked = message.get("data", {}).get("ask")
        if asked is not None:
            await self._say(run, f"late answer {message['content']} to {asked['content']}")
            return
        command, _, rest = message["content"].partition(" ")
        match command:
            case "say":
                await self._stream(run, rest)
            case "endless":
                await self._endless(run)
            case "ask":
                await self._ask(run, 0.2 if rest == "briefly" else 30.0)
            case "fail":
                raise RuntimeError("secret of the trace")

    async def _say(self, run: Run, text: str) -> None:
        message = {"id": run.node.new_id(), "role": "assistant", "author": None, "content": text}
        await run.emit(("message", {**message, "run_id": run.id}))

    async def _begin(self, run: Run) -> str:
        message_id = run.node.new_id()
        message = {"id": message_id, "role": "assistant", "author": None, "content": ""}
        await run.emit(("message", {**message, "run_id": run.id, "streaming": True}))
        return message_id

    async def _stream(self, run: Run, text: str) -> None:
        message_id = await self._begin(run)
        tokens = run.stream(message_id)
        for number, word in enumerate(text.split(" ")):
            await tokens.write(word if number == 0 else f" {word}")
        await tokens.close()
        length, hash_ = digest(text)
        await run.emit(("message:done", {"id": message_id, "length": length, "hash": hash_}))

    async def _endless(self, run: Run) -> None:
        tokens = run.stream(await self._begin(run))
        while True:
            await tokens.write("tick ")
            await asyncio.sleep(0.01)

    async def _ask(self, run: Run, timeout: float) -> None:
        answer = await run.ask({"type": "text"}, "which colour?", timeout=timeout)
        await self._say(run, f"you said {answer['answer']['text']}" if answer else "no answer")

    async def action(self, run: Run, action: Mapping[str, Any]) -> None:
        await self._say(run, f"pressed {action['name']}")

    async def settings_update(self, run: Run, settings: Mapping[str, Any]) -> None:
        await self._say(run, f"settings {dict(settings)}")

    async def window_message(self, run: Run, data: Any) -> None:
        await self._say(run, f"window {data}")

    async def stopped(self, chat: Chat) -> None:
        return None

    async def chat_end(self, chat: Chat) -> None:
        self.ended.append(chat.key)
        self.end_heard.set()

    async def logout(self, user: User) -> None:
        return None

    async def authenticate_password(self, login: str, password: str) -> User | None:
        return None

    async def authenticate_headers(self, headers: Mapping[str, str]) -> User | None:
        return None

    async def profiles(self, user: User | None) -> Sequence[Mapping[str, Any]]:
        return []

    async def starters(self, user: User | None, profile: str | None) -> Sequence[Mapping[str, Any]]:
        return []
