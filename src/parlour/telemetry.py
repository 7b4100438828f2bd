"""What a node tells its operators: structured logs with their context, and metrics.

Every log line inside a connection, a request or a run carries `user`, `session`, `thread` and
`request` where they are known (context variables, so that tasks and threads inherit them). Secrets
are masked by name and by form before anything is written.
"""

from __future__ import annotations

import logging
import re
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from structlog.typing import Processor

MASK: Final = "***"
METRICS_TYPE: Final = CONTENT_TYPE_LATEST

_SECRET_NAME = re.compile(
    r"(?i)(password|passwd|secret|token|authorization|cookie|api_?key|user_env|credential)"
)
_JWT = re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]+")
_URL_PASSWORD = re.compile(r"(\w+://[^\s:/@]*:)[^\s@/]+(@)")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}")
_QUIET: Final = ("asyncio", "alembic", "sqlalchemy", "uvicorn", "watchfiles")

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


# --------------------------------------------------------------------------------------------------
# Logs
# --------------------------------------------------------------------------------------------------


def configure_logging(log_format: str = "console", log_level: str = "info") -> None:
    """Send every log line of this process, the standard library's too, to stderr in one form.
    Safe to call again, which replaces the set-up."""
    shared = _shared_processors()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(_level(log_level)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = _Stderr()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(log_format),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_level(log_level))
    for name in _QUIET:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
        logging.getLogger(name).setLevel(max(_level(log_level), logging.WARNING))


class _Stderr(logging.StreamHandler[Any]):
    """Writes to whatever `sys.stderr` is at the moment: it may be replaced later."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stderr


class Speaker(Protocol):
    """On whose behalf something happens."""

    def log_fields(self) -> Mapping[str, Any]:
        """What every line of a log says about it."""


speaker: ContextVar[Speaker] = ContextVar("speaker")
"""Whose command is being handled. It is asked only when a line is written, which most commands do
not; what was bound by name comes first."""


def _name_speaker(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    known = speaker.get(None)
    if known is not None:
        for name, value in known.log_fields().items():
            event.setdefault(name, value)
    return event


def _shared_processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        _name_speaker,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        mask_secrets,
    ]


def _renderers(log_format: str) -> list[Processor]:
    # Tracebacks without the frames' local variables: tokens and messages are among them.
    if log_format == "json":
        plain = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        tracebacks = structlog.processors.ExceptionRenderer(plain)
        return [tracebacks, structlog.processors.JSONRenderer()]
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    return [console]


def _level(name: str) -> int:
    return int(logging.getLevelNamesMapping()[name.upper()])


def get_logger(name: str) -> Any:
    """A structured logger: `log.info("joined", room=…)`."""
    return structlog.stdlib.get_logger(name)


@contextmanager
def log_context(**values: str | None) -> Iterator[None]:
    """Bind `user`, `session`, `thread`, `request` … to every line inside; None is left out."""
    known = {name: value for name, value in values.items() if value is not None}
    with structlog.contextvars.bound_contextvars(**known):
        yield


def mask_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A processor that hides what its name or its form shows to be a secret."""
    for name, value in event.items():
        event[name] = _masked(name, value)
    return event


def _masked(name: str, value: Any) -> Any:
    if value and _SECRET_NAME.search(name) and not isinstance(value, bool | int | float):
        return MASK
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        return {key: _masked(str(key), inner) for key, inner in value.items()}
    return value


def mask_text(text: str) -> str:
    """Hide tokens and passwords of URLs inside a text."""
    text = _JWT.sub(MASK, text)
    text = _BEARER.sub(rf"\1{MASK}", text)
    return _URL_PASSWORD.sub(rf"\1{MASK}\2", text)


# --------------------------------------------------------------------------------------------------
# Metrics
# --------------------------------------------------------------------------------------------------


class Timed:
    """How often and for how long one kind of command ran. Counting is an addition or two: a counter of
    the metrics' library costs more than some commands do."""

    __slots__ = ("_buckets", "_seconds", "outcomes")

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {"ok": 0}
        self._buckets = [0] * (len(_SECONDS) + 1)
        self._seconds = 0.0

    def took(self, seconds: float) -> None:
        """A command was answered after so many seconds."""
        self._seconds += seconds
        self._buckets[bisect_left(_SECONDS, seconds)] += 1

    def ended(self, outcome: str) -> None:
        """It ended as `ok` or with an error's code."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def histogram(self) -> tuple[list[tuple[str, float]], float]:
        """Cumulated counts by upper bound, and the sum of the seconds."""
        bounds = [*map(floatToGoString, _SECONDS), "+Inf"]
        return list(zip(bounds, accumulate(map(float, self._buckets)), strict=True)), self._seconds


class CommandFigures(Collector):
    """The commands of sockets, by event. The labels are the router's names, never a client's."""

    def __init__(self) -> None:
        self._events: dict[str, Timed] = {}

    def of(self, event: str) -> Timed:
        """The figures of one event, to be kept."""
        return self._events.setdefault(event, Timed())

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        commands = CounterMetricFamily(
            "parlour_commands",
            "Commands of sockets by event and outcome (ok or the error's code)",
            labels=("event", "outcome"),
        )
        seconds = HistogramMetricFamily(
            "parlour_command_seconds", "Time to the answer", labels=("event",)
        )
        for event, timed in self._events.items():
            for outcome, count in timed.outcomes.items():
                commands.add_metric((event, outcome), count)
            seconds.add_metric((event,), *timed.histogram())
        yield commands
        yield seconds


class Metrics:
    """One node's metrics. The registry is the node's own, so that two nodes in one process (tests,
    an author's application) do not share numbers.

    Whatever happens per delivery is counted by its owner in a plain integer and read at scrape time
    through `observe`; the attributes below are for what happens per command, per run or less often.
    """

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        self.commands: Final = CommandFigures()
        self.registry.register(self.commands)
        self.connections_opened = self._counter(
            "connections_opened", "Accepted connections", "transport"
        )
        self.connections_refused = self._counter(
            "connections_refused", "Refused connections by code", "code"
        )
        self.connections_closed = self._counter(
            "connections_closed", "Closed connections by reason", "reason"
        )
        self.runs = self._counter("runs", "Ended runs by handler and outcome", "handler", "outcome")
        self.sign_ins = self._counter("sign_ins", "Sign-ins by outcome", "outcome")
        self.http_requests = self._counter(
            "http_requests", "HTTP requests by route and status", "method", "route", "status"
        )
        self.http_seconds = self._histogram("http_seconds", "Time of HTTP requests", "route")
        self.syncs = self._counter("syncs", "Passes of the synchroniser by outcome", "outcome")
        self.sync_seconds = self._histogram("sync_seconds", "Time of a synchroniser's pass")
        self.agent_phase_seconds = self._histogram(
            "agent_phase_seconds", "Time of the phases of an agent session's set-up", "phase"
        )
        self.agent_actions = self._counter(
            "agent_actions", "Actions of agents by name and outcome", "action", "outcome"
        )
        self.agent_states = self._counter(
            "agent_states", "Changes of agents' states", "state", "reason"
        )
        self.agent_tokens = self._counter("agent_tokens", "Tokens of agents by kind", "kind")
        self.agent_cost = self._counter("agent_cost_usd", "What agents' models cost, in US dollars")
        self.agent_takeovers = self._counter(
            "agent_takeovers", "Agent sessions taken over, by what ended their owner", "cause"
        )
        self.agent_stale_appends = self._counter(
            "agent_stale_appends", "Appends of stale owners of agent sessions that were refused"
        )
        self.agent_unreadable = self._counter(
            "agent_unreadable", "Events of agent sessions that could not be read"
        )
        self.unexpected_errors = self._counter(
            "unexpected_errors", "Exceptions that a loop, connection or router survived", "where"
        )

    def observe(self, name: str, description: str, read: Callable[[], float]) -> None:
        """A gauge that is read when somebody asks: `observe("links", …, lambda: len(links))`."""
        self._gauge(name, description).set_function(read)

    def render(self) -> bytes:
        """The text of `/metrics`, of type `METRICS_TYPE`."""
        return generate_latest(self.registry)

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(f"parlour_{name}", description, labels, registry=self.registry)

    def _gauge(self, name: str, description: str) -> Gauge:
        return Gauge(f"parlour_{name}", description, registry=self.registry)

    def _histogram(self, name: str, description: str, *labels: str) -> Histogram:
        return Histogram(
            f"parlour_{name}", description, labels, registry=self.registry, buckets=_SECONDS
        )
