"""A session's history as one JSON document: export, import, and forks.

Numbers are kept: the first event of a trajectory is number 1 and nothing is left out, so what an event says about
another one (`cause`, `ask_id`, `ids`) holds in the copy as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from parlour.agents.events import StateObservation, event_type
from parlour.agents.recording import EVENTS, PLACE, VERSION, Recorded, Trajectory
from parlour.agents.service import Agents, describe
from parlour.agents.session_settings import InForce
from parlour.agents.stream import stream_name
from parlour.core.agent_state import SessionState, fold
from parlour.core.agents import TERMINAL, AgentState
from parlour.core.streams import Dedupe, Event, NewEvent
from parlour.core.users import User
from parlour.errors import CommandError, NotFound, TooLarge
from parlour.ports import AgentRecord
from parlour.wire.events import agent_payload

if TYPE_CHECKING:
    from parlour.server.node import Node

log = structlog.get_logger(__name__)

AT_ONCE: Final = 200

COPIED_FILES: Final = 500
COPIED_BYTES: Final = 10_000_000
"""How much of a workspace a fork takes along."""

_CHANGING: Final = frozenset({"action:run", "action:run_ipython", "action:write", "action:edit"})


async def export(agents: Agents, session_id: str) -> dict[str, Any]:
    """The trajectory of a session up to now. Raises `NotFound`, and `TooLarge` past `EVENTS` events."""
    record = await agents.record(session_id)
    events = await _read(agents.node, session_id, None)
    return {
        "version": VERSION,
        "session": describe(record),
        "events": [agent_payload(event) for event in events],
    }


async def keep(agents: Agents, session_id: str) -> str:
    """Write the trajectory into the agents' file store; gives back its path there. Raises `NotFound` where there is no
    such store."""
    if agents.file_store is None:
        raise NotFound("This server keeps no files of agents.")
    document = await export(agents, session_id)
    path = f"trajectories/{session_id}/{len(document['events'])}.json"
    await agents.file_store.write(path, orjson.dumps(document))
    return path


async def import_trajectory(
    agents: Agents, user: User, trajectory: Trajectory, title: str = ""
) -> AgentRecord:
    """A new session of this user with a recorded history. It rests until somebody says something."""
    session = trajectory.session
    force = InForce.from_json(dict(session.get("settings") or {}))
    record = AgentRecord(
        agents.node.new_id(),
        user.id,
        title=title or str(session.get("title") or "Imported"),
        agent=force.agent,
        settings=force.to_json(),
    )
    at = agents.node.clock.now_ms()
    records = [_import(event, user, record.id, at) for event in trajectory.events]
    return await _settle(agents, record, records, "imported")


def _import(event: Recorded, user: User, session_id: str, at: int) -> NewEvent:
    """Whatever a document says of who did something: it was brought here by this user."""
    sources = {"user": f"user:{user.id}", "agent": f"agent:{session_id}", "environment": "system"}
    data = {name: value for name, value in event.data.items() if name not in PLACE}
    if event.source == "user":
        data["user"] = user.author()
    cause = None if event.cause is None else str(event.cause)
    return NewEvent(event.type, {**data, "imported": True}, at, sources[event.source], cause)


async def fork(
    agents: Agents, user: User, session_id: str, at: int, title: str = ""
) -> AgentRecord:
    """A session of this user's own with the same events up to number `at`. The text files of the workspace come along
    where nothing has changed them since. Raises `NotFound` where there is no such event."""
    origin = await agents.record(session_id)
    whole = await _read(agents.node, session_id, None)
    events = [event for event in whole if event.offset <= at]
    if not events or events[-1].offset != at:
        raise NotFound(f"There is no event {at}.")
    record = AgentRecord(
        agents.node.new_id(),
        user.id,
        title=title or origin.title,
        agent=origin.agent,
        settings=dict(origin.settings),
        forked_from=f"{session_id}:{at}",
    )
    if not any(event.type in _CHANGING and event.offset > at for event in whole):
        await _copy_files(agents, session_id, record.id)
    records = [NewEvent(e.type, e.data, e.at, e.source, e.cause) for e in events]
    return await _settle(agents, record, records, "forked")


async def _copy_files(agents: Agents, origin_id: str, copy_id: str) -> None:
    """The copy's workspace begins with the files as they are. What is no text, or too much, stays behind."""
    copy = agents.runtimes(copy_id)
    try:
        await copy.open()
        entries = [one for one in await agents.files(origin_id) if not one["folder"]]
        left = COPIED_BYTES
        for entry in entries[:COPIED_FILES]:
            left -= int(entry["size"])
            if left < 0:
                break
            file = await agents.files(origin_id, entry["path"])
            await copy.write_file(entry["path"], file["content"])
    except CommandError as error:
        log.warning("a workspace was not copied", agent_session=origin_id, error=error.message)
    finally:
        await copy.close()


async def _settle(
    agents: Agents, record: AgentRecord, records: Sequence[NewEvent], reason: str
) -> AgentRecord:
    """Store a session and its history, at rest. The history first: a session that can be found is whole."""
    node = agents.node
    stream = stream_name(record.id)
    now = node.clock.now_ms()
    last = _rest(records, stream, reason, now)
    whole = [*records, *last]
    for start in range(0, len(whole), AT_ONCE):
        await node.streams.append_records(
            stream, whole[start : start + AT_ONCE], Dedupe(f"{reason}:{start}")
        )
    state = _fold(whole, stream)
    record.state, record.active = str(state.state), False
    record.created_at = record.updated_at = now
    stored, _ = await node.agents.create_agent(record)
    return stored


def _rest(records: Sequence[NewEvent], stream: str, reason: str, now: int) -> list[NewEvent]:
    """What brings an agent to rest that was at work, or waited for a word, where the copy ends."""
    state = _fold(records, stream)
    if state.state in TERMINAL | {AgentState.AWAITING_USER_INPUT}:
        return []
    stopped = StateObservation(agent_state=AgentState.STOPPED, reason=reason, content=reason)
    return [NewEvent(event_type(stopped), stopped.to_data(), now, "system")]


def _fold(records: Sequence[NewEvent], stream: str) -> SessionState:
    events = (
        Event(stream, "", number, one.type, one.data, one.at, one.source, one.cause)
        for number, one in enumerate(records, 1)
    )
    return fold(SessionState(), events)


async def _read(node: Node, session_id: str, through: int | None) -> list[Event]:
    stream = stream_name(session_id)
    found: list[Event] = []
    after = None
    while True:
        page = await node.log.read(stream, after, AT_ONCE)
        found += [e for e in page.events if through is None or e.offset <= through]
        after = page.position
        if len(found) > EVENTS:
            raise TooLarge(f"A trajectory has at most {EVENTS} events.", limit=EVENTS)
        if page.position == page.head or (through is not None and page.position.offset >= through):
            return found
