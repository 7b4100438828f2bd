"""The app of the agents' kill run: a model whose every step leaves a line in the workspace, so that a step that was
carried out twice, or by two owners, shows."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence

import parlour as cl
from parlour.agents import register_model
from parlour.agents.ports import Json, ModelAnswer, TokenUsage, ToolCall
from parlour.config import Settings

STEPS = int(os.environ.get("FAULT_AGENT_STEPS", "12"))
THINKING_S = float(os.environ.get("FAULT_AGENT_THINKING", "0.05"))


class CountingModel:
    """Step n: `echo n >> done.txt`. Which one is next follows from the conversation."""

    async def complete(
        self,
        messages: Sequence[Json],
        tools: Sequence[Json] = (),
        *,
        on_delta: Callable[[str], None] | None = None,
    ) -> ModelAnswer:
        await asyncio.sleep(THINKING_S)
        done = sum(1 for message in messages if message.get("tool_calls"))
        usage = TokenUsage(1, 1)
        if done >= STEPS:
            call = ToolCall("end", "finish", {"content": f"{done} steps"})
        else:
            command = f"echo {done} >> done.txt; sleep 0.0{done % 5}"
            call = ToolCall(f"step-{done}", "run", {"command": command})
        return ModelAnswer("", (call,), usage, 0.001)


def make(settings: Settings) -> CountingModel:
    return CountingModel()


register_model("counting", make)


@cl.on_message
async def reply(message: cl.Message) -> None:
    await cl.Message(content="This app is for agents.").send()
