"""The window on a session's history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from parlour.agents.llm.tokens import LETTERS_PER_TOKEN
from parlour.agents.memory.blocks import Block, block, blocks_of, shortened
from parlour.agents.ports import Json
from parlour.core.streams import Event

LEFT_OUT: Final = "[Earlier steps are left out here.]"
KEPT_SHARE: Final = 0.5
"""Of the budget, when something has to be forgotten: the next answers then begin with the same messages, which
a model's service may have kept, instead of forgetting a little each time."""

LARGEST_SHARE: Final = 0.25
"""Of the budget, for one block: longer output is cut in the middle."""

SMALLEST_CUT: Final = 200


class ConversationMemory:
    """See the `Memory` port. The person's first words and summaries stay at the front, the newest blocks at the
    end; when the budget is passed, the oldest between them are left out, and a line says so."""

    def view(self, events: Sequence[Event], budget: int) -> Sequence[Json]:
        limit = max(SMALLEST_CUT, int(budget * LARGEST_SHARE * LETTERS_PER_TOKEN))
        blocks = [shortened(one, limit) for one in blocks_of(events)]
        return [message for one in window(blocks, budget) for message in one.messages]


def window(blocks: Sequence[Block], budget: int) -> list[Block]:
    """The blocks that fit. Walks forward as the session did, so that a longer history has the same
    beginning as long as nothing more must go."""
    if sum(one.tokens for one in blocks) <= budget:
        return list(blocks)
    front, rest = _front(blocks)
    gap = block([{"role": "user", "content": LEFT_OUT}], 0, 0)
    room = budget - gap.tokens - sum(one.tokens for one in front)
    start, held = 0, 0
    for place, one in enumerate(rest):
        held += one.tokens
        if held > room:
            start, held = _newest(rest, place, max(0, int(room * KEPT_SHARE)))
    return [*front, gap, *rest[start:]] if start else [*front, *rest]


def _front(blocks: Sequence[Block]) -> tuple[list[Block], list[Block]]:
    """What stays in any case, the first words of a person and a summary; and what comes after."""
    first = next((place for place, one in enumerate(blocks) if one.kind == "person"), None)
    places = {place for place, one in enumerate(blocks) if place == first or one.kind == "summary"}
    front = [one for place, one in enumerate(blocks) if place in places]
    return front, [one for place, one in enumerate(blocks) if place not in places]


def _newest(rest: Sequence[Block], last: int, room: int) -> tuple[int, int]:
    """Where the newest blocks up to `last` begin that fit into `room`; the last one always does."""
    start, held = last, rest[last].tokens
    while start > 0 and held + rest[start - 1].tokens <= room:
        start -= 1
        held += rest[start].tokens
    return start, held
