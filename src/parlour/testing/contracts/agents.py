"""The contract of `AgentStore`."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from parlour.core.streams import Position
from parlour.errors import Forbidden, InvalidPayload, NotFound
from parlour.ports import AgentRecord, AgentStore, Checkpoint


def record(user_id: str, at: int = 1, **fields: object) -> AgentRecord:
    """A session that no other test uses."""
    made = AgentRecord(uuid.uuid4().hex, user_id, created_at=at, updated_at=at)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


class AgentStoreContract:
    """Give it an `agents` fixture."""

    async def test_what_was_created_is_found(self, agents: AgentStore) -> None:
        made = record("ann", title="A \x00 title", settings={"model": "m"}, active=True)

        stored, created = await agents.create_agent(made)

        assert created
        assert stored == await agents.agent(made.id)
        assert (stored.settings, stored.active) == ({"model": "m"}, True)
        assert await agents.agent("unknown") is None

    async def test_of_simultaneous_starts_one_creates_it(self, agents: AgentStore) -> None:
        made = record("ann")

        answers = await asyncio.gather(*(agents.create_agent(made) for _ in range(5)))

        assert sorted(created for _, created in answers) == [False] * 4 + [True]

    async def test_an_id_of_somebody_else_is_refused(self, agents: AgentStore) -> None:
        made, _ = await agents.create_agent(record("ann"))

        with pytest.raises(Forbidden):
            await agents.create_agent(AgentRecord(made.id, "bob"))

    async def test_fields_are_updated(self, agents: AgentStore) -> None:
        made, _ = await agents.create_agent(record("ann"))

        changed = await agents.update_agent(made.id, state="running", active=True, updated_at=9)

        assert (changed.state, changed.active, changed.updated_at) == ("running", True, 9)
        with pytest.raises(NotFound):
            await agents.update_agent("unknown", state="running")

    async def test_a_list_holds_own_and_shared_ones_and_repeats_none(
        self, agents: AgentStore
    ) -> None:
        me, other = uuid.uuid4().hex, uuid.uuid4().hex
        mine = [(await agents.create_agent(record(me, at)))[0].id for at in (1, 2, 2, 5)]
        shared, _ = await agents.create_agent(record(other, 3))
        await agents.create_agent(record(other, 4))
        await agents.set_agent_role(shared.id, me, "watch")

        seen: list[str] = []
        cursor: str | None = None
        while True:
            page, cursor = await agents.agents(me, cursor=cursor, limit=2)
            seen += [one.id for one in page]
            if cursor is None:
                break

        assert seen[:2] == [mine[3], shared.id]
        assert sorted(seen) == sorted([*mine, shared.id])
        with pytest.raises(InvalidPayload):
            await agents.agents(me, cursor="no cursor", limit=2)

    async def test_active_ones_are_found_in_pages(self, agents: AgentStore) -> None:
        made = [(await agents.create_agent(record("ann", active=True)))[0].id for _ in range(3)]
        resting, _ = await agents.create_agent(record("ann"))

        found: list[str] = []
        while page := await agents.active_agents(after=found[-1] if found else "", limit=2):
            found += page

        assert set(made) <= set(found)
        assert resting.id not in found
        assert found == sorted(found)

    async def test_roles_are_given_changed_and_taken(self, agents: AgentStore) -> None:
        made, _ = await agents.create_agent(record("ann"))
        for user, role in (("bob", "watch"), ("cyd", "comment"), ("bob", "drive")):
            await agents.set_agent_role(made.id, user, role)
        await agents.set_agent_role(made.id, "cyd", None)

        roles = await agents.agent_roles(made.id)

        assert roles == {"bob": "drive"}
        assert await agents.agent_role(made.id, "bob") == "drive"
        assert await agents.agent_role(made.id, "cyd") is None
        with pytest.raises(NotFound):
            await agents.set_agent_role("unknown", "bob", "watch")

    async def test_a_checkpoint_never_goes_back(self, agents: AgentStore) -> None:
        made, _ = await agents.create_agent(record("ann"))
        assert await agents.checkpoint(made.id) is None

        for offset in (5, 9, 7):
            checkpoint = Checkpoint(Position("e1", offset), {"offset": offset})
            await agents.write_checkpoint(made.id, checkpoint)

        assert await agents.checkpoint(made.id) == Checkpoint(Position("e1", 9), {"offset": 9})
        renewed = Checkpoint(Position("e2", 3), {"offset": 3})
        await agents.write_checkpoint(made.id, renewed)
        assert await agents.checkpoint(made.id) == renewed

    async def test_deleting_leaves_nothing(self, agents: AgentStore) -> None:
        made, _ = await agents.create_agent(record("ann"))
        await agents.set_agent_role(made.id, "bob", "drive")

        for _ in range(2):
            await agents.delete_agent(made.id)

        assert await agents.agent(made.id) is None
        assert await agents.agent_roles(made.id) == {}
