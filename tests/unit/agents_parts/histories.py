"""Histories of agent sessions, as the stream holds them."""

from __future__ import annotations

from typing import Any

from parlour.core.streams import Event


class History:
    """Grows one event at a time; numbers count from 1."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def add(
        self, kind: str, data: dict[str, Any], source: str = "agent:a", cause: int | None = None
    ) -> int:
        offset = len(self.events) + 1
        why = None if cause is None else str(cause)
        self.events.append(Event("agent:s", "e", offset, kind, data, offset, source, why))
        return offset

    def says(self, text: str, who: str = "user:ann") -> int:
        return self.add("action:message", {"action": "message", "args": {"content": text}}, who)

    def calls(self, name: str, thought: str = "", **arguments: Any) -> int:
        number = len(self.events) + 1
        tool = {"id": f"call-{number}", "name": name, "arguments": arguments}
        args = {**arguments, "thought": thought}
        return self.add(f"action:{name}", {"action": name, "args": args, "tool": tool})

    def observes(self, name: str, content: str, cause: int | None, **extras: Any) -> int:
        data = {"observation": name, "content": content, "extras": extras}
        return self.add(f"observation:{name}", data, "system", cause)

    def runs(self, command: str, output: str, exit_code: int = 0) -> None:
        self.observes("run", output, self.calls("run", command=command), exit_code=exit_code)

    def condenses(self, summary: str, through: int) -> int:
        return self.observes("condensation", summary, None, through=through)
