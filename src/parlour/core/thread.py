"""A conversation as a fold of its events (promise I11): snapshot + events = fresh snapshot.

`ThreadState` is a value: `fold` never changes the one it is given. The TypeScript client folds with the
same rules (`sdk/src/thread.ts`); `tests/golden/thread` holds the vectors that both must satisfy. An event
of an unknown type, or about a message that is not in the window, changes nothing: that is what lets old
clients live beside newer servers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from parlour.core.streams import Event

MESSAGE_WINDOW: Final = 1000
"""Newest messages that a snapshot holds (reference document 004)."""

STEP_WINDOW: Final = 500
"""Newest steps that a snapshot holds."""

UPDATABLE: Final = frozenset(
    {"content", "actions", "files", "sources", "data", "edited_at", "author", "streaming"}
)
"""The fields of a message that `message:update` may set."""

DELTA: Final = "message:delta"
DELTAS: Final = "message:deltas"
"""Deltas of several messages as one event, `{deltas: [{id, text}]}`. Never stored: a slow reader's outbox
joins those that alternate in a stream, for clients that say that they know this."""

ACCESS: Final = "chat:access"
"""Who may use the conversation has changed (no part of its state): `{by, deleted?}`."""

Record = dict[str, Any]


@dataclass(slots=True)
class ThreadState:
    """What a conversation looks like at one offset. Treat it as immutable; `fold` copies before it writes.

    `messages` and `steps` are keyed by id in order of first appearance; every message carries the
    `offset` of the event that introduced it. `asks` are the open ones, `runs` the active ones.
    `truncated` says that older messages exist in the archive.
    """

    messages: dict[str, Record] = field(default_factory=dict)
    steps: dict[str, Record] = field(default_factory=dict)
    asks: dict[str, Record] = field(default_factory=dict)
    runs: dict[str, Record] = field(default_factory=dict)
    status: Record | None = None
    last_run: Record | None = None
    title: str | None = None
    tags: list[str] = field(default_factory=list)
    truncated: bool = False

    def copy(self) -> ThreadState:
        return ThreadState(
            dict(self.messages),
            dict(self.steps),
            dict(self.asks),
            dict(self.runs),
            self.status,
            self.last_run,
            self.title,
            self.tags,
            self.truncated,
        )

    def to_wire(self) -> Record:
        """The snapshot as clients get it."""
        return {"messages": list(self.messages.values()), **self.rest()}

    def rest(self) -> Record:
        """Everything but the messages, as the archive keeps it beside them."""
        return {
            "steps": list(self.steps.values()),
            "asks": list(self.asks.values()),
            "runs": list(self.runs.values()),
            "status": self.status,
            "last_run": self.last_run,
            "title": self.title,
            "tags": self.tags,
            "truncated": self.truncated,
        }

    @classmethod
    def from_wire(
        cls, rest: Mapping[str, Any], messages: Iterable[Mapping[str, Any]]
    ) -> ThreadState:
        """The inverse of `to_wire` / `rest`."""
        return cls(
            {message["id"]: dict(message) for message in messages},
            {step["id"]: dict(step) for step in rest.get("steps", ())},
            {ask["ask_id"]: dict(ask) for ask in rest.get("asks", ())},
            {run["run_id"]: dict(run) for run in rest.get("runs", ())},
            rest.get("status"),
            rest.get("last_run"),
            rest.get("title"),
            list(rest.get("tags", ())),
            bool(rest.get("truncated", False)),
        )


@dataclass(slots=True)
class Touched:
    """Which messages a fold wrote and removed; what a projection has to store."""

    written: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)


def fold(
    state: ThreadState, events: Sequence[Event], *, window: int = MESSAGE_WINDOW
) -> tuple[ThreadState, Touched]:
    """Apply `events`, in order, to a copy of `state`. How they were grouped does not matter: the window is
    kept after each event."""
    state, touched = state.copy(), Touched()
    trim(state, window)
    for event in _joined(events):
        rule = _RULES.get(event.type)
        if rule is not None:
            rule(state, event, touched)
            if len(state.messages) > window or len(state.steps) > STEP_WINDOW:
                trim(state, window)
    return state, touched


def _joined(events: Sequence[Event]) -> Iterator[Event]:
    """The same events, deltas of one message that follow each other as one: adding them one by one would
    copy the text that is there for each of them. Apps may write what they like under a delta's type; that is
    left to the rule."""
    run: list[Event] = []
    about: Any = None
    for event in events:
        data = event.data
        is_delta = event.type == DELTA and type(data.get("text")) is str
        if run and not (is_delta and data.get("id") == about):
            yield _as_one(run)
            run = []
        if is_delta:
            about = data.get("id")
            run.append(event)
        else:
            yield event
    if run:
        yield _as_one(run)


def _as_one(run: list[Event]) -> Event:
    if len(run) == 1:
        return run[0]
    text = "".join([event.data["text"] for event in run])
    return replace(run[-1], data={"id": run[0].data.get("id"), "text": text})


def trim(state: ThreadState, window: int) -> None:
    """Keep the newest `window` messages and `STEP_WINDOW` steps. In place, on a state that the caller owns."""
    while len(state.messages) > window:
        del state.messages[next(iter(state.messages))]
        state.truncated = True
    while len(state.steps) > STEP_WINDOW:
        del state.steps[next(iter(state.steps))]


def digest(text: str) -> tuple[int, str]:
    """Length and hash of a finished text as `message:done` carries them: bytes of UTF-8, and the first 16
    hexadecimal digits of their SHA-256."""
    raw = text.encode()
    return len(raw), hashlib.sha256(raw).hexdigest()[:16]


def _revise(state: ThreadState, message_id: Any, touched: Touched, **changes: Any) -> None:
    message = state.messages.get(message_id)
    if message is not None:
        state.messages[message_id] = {**message, **changes}
        touched.written.add(message_id)


def _message(state: ThreadState, event: Event, touched: Touched) -> None:
    message = dict(event.data)
    message_id = message["id"]
    known = state.messages.get(message_id)
    message["offset"] = event.offset if known is None else known["offset"]
    message.setdefault("created_at", event.at if known is None else known["created_at"])
    state.messages[message_id] = message
    touched.written.add(message_id)
    touched.deleted.discard(message_id)


def _delta(state: ThreadState, event: Event, touched: Touched) -> None:
    message = state.messages.get(event.data["id"])
    if message is not None:
        text = message.get("content", "") + event.data["text"]
        _revise(state, message["id"], touched, content=text, streaming=True)


def _deltas(state: ThreadState, event: Event, touched: Touched) -> None:
    for delta in event.data["deltas"]:
        _delta(state, replace(event, data=delta), touched)


def _replace(state: ThreadState, event: Event, touched: Touched) -> None:
    _revise(state, event.data["id"], touched, content=event.data["content"])


def _done(state: ThreadState, event: Event, touched: Touched) -> None:
    _revise(state, event.data["id"], touched, streaming=False)


def _update(state: ThreadState, event: Event, touched: Touched) -> None:
    changes = {name: value for name, value in event.data.items() if name in UPDATABLE}
    _revise(state, event.data["id"], touched, **changes)


def _delete(state: ThreadState, event: Event, touched: Touched) -> None:
    message_id = event.data["id"]
    state.messages.pop(message_id, None)
    touched.written.discard(message_id)
    touched.deleted.add(message_id)


def _step(state: ThreadState, event: Event, touched: Touched) -> None:
    step = dict(event.data)
    known = state.steps.get(step["id"])
    step["offset"] = event.offset if known is None else known["offset"]
    state.steps[step["id"]] = step


def _status(state: ThreadState, event: Event, touched: Touched) -> None:
    finished = event.data.get("done") or not event.data.get("text")
    state.status = None if finished else dict(event.data)


def _files(state: ThreadState, event: Event, touched: Touched) -> None:
    _extend(state, event.data["message_id"], "files", event.data["files"], touched)


def _source(state: ThreadState, event: Event, touched: Touched) -> None:
    _extend(state, event.data["message_id"], "sources", [event.data["source"]], touched)


def _extend(
    state: ThreadState, message_id: str, name: str, items: Sequence[Any], touched: Touched
) -> None:
    message = state.messages.get(message_id)
    if message is not None:
        _revise(state, message_id, touched, **{name: [*message.get(name, ()), *items]})


def _ask(state: ThreadState, event: Event, touched: Touched) -> None:
    state.asks[event.data["ask_id"]] = {**event.data, "offset": event.offset}


def _ask_closed(state: ThreadState, event: Event, touched: Touched) -> None:
    state.asks.pop(event.data["ask_id"], None)


def _run_queued(state: ThreadState, event: Event, touched: Touched) -> None:
    state.runs[event.data["run_id"]] = {**event.data, "queued": True}


def _run_started(state: ThreadState, event: Event, touched: Touched) -> None:
    state.runs[event.data["run_id"]] = {**event.data, "started_at": event.at}


def _run_ended(state: ThreadState, event: Event, touched: Touched) -> None:
    run_id = event.data["run_id"]
    if state.runs.pop(run_id, None) is None and _ended_last(state, run_id):
        return
    # The end of an unknown run counts as well: its beginning was lost with a store's data, and whoever
    # waits for its outcome must be told.
    state.last_run = dict(event.data)
    if not state.runs:
        state.status = None
    for message in list(state.messages.values()):
        if message.get("streaming") and message.get("run_id") == run_id:
            _revise(state, message["id"], touched, streaming=False)
    for step in list(state.steps.values()):
        if step.get("status") == "running" and step.get("run_id") == run_id:
            state.steps[step["id"]] = {**step, "status": "failed", "ended_at": event.at}


def _ended_last(state: ThreadState, run_id: str) -> bool:
    return state.last_run is not None and state.last_run["run_id"] == run_id


def _title(state: ThreadState, event: Event, touched: Touched) -> None:
    state.title = event.data.get("title")


def _tags(state: ThreadState, event: Event, touched: Touched) -> None:
    state.tags = list(event.data.get("tags", ()))


Rule = Callable[[ThreadState, Event, Touched], None]

_RULES: Final[Mapping[str, Rule]] = {
    "message": _message,
    DELTA: _delta,
    DELTAS: _deltas,
    "message:replace": _replace,
    "message:done": _done,
    "message:update": _update,
    "message:delete": _delete,
    "step": _step,
    "status": _status,
    "files": _files,
    "source": _source,
    "ask": _ask,
    "ask:closed": _ask_closed,
    "run:queued": _run_queued,
    "run:started": _run_started,
    "run:ended": _run_ended,
    "chat:title": _title,
    "chat:tags": _tags,
}

EVENT_TYPES: Final = frozenset(_RULES)
"""Every event type that changes a conversation's state; `notification` and signals do not."""
