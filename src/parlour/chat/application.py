"""`ChatApp`: an author's callbacks as the server's `Application`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
from starlette.datastructures import Headers

from parlour.chat.action import find_action
from parlour.chat.calling import call
from parlour.chat.chat_settings import accept_settings, announce
from parlour.chat.context import ParlourContext, context_var
from parlour.chat.copies import copy_file, drop_copies
from parlour.chat.emitter import Emitter
from parlour.chat.history import as_thread
from parlour.chat.message import Message
from parlour.chat.profiles import ChatProfile, Starter
from parlour.chat.registry import Callback, Registry
from parlour.chat.session import view_session
from parlour.chat.stalls import StallWatch
from parlour.chat.threads import HandlerThreads
from parlour.chat.user import User
from parlour.chat.user_session import note_changes
from parlour.core.users import User as CoreUser
from parlour.errors import NotFound, ParlourError, SettingsError
from parlour.server.chats import Chat

if TYPE_CHECKING:
    from parlour.server.node import Node
    from parlour.server.runs import Run

log = structlog.get_logger(__name__)

HANDLER_THREADS: Final = 64
"""Plain `def` handlers that can be at work (or waiting for a person) at the same time."""


class ChatApp:
    """An app as the server calls it. Made by `load_app`, or from a registry by tests."""

    def __init__(
        self, registry: Registry, *, name: str = "Assistant", description: str = ""
    ) -> None:
        self.name = registry.name or name
        self.description = registry.description or description
        self._registry = registry
        self._callbacks: Mapping[str, Callback] = registry.callbacks
        self._actions: Mapping[str, Callback] = registry.actions
        self._node: Node | None = None
        self._threads: HandlerThreads | None = None
        self._stalls: StallWatch | None = None

    @classmethod
    def empty(cls) -> ChatApp:
        """An app that answers nothing: people talk to each other, or the node only serves
        streams."""
        return cls(Registry())

    @property
    def node(self) -> Node:
        """The node that runs this app. Raises RuntimeError before `startup`."""
        if self._node is None:
            raise RuntimeError("the app is not running")
        return self._node

    @property
    def agents(self) -> Mapping[str, Callable[[Any], Awaitable[Any]]]:
        """The author's agents by name; each is called with the situation."""
        return {name: partial(call, callback) for name, callback in self._registry.agents.items()}

    def handles(self, handler: str) -> bool:
        if handler in ("action_callback", "on_action"):
            return bool(self._actions)
        return handler in self._callbacks

    async def startup(self, node: Node) -> None:
        """Raises `SettingsError` for a callback that needs what is not configured."""
        if "oauth_callback" in self._callbacks:
            place = self._callbacks["oauth_callback"].place
            raise SettingsError(
                [
                    f"{place}: oauth_callback needs an OAuth provider, and none can be configured "
                    "yet: use password_auth_callback, or header_auth_callback behind a proxy"
                ]
            )
        self._node = self._registry.node = node
        self._threads = HandlerThreads(HANDLER_THREADS)
        self._stalls = StallWatch()
        self._stalls.start()
        try:
            await self._call("on_app_startup")
        except BaseException:
            self._release()
            raise

    async def shutdown(self) -> None:
        try:
            await self._call("on_app_shutdown")
        finally:
            self._release()

    def _release(self) -> None:
        if self._stalls is not None:
            self._stalls.stop()
        if self._registry.node is self._node:
            self._registry.node = None

    # -- activations -------------------------------------------------------------------------------

    async def chat_start(self, run: Run) -> None:
        async with self._activate(run.chat, run):
            await self._call("on_chat_start")

    async def chat_resume(self, run: Run, snapshot: Mapping[str, Any]) -> None:
        async with self._activate(run.chat, run) as found:
            await self._call("on_chat_resume", as_thread(found, snapshot))

    async def message(self, run: Run, message: Mapping[str, Any]) -> None:
        async with self._activate(run.chat, run) as found:
            found.asked = message
            received = Message.from_wire(message)
            for element in received.elements:
                element.path = await self._copy(found, element.stored)
            await self._call("on_message", received)

    async def action(self, run: Run, action: Mapping[str, Any]) -> None:
        callback = self._actions.get(str(action.get("name")))
        if callback is None:
            raise NotFound(f"Nothing is registered for the action {action.get('name')!r}.")
        async with self._activate(run.chat, run) as found:
            pressed = find_action((await found.state()).messages.values(), action)
            if pressed is None:
                # Two quick presses, of which the first took the button away; or a made-up button.
                log.info("a button that is not there was pressed", action=action.get("name"))
                return
            await call(callback, pressed)

    async def settings_update(self, run: Run, settings: Mapping[str, Any]) -> None:
        async with self._activate(run.chat, run) as found:
            await announce(found)
            await self._call("on_settings_update", dict(settings))

    async def window_message(self, run: Run, data: Any) -> None:
        async with self._activate(run.chat, run):
            await self._call("on_window_message", data)

    async def stopped(self, chat: Chat) -> None:
        try:
            async with self._activate(chat, None):
                await self._call("on_stop")
            await self.node.chats.save(chat)
        except Exception:
            # The runs have ended; a mistake in the hook must not make the Stop look like a failure.
            log.exception("on_stop failed", thread=chat.thread_id, session=chat.session_id)

    async def chat_end(self, chat: Chat) -> None:
        async with self._activate(chat, None):
            await self._call("on_chat_end")

    async def logout(self, user: CoreUser) -> None:
        await self._call("on_logout", User.from_core(user))

    # -- questions of the server -------------------------------------------------------------------

    async def authenticate_password(self, login: str, password: str) -> CoreUser | None:
        return self._as_user(
            await self._call("password_auth_callback", login, password), "password_auth_callback"
        )

    async def authenticate_headers(self, headers: Mapping[str, str]) -> CoreUser | None:
        return self._as_user(
            await self._call("header_auth_callback", Headers(dict(headers))), "header_auth_callback"
        )

    async def profiles(self, user: CoreUser | None) -> Sequence[Mapping[str, Any]]:
        found = await self._call("set_chat_profiles", _person(user))
        return [_checked(profile, ChatProfile, "set_chat_profiles") for profile in found or ()]

    async def starters(
        self, user: CoreUser | None, profile: str | None
    ) -> Sequence[Mapping[str, Any]]:
        """The profile's own starters where it has some, otherwise those of `set_starters`."""
        for offered_profile in await self.profiles(user) if profile else ():
            if offered_profile["name"] == profile and "starters" in offered_profile:
                starters: Sequence[Mapping[str, Any]] = offered_profile["starters"]
                return starters
        found = await self._call("set_starters", _person(user), profile)
        return [_checked(starter, Starter, "set_starters") for starter in found or ()]

    def accept_settings(self, chat: Chat, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """All settings with a person's changes in them; the server keeps them. Raises
        `InvalidPayload`."""
        return accept_settings(chat, changes)

    # -- inside ------------------------------------------------------------------------------------

    async def _call(self, name: str, *args: Any) -> Any:
        """Call the author's function, if there is one."""
        callback = self._callbacks.get(name)
        return await call(callback, *args) if callback is not None else None

    @asynccontextmanager
    async def _activate(self, chat: Chat, run: Run | None) -> AsyncIterator[ParlourContext]:
        """The context of one activation. At its end, whatever happened, open messages are closed
        with the text that they have and changed session values are marked."""
        if run is not None:
            await self.node.chats.refresh(chat)
        found = self._make_context(chat, run)
        found.feed = feed = await self.node.feeds.acquire(f"thread:{chat.thread_id}")
        token = context_var.set(found)
        try:
            yield found
        except BaseException:
            try:
                await self._end_calls(found)
                await self._finish(found)
            except ParlourError as error:
                # What ended the run is the one to report; the end of the run closes what stayed
                # open.
                log.warning("a handler's messages could not be closed", error=str(error))
            raise
        else:
            await self._finish(found)
        finally:
            stopped = run is not None and run.stopping
            found.emitter.leave_run(stopped=stopped)
            found.feed = None
            self.node.feeds.release(feed)
            context_var.reset(token)
            await drop_copies(found)

    def _make_context(self, chat: Chat, run: Run | None) -> ParlourContext:
        return ParlourContext(
            session=view_session(chat),
            emitter=Emitter(chat, self.node, run),
            node=self.node,
            run=run,
            loop=asyncio.get_running_loop(),
            threads=self._threads,
            app_name=self.name,
            author_rename=self._callbacks.get("author_rename"),
        )

    async def _end_calls(self, found: ParlourContext) -> None:
        """What a thread waits for ends with its run: an open question is closed, not left behind."""
        for task in found.calls:
            task.cancel()
        if found.calls:
            await asyncio.wait(found.calls)

    async def _finish(self, found: ParlourContext) -> None:
        note_changes(found)
        for message in list(found.open.values()):
            await message.finish()
        await found.emitter.settle()

    async def _copy(self, found: ParlourContext, reference: Mapping[str, Any] | None) -> str | None:
        """A path for an attachment; None where its file was deleted meanwhile."""
        if reference is None:
            return None
        try:
            return await copy_file(found, reference)
        except NotFound:
            return None

    def _as_user(self, result: Any, name: str) -> CoreUser | None:
        if result is None:
            return None
        if not isinstance(result, User):
            raise TypeError(f"{name} has to give back a User or None, not {type(result).__name__}")
        return result.to_core()


def _person(user: CoreUser | None) -> User | None:
    return User.from_core(user) if user is not None else None


def _checked(item: Any, kind: type[ChatProfile] | type[Starter], name: str) -> dict[str, Any]:
    if not isinstance(item, kind):
        raise TypeError(f"{name} has to give back {kind.__name__}s, not {type(item).__name__}")
    return item.to_dict()
