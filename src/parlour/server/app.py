"""What the server asks of an author's app. `parlour.chat` is the implementation that authors use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from parlour.core.users import User

if TYPE_CHECKING:
    from parlour.server.chats import Chat
    from parlour.server.node import Node
    from parlour.server.runs import Run


class Application(Protocol):
    """An app. Every method that takes a `Run` is one activation: it may raise, and it may be cancelled (Stop)."""

    name: str
    description: str

    def handles(self, handler: str) -> bool:
        """Whether the author registered this callback (`on_chat_start`, `on_message`, …)."""
        ...

    async def startup(self, node: Node) -> None: ...

    async def shutdown(self) -> None: ...

    async def chat_start(self, run: Run) -> None:
        """A session opened a conversation that nothing was said in yet."""
        ...

    async def chat_resume(self, run: Run, snapshot: Mapping[str, Any]) -> None:
        """A session opened a conversation with history; `snapshot` is the folded state."""
        ...

    async def message(self, run: Run, message: Mapping[str, Any]) -> None:
        """A person's message, as stored. `message["data"]["ask"]` holds the ask that it answers when the handler that
        asked is gone."""
        ...

    async def action(self, run: Run, action: Mapping[str, Any]) -> None:
        """A press on a button: `{id, name, payload, message_id?}`."""
        ...

    async def settings_update(self, run: Run, settings: Mapping[str, Any]) -> None: ...

    async def window_message(self, run: Run, data: Any) -> None: ...

    async def stopped(self, chat: Chat) -> None:
        """A person pressed Stop; all runs of the conversation have ended."""
        ...

    async def chat_end(self, chat: Chat) -> None:
        """The session ended (its time limit, or an explicit end), not a mere disconnect."""
        ...

    async def logout(self, user: User) -> None: ...

    async def authenticate_password(self, login: str, password: str) -> User | None:
        """The app's own check; only called where `handles("password_auth_callback")`. The id that it
        gives is stable."""
        ...

    async def authenticate_headers(self, headers: Mapping[str, str]) -> User | None:
        """As above for `header_auth_callback`."""
        ...

    async def profiles(self, user: User | None) -> Sequence[Mapping[str, Any]]: ...

    async def starters(
        self, user: User | None, profile: str | None
    ) -> Sequence[Mapping[str, Any]]: ...

    def accept_settings(self, chat: Chat, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """All settings with a person's changes in them. Raises `InvalidPayload` for a value that the app
        does not offer."""
        ...
