"""The parts that every served node has (`server.parts`)."""

from __future__ import annotations

from typing import Final

from parlour.agents.assembly import make_agents
from parlour.documents.part import documents
from parlour.server.parts import PartMaker

PARTS: Final[tuple[PartMaker, ...]] = (documents, make_agents)
