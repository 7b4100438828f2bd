"""A connection of one session, kept alive over network failures, with commands that are sent once."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import socketio

from parlour.client.following import Following
from parlour.errors import CommandError, ConnectionRefused, ParlourError, Unavailable

PATH = "/ws/socket.io"
FINAL_REFUSALS = frozenset(
    {"unauthenticated", "token_expired", "forbidden", "unsupported_protocol", "missing_user_env"}
)
"""Refusals that coming back does not mend."""

ANSWER_SECONDS = 10.0
RETRY_SECONDS = (0.05, 2.0)

Answerer = Callable[[Any], Awaitable[Any]]


class Refused(CommandError):
    """The server refused a command; `wire_code` and `details` are what it said."""

    code = "refused"

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(str(error.get("message", "")))
        self.wire_code = str(error.get("code", "error"))
        self.wire_retryable = bool(error.get("retryable"))


class Client:
    """One session. Made by `connect`."""

    def __init__(
        self, url: str, auth: Mapping[str, Any], transports: list[str], http: aiohttp.ClientSession
    ) -> None:
        self.session_id: str = auth["session_id"]
        self._url = url
        self._auth = dict(auth)
        self._transports = transports
        self._http = http
        self._socket = socketio.AsyncClient(
            http_session=http,
            reconnection=True,
            reconnection_delay=0.2,
            reconnection_delay_max=2,
            randomization_factor=0.5,
        )
        self._followings: dict[str, Following] = {}
        self._answerers: dict[str, Answerer] = {}
        self._live = asyncio.Event()
        self._wanted = asyncio.Event()
        self._refusal: ConnectionRefused | None = None
        self._socket.on("connect", self._connected)
        self._socket.on("disconnect", self._disconnected)
        self._socket.on("connect_error", self._refused)
        self._socket.on("access:updated", self._access_updated)
        self._socket.on("call", self._called)
        for name in ("events", "events:channel", "events:note"):
            self._socket.on(name, self._heard)

    # -- what people use -------------------------------------------------------------------------

    @asynccontextmanager
    async def follow(self, stream: str) -> AsyncIterator[Following]:
        """Follow a stream until the block ends; several followers of one stream are not supported."""
        following = Following(stream)
        self._followings[stream] = following
        self._wanted.set()
        try:
            yield following
        finally:
            del self._followings[stream]
            with contextlib.suppress(ParlourError):
                await self.request("unsubscribe", {"stream": stream})

    async def send(
        self, thread_id: str, content: str, *, command_id: str | None = None, seconds: float = 60
    ) -> dict[str, Any]:
        """Send a message; retried with the same command id until it is acknowledged, at most `seconds`."""
        payload = {"thread_id": thread_id, "content": content}
        return await self.command("message:send", payload, command_id=command_id, seconds=seconds)

    async def answer(self, ask_id: str, answer: Any, *, seconds: float = 60) -> dict[str, Any]:
        """Answer an ask."""
        payload = {"ask_id": ask_id, "answer": answer}
        return await self.command("ask:answer", payload, seconds=seconds)

    async def stop(self, thread_id: str, *, seconds: float = 60) -> dict[str, Any]:
        """Stop every run of a conversation."""
        return await self.command("run:stop", {"thread_id": thread_id}, seconds=seconds)

    def on_call(self, name: str, answerer: Answerer) -> None:
        """Answer the server's calls of this name."""
        self._answerers[name] = answerer

    async def command(
        self,
        event: str,
        payload: Mapping[str, Any],
        *,
        command_id: str | None = None,
        seconds: float = 60,
    ) -> dict[str, Any]:
        """A command, done once however often it has to be sent. Raises `Refused`, `Unavailable` after `seconds`."""
        body = {**payload, "command_id": command_id or uuid.uuid4().hex}
        delay, longest = RETRY_SECONDS
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        return await self.request(event, body)
                    except Unavailable:
                        await asyncio.sleep(delay)
                    except Refused as error:
                        if not error.wire_retryable:
                            raise
                        await asyncio.sleep(delay)
                    delay = min(delay * 2, longest)
        except TimeoutError:
            raise Unavailable(f"{event} was not acknowledged in {seconds} s") from None

    async def request(self, event: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """One try. Raises `Refused`, or `Unavailable` when there is no connection or no answer."""
        if self._refusal is not None:
            raise self._refusal
        try:
            answer = await self._socket.call(event, dict(payload), timeout=ANSWER_SECONDS)
        except (socketio.exceptions.SocketIOError, ConnectionError, OSError) as error:
            raise Unavailable(f"{event}: {error}") from error
        if not isinstance(answer, dict) or not answer.get("ok"):
            raise Refused(answer.get("error", {}) if isinstance(answer, dict) else {})
        return answer

    async def live(self) -> None:
        """Wait until there is a connection."""
        await self._live.wait()

    # -- life ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect, and keep every following current, until cancelled."""
        delay, longest = RETRY_SECONDS
        while not self._socket.connected:
            try:
                await self._socket.connect(
                    self._url,
                    auth=self._auth,
                    socketio_path=PATH,
                    transports=self._transports,
                    wait_timeout=10,
                )
            except socketio.exceptions.ConnectionError:
                if self._refusal is not None:
                    raise self._refusal from None
                await asyncio.sleep(delay)
                delay = min(delay * 2, longest)
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._live.wait()
            await self._resubscribe()

    async def close(self) -> None:
        await self._socket.shutdown()
        await self._http.close()

    async def _resubscribe(self) -> None:
        """All stale streams in one round trip."""
        stale = [following for following in self._followings.values() if following.stale]
        await asyncio.gather(*(self._subscribe(following) for following in stale))

    async def _subscribe(self, following: Following) -> None:
        payload: dict[str, Any] = {"stream": following.stream}
        if following.position is not None:
            payload["position"] = following.position.to_wire()
        try:
            answer = await self.request("subscribe", payload)
        except Unavailable:
            self._wanted.set()
            return
        except Refused as error:
            if not error.wire_retryable:
                following.fail(error, final=False)
                return
            # What the server cannot do now it can do later; until then it is not asked in a hurry.
            await asyncio.sleep(RETRY_SECONDS[1] / 4)
            self._wanted.set()
            return
        except ParlourError as error:
            following.fail(error)
            return
        following.answered(answer)
        if following.stale:
            # What overtook the answer left a gap behind it.
            self._wanted.set()

    # -- what the socket says --------------------------------------------------------------------

    async def _connected(self) -> None:
        for following in self._followings.values():
            following.suspect()
        self._live.set()
        self._wanted.set()

    async def _disconnected(self, *reason: Any) -> None:
        self._live.clear()

    async def _refused(self, data: Any) -> None:
        told = data.get("data") if isinstance(data, dict) else None
        if isinstance(told, dict) and told.get("code") in FINAL_REFUSALS:
            self._refusal = ConnectionRefused(told["code"], str(told.get("message", "")))
            for following in self._followings.values():
                following.fail(self._refusal)

    async def _access_updated(self, payload: Mapping[str, Any]) -> None:
        following = self._followings.get(payload["room"])
        if following is not None:
            if payload.get("reason") == "granted":
                following.reopen()
            else:
                following.suspect()
            self._wanted.set()

    async def _heard(self, payload: Mapping[str, Any]) -> None:
        # Signals, such as typing, belong to no stream.
        following = self._followings.get(payload.get("stream", ""))
        if following is not None:
            was_stale = following.stale
            following.heard(payload)
            if following.stale and not was_stale:
                self._wanted.set()

    async def _called(self, payload: Mapping[str, Any]) -> Any:
        answerer = self._answerers.get(payload["name"])
        if answerer is None:
            return {"ok": False, "error": {"code": "unknown_call", "message": "No such call."}}
        return await answerer(payload["args"])


@asynccontextmanager
async def connect(
    url: str,
    *,
    token: str | None = None,
    session_id: str | None = None,
    transports: list[str] | None = None,
    **auth: Any,
) -> AsyncIterator[Client]:
    """A client that keeps itself connected until the block ends. `auth` goes into the connect packet.

    Returns at once; commands wait for the connection. A final refusal is raised by the first command.
    """
    full = {**auth, "session_id": session_id or uuid.uuid4().hex}
    if token is not None:
        full["token"] = token
    client = Client(url, full, transports or ["websocket"], aiohttp.ClientSession())
    running = asyncio.create_task(client.run(), name="parlour client")
    try:
        yield client
    finally:
        running.cancel()
        await asyncio.wait({running})
        await client.close()
