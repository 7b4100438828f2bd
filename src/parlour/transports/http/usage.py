"""`/api/usage`: models in use now."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from parlour.transports.http.identity import Caller, CurrentNode

router = APIRouter(prefix="/api/usage", tags=["usage"])


class ModelInUse(BaseModel):
    id: str
    sessions: int


class ModelsInUse(BaseModel):
    """`model_ids` is the list that older clients read."""

    models: list[ModelInUse]
    model_ids: list[str]


@router.get("")
async def models_in_use(_caller: Caller, node: CurrentNode) -> ModelsInUse:
    """The models in use over all nodes, and by how many sessions each."""
    in_use = await node.usage.in_use()
    rows = [ModelInUse(id=model, sessions=number) for model, number in sorted(in_use.items())]
    return ModelsInUse(models=rows, model_ids=[row.id for row in rows])
