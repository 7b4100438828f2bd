"""Agent sessions: an event stream, a runtime, a controller, and people who can steer it."""

from parlour.agents.agent_session import AgentSession
from parlour.agents.kinds import ToolAgent, register_agent, register_model
from parlour.agents.service import Agents
from parlour.agents.stream import EventStream
from parlour.agents.web_session import WebSession

__all__ = [
    "AgentSession",
    "Agents",
    "EventStream",
    "ToolAgent",
    "WebSession",
    "register_agent",
    "register_model",
]
