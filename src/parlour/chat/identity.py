"""Ids of what authors make: given by the node where there is one."""

from __future__ import annotations

import uuid

from parlour.chat.context import find_context


def new_id() -> str:
    """A new unique id. Objects may be made before a conversation exists, hence the second
    source."""
    found = find_context()
    return found.node.new_id() if found is not None else str(uuid.uuid4())
