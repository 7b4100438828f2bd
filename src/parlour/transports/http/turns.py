"""One turn of a conversation over HTTP: a person's message and what came of it, folded from the events."""

from __future__ import annotations

from typing import Any, Literal, cast

from parlour.core.streams import Event
from parlour.core.thread import ThreadState, fold
from parlour.transports.http.following import News, position_of

Wire = dict[str, Any]
Outcome = Literal["completed", "stopped", "failed", "interrupted", "waiting", "none"]


class Turn:
    """Begins with the answer of `message:send`; `hear` moves it on until it is `over`.

    A message that a retry repeats, or that answers a question, names no run: then the first run of
    `on_message` after it, or the end of any run, is its own.
    """

    def __init__(self, stream: str, sent: Wire, answered_by_app: bool) -> None:
        self.stream = stream
        self.message: Wire = sent["message"]
        self.position = position_of(sent["position"])
        self.run_id: str | None = sent.get("run_id")
        self.outcome: Outcome = "none"
        self.error: Wire | None = None
        self.over = not answered_by_app and not sent.get("answers")
        self._any_run = bool(sent.get("answers"))
        self._state = ThreadState()

    @property
    def messages(self) -> list[Wire]:
        """What the app said in this turn."""
        said = [m for m in self._state.messages.values() if m["role"] != "user"]
        if self.run_id is None:
            return said
        return [message for message in said if message.get("run_id") == self.run_id]

    @property
    def asks(self) -> list[Wire]:
        """The open questions."""
        return list(self._state.asks.values())

    def hear(self, news: News) -> None:
        self.position = news.position
        if news.snapshot is not None:
            self._take_up(news.snapshot)
            return
        for item in news.events:
            event = _event(item)
            self._state, _ = fold(self._state, [event])
            self._watch(event)
            if self.over:
                # What comes afterwards belongs to the next turn.
                self.position = event.position
                return

    def _take_up(self, snapshot: Wire) -> None:
        """History is lost between; the run is over if it no longer stands among the active ones."""
        self._state = ThreadState.from_wire(snapshot, snapshot["messages"])
        active = {run["run_id"] for run in snapshot["runs"]}
        if (self.run_id is None and not active) or (self.run_id and self.run_id not in active):
            last = snapshot.get("last_run") or {}
            self._end(last if last.get("run_id") == self.run_id else {"outcome": "interrupted"})

    def _watch(self, event: Event) -> None:
        data = event.data
        match event.type:
            case "run:started" if self.run_id is None and not self._any_run:
                if data.get("handler") == "on_message":
                    self.run_id = data["run_id"]
            case "run:ended" if self._any_run or data["run_id"] == self.run_id:
                self._end(dict(data))
            case "ask":
                self.outcome, self.over = "waiting", True

    def _end(self, ended: Wire) -> None:
        self.run_id = ended.get("run_id", self.run_id)
        self.outcome = cast(Outcome, ended["outcome"])
        self.error = ended.get("error")
        self.over = True


def _event(item: Wire) -> Event:
    return Event(
        item["stream"],
        item["epoch"],
        item["offset"],
        item["data"]["type"],
        item["data"]["data"],
        item["at"],
    )
