"""`/api/agents`: agent sessions, their events, who takes part, and their workspaces."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from parlour.agents.events import parse
from parlour.agents.recording import parse_trajectory
from parlour.agents.service import Agents, describe
from parlour.agents.session_settings import of_user
from parlour.agents.stream import EventStream, stream_name
from parlour.agents.trajectory import export, fork, import_trajectory, keep
from parlour.agents.web_session import WebSession
from parlour.core.access import CLIENT_ID
from parlour.core.agents import Role
from parlour.core.streams import Event
from parlour.errors import Forbidden, InvalidPayload, NotFound
from parlour.server.connections import Caller
from parlour.transports.http.calling import CurrentCaller, execute
from parlour.transports.http.identity import Administrator, CurrentNode
from parlour.wire.events import agent_payload

router = APIRouter(prefix="/api/agents", tags=["agents"])

AgentId = Annotated[str, Path(min_length=1, max_length=64)]
UserId = Annotated[str, Path(min_length=1, max_length=200)]
Title = Annotated[str, Field(max_length=200)]

EVENTS_AT_ONCE = 1000


class Begin(BaseModel):
    """`settings` as docs/agents.md says; `replay` is a trajectory."""

    id: Annotated[str, Field(min_length=8, max_length=64)] | None = None
    title: Title = ""
    message: Annotated[str, Field(max_length=100_000)] | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    replay: dict[str, Any] | None = None


class Change(BaseModel):
    title: Annotated[str, Field(min_length=1, max_length=200)]


class Act(BaseModel):
    """As `oh_user_action`."""

    action: Annotated[str, Field(min_length=1, max_length=100)]
    args: dict[str, Any] = Field(default_factory=dict)
    command_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None


class Import(BaseModel):
    trajectory: dict[str, Any]
    title: Title = ""


class Fork(BaseModel):
    at: Annotated[int, Field(ge=1)]
    title: Title = ""


class Member(BaseModel):
    role: Role


@router.post("", status_code=201)
async def begin(body: Begin, caller: CurrentCaller, node: CurrentNode) -> dict[str, Any]:
    """Begin a session, or find the one that was begun with the same id."""
    if body.id is not None and not CLIENT_ID.match(body.id):
        raise InvalidPayload("An id has 8 to 64 of A-Z a-z 0-9 _ -.", field="id")
    agents = node.part(Agents)
    replay = None if body.replay is None else parse_trajectory(body.replay).model_dump_json()
    session_id = body.id or node.new_id()
    web = WebSession(session_id, sio=agents, user_id=caller.user.id)
    title = body.title or _title_of(body.message or "")
    chosen = of_user((await node.users.settings(caller.user.id)).settings)
    record = await web.initialize_agent(
        body.settings, body.message, replay, user_settings=chosen, title=title
    )
    return describe(await agents.record(record.id))


def _title_of(text: str) -> str:
    line = " ".join(text.strip().partition("\n")[0].split())
    return line if len(line) <= 80 else f"{line[:79]}…"


@router.get("")
async def list_sessions(
    caller: CurrentCaller,
    node: CurrentNode,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 30,
) -> dict[str, Any]:
    """Own and shared ones, newest activity first."""
    records, following = await node.agents.agents(
        caller.user.id, cursor=cursor or None, limit=limit
    )
    return {"items": [describe(record) for record in records], "next_cursor": following}


@router.get("/kinds")
async def list_kinds(caller: CurrentCaller, node: CurrentNode) -> dict[str, Any]:
    """The agents and models that settings may name."""
    agents = node.part(Agents)
    return {"agents": sorted(agents.agents), "models": agents.model_names()}


@router.get("/overview")
async def overview(administrator: Administrator, node: CurrentNode) -> dict[str, Any]:
    """For administrators: what every node owns, in which phase and state, what waits, what was used, and the seconds of
    each phase of the set-up."""
    found = await node.part(Agents).everywhere()
    owners = {row["owner_id"] for row in found["sessions"]}
    people = {user_id: await _person(node, user_id) for user_id in owners}
    rows = [{**row, "owner": people[row["owner_id"]]} for row in found["sessions"]]
    return {**found, "sessions": rows}


@router.post("/import", status_code=201)
async def import_session(body: Import, caller: CurrentCaller, node: CurrentNode) -> dict[str, Any]:
    """A session that holds a recorded history."""
    trajectory = parse_trajectory(body.trajectory)
    record = await import_trajectory(node.part(Agents), caller.user, trajectory, body.title)
    return describe(record)


@router.get("/{session_id}")
async def read_session(
    session_id: AgentId, caller: CurrentCaller, node: CurrentNode
) -> dict[str, Any]:
    """One session with its state. `position` is where to subscribe after it."""
    agents = await _readable(node, caller, session_id)
    answer = await node.recovery.snapshot(caller, stream_name(session_id))
    snapshot = answer["snapshot"]
    return {
        **describe(await agents.record(session_id)),
        "state": snapshot["state"]["state"],
        "detail": snapshot["state"],
        "role": snapshot["role"],
        "latest_event_id": snapshot["latest_event_id"],
        "position": answer["position"],
    }


@router.patch("/{session_id}")
async def rename(
    session_id: AgentId, body: Change, caller: CurrentCaller, node: CurrentNode
) -> dict[str, Any]:
    """Change a session's title. Who drives may."""
    agents = await _driven(node, caller, session_id)
    return describe(await agents.rename(session_id, body.title))


@router.delete("/{session_id}", status_code=204)
async def delete(session_id: AgentId, caller: CurrentCaller, node: CurrentNode) -> None:
    """Stop a session and remove it from every list. Its owner may, and an administrator."""
    agents: Agents = node.part(Agents)
    if not caller.user.is_admin:
        await _readable(node, caller, session_id)
        if (await agents.record(session_id)).user_id != caller.user.id:
            raise Forbidden("Only its owner may delete a session.")
    await agents.delete(session_id)


@router.post("/{session_id}/actions")
async def act(
    session_id: AgentId, body: Act, caller: CurrentCaller, node: CurrentNode
) -> dict[str, Any]:
    """As `oh_user_action`."""
    await _readable(node, caller, session_id)
    payload = {"conversation_id": session_id, **body.model_dump(exclude_none=True)}
    return await execute(node, caller, "oh_user_action", payload)


@router.post("/{session_id}/stop")
async def stop(session_id: AgentId, caller: CurrentCaller, node: CurrentNode) -> dict[str, Any]:
    """Ask the agent to stop; answered when that is stored."""
    await _readable(node, caller, session_id)
    payload = {
        "conversation_id": session_id,
        "action": "change_agent_state",
        "args": {"agent_state": "stopped"},
    }
    return await execute(node, caller, "oh_user_action", payload)


# -- events ----------------------------------------------------------------------------------------


@router.get("/{session_id}/events")
async def search_events(
    session_id: AgentId,
    caller: CurrentCaller,
    node: CurrentNode,
    start_id: Annotated[int, Query(ge=1)] = 1,
    end_id: Annotated[int | None, Query(ge=1)] = None,
    reverse: bool = False,
    limit: Annotated[int, Query(ge=1, le=EVENTS_AT_ONCE)] = 100,
    types: Annotated[str | None, Query(max_length=500)] = None,
) -> dict[str, Any]:
    """Events by number. `next_id` is where the next page starts (`start_id`, or `end_id` in reverse); none at the
    end."""
    await _readable(node, caller, session_id)
    stream = EventStream(node, session_id)
    wanted = {name.strip() for name in (types or "").split(",") if name.strip()}

    def fits(event: Event) -> bool:
        return not wanted or parse(event).name in wanted

    found = [
        event async for event in stream.search_events(start_id, end_id, reverse, fits, limit + 1)
    ]
    more = found[limit].offset if len(found) > limit else None
    return {
        "events": [agent_payload(event) for event in found[:limit]],
        "latest_event_id": await stream.get_latest_event_id(),
        "next_id": more,
    }


@router.get("/{session_id}/trajectory")
async def read_trajectory(
    session_id: AgentId, caller: CurrentCaller, node: CurrentNode
) -> dict[str, Any]:
    """The whole history as one document."""
    return await export(await _readable(node, caller, session_id), session_id)


@router.post("/{session_id}/trajectory", status_code=201)
async def keep_trajectory(
    session_id: AgentId, caller: CurrentCaller, node: CurrentNode
) -> dict[str, Any]:
    """Write it into the agents' file store, a folder or a bucket."""
    agents = await _driven(node, caller, session_id)
    return {"path": await keep(agents, session_id)}


@router.post("/{session_id}/fork", status_code=201)
async def fork_session(
    session_id: AgentId, body: Fork, caller: CurrentCaller, node: CurrentNode
) -> dict[str, Any]:
    """A session of one's own with the same events up to `at`."""
    agents = await _readable(node, caller, session_id)
    return describe(await fork(agents, caller.user, session_id, body.at, body.title))


# -- who takes part --------------------------------------------------------------------------------


@router.get("/{session_id}/members")
async def list_members(
    session_id: AgentId, caller: CurrentCaller, node: CurrentNode
) -> dict[str, Any]:
    """Who takes part, and how. Who reads may."""
    agents = await _readable(node, caller, session_id)
    record = await agents.record(session_id)
    roles = await node.agents.agent_roles(session_id)
    members = [
        {"user": await _person(node, user_id), "role": role} for user_id, role in roles.items()
    ]
    owner = await _person(node, record.user_id)
    return {"owner_id": record.user_id, "owner": owner, "members": members}


async def _person(node: CurrentNode, user_id: str) -> dict[str, str]:
    user = await node.user(user_id)
    return {"id": user_id, "name": user.name if user is not None else user_id}


@router.put("/{session_id}/members/{user_id}")
async def set_member(
    session_id: AgentId, user_id: UserId, body: Member, caller: CurrentCaller, node: CurrentNode
) -> dict[str, Any]:
    """Give somebody a role. Who drives may."""
    agents = await _driven(node, caller, session_id)
    await agents.set_role(session_id, user_id, body.role)
    return {"user_id": user_id, "role": body.role}


@router.delete("/{session_id}/members/{user_id}", status_code=204)
async def remove_member(
    session_id: AgentId, user_id: UserId, caller: CurrentCaller, node: CurrentNode
) -> None:
    """Take somebody's role away, or leave oneself."""
    if user_id == caller.user.id:
        agents = await _readable(node, caller, session_id)
    else:
        agents = await _driven(node, caller, session_id)
    await agents.set_role(session_id, user_id, None)


# -- the workspace ---------------------------------------------------------------------------------


@router.get("/{session_id}/files")
async def list_files(
    session_id: AgentId, caller: CurrentCaller, node: CurrentNode
) -> dict[str, Any]:
    """The files of the workspace, wherever it is."""
    agents = await _readable(node, caller, session_id)
    return {"files": await agents.files(session_id)}


@router.get("/{session_id}/files/{path:path}")
async def read_file(
    session_id: AgentId,
    path: Annotated[str, Path(min_length=1, max_length=1000)],
    caller: CurrentCaller,
    node: CurrentNode,
) -> dict[str, Any]:
    """A text file of the workspace."""
    agents = await _readable(node, caller, session_id)
    answer: dict[str, Any] = await agents.files(session_id, path)
    return answer


async def _readable(node: CurrentNode, caller: Caller, session_id: str) -> Agents:
    """Raises `NotFound`, also where it is somebody else's: strangers learn nothing."""
    agents: Agents = node.part(Agents)
    if await agents.role(caller.user, session_id) is None:
        raise NotFound("There is no agent session with this id.")
    return agents


async def _driven(node: CurrentNode, caller: Caller, session_id: str) -> Agents:
    agents = await _readable(node, caller, session_id)
    if await agents.role(caller.user, session_id) is not Role.DRIVE:
        raise Forbidden("Only who drives may do this.")
    return agents
