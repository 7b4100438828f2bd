"""The router: one table of commands for sockets and HTTP, each with a payload model and a handler.

Commands of one connection run one after the other, in order. They begin when they come; one task goes on
where they have to wait, and exists only while there is something to do. Signals have synchronous handlers
and are answered at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from pydantic import ValidationError

from parlour.core.rates import book
from parlour.errors import (
    InvalidPayload,
    ParlourError,
    RateLimited,
    UnknownEvent,
)
from parlour.server.connections import Caller, Command, Connection
from parlour.server.endpoint import Ack
from parlour.telemetry import speaker
from parlour.wire.events import Payload
from parlour.wire.told import ERROR

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

COMMANDS_WAITING = 256
"""Commands of one connection that may wait; more is `rate_limited`."""

HEARTBEAT = "heartbeat"

ACTIVITY_SECONDS = 1.0
"""Activity of one connection is noted once in this time."""

Answer = Mapping[str, Any]
AsyncHandler = Callable[["Node", Caller, Any], Awaitable[Answer]]
SyncHandler = Callable[["Node", Caller, Any], Answer]


@dataclass(frozen=True, slots=True)
class Route:
    """How one event is handled. `http` says whether REST may use it too."""

    event: str
    payload: type[Payload]
    handle: AsyncHandler | None = None
    signal: SyncHandler | None = None
    http: bool = True

    def read(self, payload: Any) -> Payload:
        """The payload as its model. Raises `InvalidPayload`."""
        try:
            # What `model_validate` does, without its look at options that nobody gives.
            read: Payload = self.payload.__pydantic_validator__.validate_python(
                {} if payload is None else payload
            )
            return read
        except ValidationError as error:
            raise InvalidPayload(_explain(error), event=self.event) from None


class Routes:
    """A table of routes; each module of `handlers/` has one."""

    def __init__(self) -> None:
        self.table: dict[str, Route] = {}

    def command(
        self, event: str, payload: type[Payload], *, http: bool = True
    ) -> Callable[[AsyncHandler], AsyncHandler]:
        """Register an asynchronous handler: `async (node, caller, payload) -> answer`."""

        def register(handle: AsyncHandler) -> AsyncHandler:
            self.table[event] = Route(event, payload, handle=handle, http=http)
            return handle

        return register

    def signal(self, event: str, payload: type[Payload]) -> Callable[[SyncHandler], SyncHandler]:
        """Register a synchronous handler, answered in the same turn of the loop."""

        def register(handle: SyncHandler) -> SyncHandler:
            self.table[event] = Route(event, payload, signal=handle, http=False)
            return handle

        return register


class Router:
    """Validates, limits, authorises by way of the handlers, answers."""

    def __init__(self, node: Node, tables: list[Routes], rate: float, burst: float) -> None:
        self._node = node
        self._routes = {name: route for table in tables for name, route in table.table.items()}
        self._interval = 1 / rate
        self._ahead = (burst - 1) / rate
        commands = node.metrics.commands
        self._figures = {name: commands.of(name) for name in self._routes}
        self._unknown = commands.of("unknown")
        self._monotonic: Final = node.clock.monotonic

    @property
    def events(self) -> list[str]:
        return sorted(self._routes)

    async def execute(self, caller: Caller, event: str, payload: Any) -> dict[str, Any]:
        """Run a command for an HTTP caller. Raises `CommandError`."""
        route = self._routes.get(event)
        if route is None or not route.http or route.handle is None:
            raise UnknownEvent(f"There is no command {event[:60]!r}.")
        return dict(await route.handle(self._node, caller, route.read(payload)))

    # -- sockets ---------------------------------------------------------------------------------

    def receive(self, connection: Connection, event: str, payload: Any, ack: Ack | None) -> None:
        """One event of a connection. Never raises, never waits."""
        node, now = self._node, self._monotonic()
        if event != HEARTBEAT and (now >= connection.quiet_until or connection.away):
            # A heartbeat says itself whether the person is there.
            connection.quiet_until = now + ACTIVITY_SECONDS
            node.presence.active(connection)
        try:
            booked = book(connection.booked, now, interval=self._interval, ahead=self._ahead)
            if booked is None:
                delay = connection.booked - now - self._ahead
                raise RateLimited(retry_after_ms=int(delay * 1000) + 1)
            connection.booked = booked
            route = self._routes.get(event)
            if route is None:
                raise UnknownEvent(f"There is no event {event[:60]!r}.")
            if route.signal is not None:
                caller = connection.caller or node.caller_of(connection)
                answer = route.signal(node, caller, route.read(payload))
                if ack is not None:
                    ack({"ok": True, **answer})
            elif connection.working:
                _wait(connection, (event, payload, ack))
            else:
                self._begin(connection, (event, payload, ack))
        except Exception as error:  # noqa: BLE001 - one bad event must not end the connection
            self._refuse(connection, event, ack, error)

    def resume(self, connection: Connection) -> None:
        """Start on the commands that arrived while something else came first on this connection."""
        if connection.commands and not connection.working and not connection.left:
            self._begin(connection, connection.commands.popleft())

    def _begin(self, connection: Connection, command: Command) -> None:
        """The first command is begun at once; where it has to wait, a task goes on."""
        connection.working = True
        # A context of its own, so that nothing has to be put back.
        context = copy_context()
        context.run(speaker.set, connection)
        self._node.tasks.begin(self._work(connection, command), "commands", context)

    async def _work(self, connection: Connection, command: Command | None) -> None:
        node = self._node
        try:
            while command is not None:
                event, payload, ack = command
                route, figures = self._routes[event], self._figures[event]
                assert route.handle is not None
                began = self._monotonic()
                try:
                    caller = connection.caller or node.caller_of(connection)
                    answer = await route.handle(node, caller, route.read(payload))
                    if ack is not None:
                        ack({"ok": True, **answer})
                    figures.outcomes["ok"] += 1
                except Exception as error:  # noqa: BLE001 - one bad command must not end the connection
                    self._refuse(connection, event, ack, error)
                figures.took(self._monotonic() - began)
                command = connection.commands.popleft() if connection.commands else None
        finally:
            connection.commands = None
            connection.working = False

    def _refuse(
        self, connection: Connection, event: str, ack: Ack | None, error: Exception
    ) -> None:
        body = self._describe(event, error)
        if ack is not None:
            ack({"ok": False, "error": body})
        else:
            # Older clients ask for no acknowledgement: they hear an event instead.
            connection.send(ERROR.encode({"event": event, "error": body}))

    def _describe(self, event: str, error: Exception) -> dict[str, Any]:
        # Made-up names share one label.
        figures = self._figures.get(event, self._unknown)
        if isinstance(error, ParlourError):
            log.info(
                "command refused", event_name=event[:60], code=error.code, reason=error.message
            )
            figures.ended(error.code)
            return error.to_wire()
        reference = self._node.new_id()[:12]
        log.error("command failed", event_name=event[:60], reference=reference, exc_info=error)
        figures.ended("internal")
        self._node.metrics.unexpected_errors.labels("router").inc()
        return {
            "code": "internal",
            "message": "Something went wrong on the server.",
            "retryable": False,
            "reference": reference,
        }


def _wait(connection: Connection, command: Command) -> None:
    if connection.commands is None:
        connection.commands = deque()
    if len(connection.commands) >= COMMANDS_WAITING:
        raise RateLimited("Too many commands wait on this connection.")
    connection.commands.append(command)


def _explain(error: ValidationError) -> str:
    """The first problems, by field, without echoing what was sent."""
    problems = [
        f"{'.'.join(str(part) for part in problem['loc']) or 'payload'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)[:5]
    ]
    return "; ".join(problems)
