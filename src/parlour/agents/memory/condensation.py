"""Forgetting with a summary: which part of a session goes, and what is said in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from parlour.agents.events import CondensationObservation
from parlour.agents.memory.blocks import Block, blocks_of, shortened
from parlour.agents.ports import Json, Model
from parlour.core.streams import Event

KEPT_SHARE: Final = 0.5
SUMMARISED: Final = 2_000
"""Characters of each message that the summary is made from."""

SUMMARY_LIMIT: Final = 8_000
"""Characters of a summary."""

INSTRUCTIONS: Final = """\
Sum up what happened so far in this piece of work, for whoever goes on with it and sees nothing else of it. Name:
the task and what the person asked for since; what is done, with the files and commands that matter; what was
found out; what failed and why; what is left to do. At most 400 words, no introduction."""


@dataclass(frozen=True, slots=True)
class Forgetting:
    """`messages` are to be summed up; events up to `through` are then not shown any more."""

    through: int
    messages: Sequence[Json]


def to_forget(events: Sequence[Event], budget: int) -> Forgetting | None:
    """What goes when the history has outgrown `budget` tokens: the oldest blocks, so that the rest takes half of
    it. Never the person's first words, never the newest block, never a part of a block. None while all fits,
    or where nothing can go. Pure."""
    blocks = blocks_of(events)
    if sum(one.tokens for one in blocks) <= budget:
        return None
    keep = _kept_from(blocks, int(budget * KEPT_SHARE))
    through = _boundary(blocks, keep)
    if through is None:
        return None
    gone = [one for one in blocks if one.last <= through]
    messages = [message for one in gone for message in shortened(one, SUMMARISED).messages]
    return Forgetting(through, messages)


@dataclass(frozen=True, slots=True)
class Condensed:
    """The event that takes the place of what is forgotten, and what its summary cost (as `usage` of an event)."""

    event: CondensationObservation
    usage: Mapping[str, float]


async def condense(model: Model, events: Sequence[Event], budget: int) -> Condensed | None:
    """None where nothing has to be forgotten. Raises what the model raises; then nothing is forgotten, and the
    window of the memory still holds."""
    forgetting = to_forget(events, budget)
    if forgetting is None:
        return None
    # As one text: services refuse calls and results of tools that the request does not offer.
    told = "\n\n".join(_told(message) for message in forgetting.messages)
    answer = await model.complete(
        [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": told}]
    )
    summary = answer.text.strip()[:SUMMARY_LIMIT]
    if not summary:
        return None
    used = answer.usage
    usage = {"prompt": used.prompt, "completion": used.completion, "cost": answer.cost}
    event = CondensationObservation(content=summary, through=forgetting.through)
    return Condensed(event, usage)


def _told(message: Json) -> str:
    words = [str(message.get("content") or "")]
    functions = [call["function"] for call in message.get("tool_calls") or ()]
    words += [f"{function['name']}({function['arguments']})" for function in functions]
    said = "\n".join(word for word in words if word)
    return f"{message['role'].upper()}: {said}"


def _kept_from(blocks: Sequence[Block], room: int) -> int:
    """The place from which on blocks stay."""
    place, held = len(blocks) - 1, 0
    while place > 0 and held + blocks[place].tokens <= room:
        held += blocks[place].tokens
        place -= 1
    return min(place + 1, len(blocks) - 1)


def _boundary(blocks: Sequence[Block], keep: int) -> int | None:
    """The last number that goes: before everything that stays, though words of people may stand later in the
    history than their number says."""
    first = next((one for one in blocks if one.kind == "person"), None)
    while keep > 0:
        gone = [one for one in blocks[:keep] if one is not first]
        if not gone:
            return None
        through = max(one.last for one in gone)
        if all(one.first > through for one in blocks[keep:]):
            return through
        keep -= 1
    return None
