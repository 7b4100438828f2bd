"""Every exception that Parlour raises on purpose, and the code that a client sees for it.

    ParlourError
    ├── ProtocolError             bad_packet          bytes that are not the wire protocol
    │   └── PayloadTooLarge       payload_too_large
    ├── ConnectionRefused         (code given)        answered with connect_error
    ├── CommandError                                  answered in the acknowledgement
    │   ├── InvalidPayload        invalid_payload
    │   ├── UnknownEvent          unknown_event
    │   ├── Unauthenticated       unauthenticated
    │   │   └── TokenExpired      token_expired
    │   ├── Forbidden             forbidden
    │   ├── NotFound              not_found
    │   ├── Conflict              conflict
    │   │   ├── IllegalTransition illegal_transition  this state does not allow it; nothing changed
    │   │   └── StaleGeneration   stale_generation    the document begins a new history
    │   ├── TooLarge              too_large
    │   ├── RateLimited           rate_limited        retryable
    │   ├── Unavailable           unavailable         retryable: a store is away or its bound is reached
    │   │   └── ShuttingDown      shutting_down       retryable
    │   └── HandlerFailed         handler_failed
    ├── StreamError
    │   ├── PositionLost          position_lost       trimmed, of another epoch, or of the future
    │   ├── Lagged                lagged              a follower's buffer was full
    │   └── ExpectationFailed     expectation_failed  `expected` did not match the head
    ├── CallError                                     the server called a client
    │   ├── CallTimeout           call_timeout
    │   ├── CallGone              call_gone
    │   └── CallRefused           call_refused
    ├── LeaseLost                 lease_lost          a stale owner's write
    ├── SettingsError             settings            every mistake of the configuration at once
    └── DataFolderBusy            data_folder_busy    another process owns the data folder

A store's driver errors are translated into this tree at the edge (`backends/`); nothing above ever
catches a driver's class. `code` is stable and part of the protocol; `message` is for people.
"""

from __future__ import annotations

from typing import Any, ClassVar


class ParlourError(Exception):
    """Root of the tree. `code` names the error on the wire; `retryable` says whether the same
    request may succeed later without change."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False
    status: ClassVar[int] = 500

    def __init__(self, message: str = "", **details: Any) -> None:
        super().__init__(message or (type(self).__doc__ or self.code).strip().splitlines()[0])
        self.details = details

    @property
    def message(self) -> str:
        return str(self.args[0])

    def to_wire(self) -> dict[str, Any]:
        """The object that stands under `error` in an acknowledgement."""
        return {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
            **self.details,
        }


class ProtocolError(ParlourError):
    """The peer sent something that is not the wire protocol."""

    code = "bad_packet"
    status = 400


class PayloadTooLarge(ProtocolError):
    """A packet is larger than the limit that was told at the handshake."""

    code = "payload_too_large"
    status = 413


class ConnectionRefused(ParlourError):
    """A connection is refused; `code` is per instance and travels in `connect_error.data`."""

    status = 401

    def __init__(self, code: str, message: str, *, retryable: bool = False, **details: Any) -> None:
        super().__init__(message, **details)
        self.refusal = code
        self.refusal_retryable = retryable

    def to_wire(self) -> dict[str, Any]:
        return {
            "code": self.refusal,
            "message": self.message,
            "retryable": self.refusal_retryable,
            **self.details,
        }


class CommandError(ParlourError):
    """A command is refused; nothing of it was done."""

    code = "command_failed"
    status = 400


class InvalidPayload(CommandError):
    """The payload does not have the documented shape."""

    code = "invalid_payload"
    status = 422


class UnknownEvent(CommandError):
    """There is no handler for this event."""

    code = "unknown_event"
    status = 404


class Unauthenticated(CommandError):
    """There is no valid token."""

    code = "unauthenticated"
    status = 401


class TokenExpired(Unauthenticated):
    """The token was valid once."""

    code = "token_expired"


class Forbidden(CommandError):
    """The user may not do this."""

    code = "forbidden"
    status = 403


class NotFound(CommandError):
    """The thing does not exist, or the user may not know that it does."""

    code = "not_found"
    status = 404


class Conflict(CommandError):
    """The thing changed meanwhile, or the name is taken."""

    code = "conflict"
    status = 409


class IllegalTransition(Conflict):
    """The present state does not allow this; nothing changed."""

    code = "illegal_transition"


class StaleGeneration(Conflict):
    """The document has begun a new history: join again."""

    code = "stale_generation"


class TooLarge(CommandError):
    """A value is larger than its limit; send it by reference through the file store."""

    code = "too_large"
    status = 413


class RateLimited(CommandError):
    """Too many commands in too little time."""

    code = "rate_limited"
    retryable = True
    status = 429


class Unavailable(CommandError):
    """A store is away or its bound is reached; nothing was done, try again."""

    code = "unavailable"
    retryable = True
    status = 503


class ShuttingDown(Unavailable):
    """This node is going away; another one will answer."""

    code = "shutting_down"


class HandlerFailed(CommandError):
    """The app's handler raised; `reference` finds the traceback in the log."""

    code = "handler_failed"
    status = 500


class StreamError(ParlourError):
    """A stream cannot do what was asked."""

    code = "stream_error"
    status = 409


class PositionLost(StreamError):
    """The position is trimmed, of another epoch, or of the future: take a snapshot."""

    code = "position_lost"


class Lagged(StreamError):
    """The follower fell further behind than its buffer; read again from `position`."""

    code = "lagged"


class ExpectationFailed(StreamError):
    """The stream's head was not where the writer expected it."""

    code = "expectation_failed"


class CallError(ParlourError):
    """A call to a client brought no answer."""

    code = "call_failed"
    status = 504


class CallTimeout(CallError):
    """The client did not answer within the time limit."""

    code = "call_timeout"


class CallGone(CallError):
    """The client left before it answered."""

    code = "call_gone"


class CallRefused(CallError):
    """The client answered that it will not."""

    code = "call_refused"


class LeaseLost(ParlourError):
    """Another owner holds the lease with a higher generation."""

    code = "lease_lost"
    status = 409


class SettingsError(ParlourError):
    """The configuration has mistakes; `problems` lists every one with its remedy."""

    code = "settings"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DataFolderBusy(ParlourError):
    """Another process owns this data folder."""

    code = "data_folder_busy"
