"""What goes wrong in an agent session, with the code that a client sees.

CommandError
├── WorkspaceEscape      workspace_escape       a path leads out of the workspace
├── RuntimeUnavailable   runtime_unavailable    retryable: the workspace cannot be set up
├── ModelUnavailable     model_unavailable      retryable: the model does not answer
│   └── ModelLimited     model_limited          retryable: asked too often; `retry_after` seconds
├── ContextTooLong       context_too_long       more than the model can read
└── ModelRefused         model_refused          the request is not acceptable to the model's service
"""

from __future__ import annotations

from typing import Any

from parlour.errors import CommandError


class WorkspaceEscape(CommandError):
    """A path leads out of the workspace."""

    code = "workspace_escape"
    status = 422


class RuntimeUnavailable(CommandError):
    """The workspace cannot be set up."""

    code = "runtime_unavailable"
    retryable = True
    status = 503


class ModelUnavailable(CommandError):
    """The model does not answer."""

    code = "model_unavailable"
    retryable = True
    status = 503


class ModelLimited(ModelUnavailable):
    """The model's service was asked too often; `retry_after` is in seconds where it said so."""

    code = "model_limited"
    status = 429

    def __init__(
        self, message: str = "", *, retry_after: float | None = None, **details: Any
    ) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after


class ContextTooLong(CommandError):
    """The conversation is longer than the model can read."""

    code = "context_too_long"
    status = 413


class ModelRefused(CommandError):
    """The model's service does not accept the request."""

    code = "model_refused"
    status = 422
