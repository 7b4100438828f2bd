"""A model behind an endpoint, over real HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from parlour.agents.errors import (
    ContextTooLong,
    ModelLimited,
    ModelRefused,
    ModelUnavailable,
)
from parlour.agents.llm import EndpointModel, Prices
from parlour.agents.llm.retries import Retries
from parlour.agents.llm.streaming import UNREADABLE
from parlour.agents.ports import ModelAnswer, TokenUsage, ToolCall
from parlour.errors import ParlourError
from tests.unit.agents_parts.model_server import (
    ModelServer,
    Reply,
    calling,
    chunk,
    counted,
    failing,
    model_server,
    saying,
    stream,
)

ASKED = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "run", "parameters": {"type": "object"}}}


class Naps:
    """Sleeps that take no time, and are remembered."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


async def ask(
    server: ModelServer, heard: list[str] | None = None, tools: Any = (), **given: Any
) -> ModelAnswer:
    naps = given.pop("naps", Naps())
    retries = Retries(given.pop("times", 2), sleep=naps, chance=lambda: 1.0)
    model = EndpointModel("m", api_key="key-1", base_url=server.url, retries=retries, **given)
    try:
        on_delta = None if heard is None else heard.append
        return await model.complete(ASKED, tools, on_delta=on_delta)
    finally:
        await model.close()


async def test_words_come_one_by_one_and_add_up() -> None:
    heard: list[str] = []
    reply = Reply(
        body=stream(chunk(content="Hel"), chunk(content="lo"), chunk("stop"), counted(7, 2))
    )

    async with model_server(reply) as server:
        answer = await ask(server, heard, prices=Prices(prompt=2.0, completion=10.0))

    assert heard == ["Hel", "lo"]
    assert answer == ModelAnswer("Hello", (), TokenUsage(7, 2), (7 * 2.0 + 2 * 10.0) / 1e6)


async def test_the_request_carries_conversation_tools_key_and_options() -> None:
    async with model_server(saying("ok")) as server:
        await ask(server, tools=[TOOL], options={"temperature": 0.5})

    request = server.requests[0]
    assert server.keys == ["key-1"]
    assert request["messages"] == ASKED
    assert request["tools"] == [TOOL]
    assert request["temperature"] == 0.5
    assert request["stream_options"] == {"include_usage": True}


async def test_an_option_may_take_away_what_an_endpoint_does_not_know() -> None:
    async with model_server(saying("ok")) as server:
        await ask(server, options={"stream_options": False, "model": "other", "seed": 1})

    assert "stream_options" not in server.requests[0]
    assert server.requests[0]["model"] == "m"
    assert server.requests[0]["seed"] == 1


async def test_calls_are_put_together_from_their_pieces() -> None:
    reply = Reply(
        body=stream(
            calling(0, "", "run", "call_a"),
            calling(0, '{"command": '),
            calling(1, '{"path": "x"}', "read", "call_b"),
            calling(0, '"ls"}'),
            chunk("tool_calls"),
        )
    )

    async with model_server(reply) as server:
        answer = await ask(server)

    assert answer.tool_calls == (
        ToolCall("call_a", "run", {"command": "ls"}),
        ToolCall("call_b", "read", {"path": "x"}),
    )


@pytest.mark.parametrize("written", ['{"command": "ls', "[1]", "ls"])
async def test_arguments_that_are_no_object_are_handed_on_as_such(written: str) -> None:
    reply = Reply(body=stream(calling(0, written, "run", "call_a"), chunk("length")))

    async with model_server(reply) as server:
        answer = await ask(server)

    assert list(answer.tool_calls[0].arguments) == [UNREADABLE]


async def test_tokens_are_estimated_where_the_endpoint_does_not_count() -> None:
    async with model_server(saying("Hello there")) as server:
        answer = await ask(server)

    assert answer.usage.prompt > 0
    assert 2 <= answer.usage.completion <= 6


async def test_a_failure_that_may_pass_is_tried_again_with_growing_pauses() -> None:
    naps = Naps()

    async with model_server(
        failing("503 Away"), failing("500 Oh", "", "no"), saying("back")
    ) as server:
        answer = await ask(server, naps=naps)

    assert answer.text == "back"
    assert naps.taken == [0.5, 1.0]


async def test_after_the_last_attempt_it_is_unavailable() -> None:
    async with model_server(failing("502 Bad Gateway", "", "secret inner words")) as server:
        with pytest.raises(ModelUnavailable) as caught:
            await ask(server, times=1)

    assert len(server.requests) == 2
    assert "secret" not in caught.value.message


async def test_words_that_were_heard_are_not_said_twice() -> None:
    heard: list[str] = []
    cut = Reply(body=stream(chunk(content="Half an"), done=False), cut=True)

    async with model_server(cut, saying("never")) as server:
        with pytest.raises(ModelUnavailable):
            await ask(server, heard)

    assert heard == ["Half an"]
    assert len(server.requests) == 1


async def test_an_answer_that_breaks_off_before_a_word_is_asked_for_again() -> None:
    async with model_server(Reply(body=["data: {nonsense\n\n"]), saying("whole")) as server:
        answer = await ask(server)

    assert answer.text == "whole"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (["retry-after: 17"], 17.0),
        (["retry-after-ms: 1500"], 1.5),
        (["retry-after: tomorrow"], None),
        ([], None),
    ],
)
async def test_a_limit_is_told_at_once_with_its_wait(
    headers: list[str], seconds: float | None
) -> None:
    async with model_server(failing("429 Slow", "", "slow", *headers)) as server:
        with pytest.raises(ModelLimited) as caught:
            await ask(server)

    assert caught.value.retry_after == seconds
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (failing("400 Bad", "context_length_exceeded", "too long"), ContextTooLong),
        (failing("400 Bad", "", "This model's maximum context length is 8 tokens"), ContextTooLong),
        (failing("413 Large"), ContextTooLong),
        (failing("400 Bad", "invalid_value"), ModelRefused),
        (failing("401 Who"), ModelRefused),
        (failing("403 No"), ModelRefused),
        (failing("404 Where"), ModelRefused),
        (failing("422 What"), ModelRefused),
        (failing("429 Poor", "insufficient_quota"), ModelRefused),
        (Reply(body=stream(chunk(content="x"), chunk("content_filter"))), ModelRefused),
    ],
)
async def test_what_does_not_pass_is_told_at_once_by_its_kind(
    reply: Reply, kind: type[ParlourError]
) -> None:
    async with model_server(reply) as server:
        with pytest.raises(kind):
            await ask(server)

    assert len(server.requests) == 1


async def test_an_endpoint_that_is_not_there_is_unavailable() -> None:
    async with model_server(saying("x")) as server:
        pass

    with pytest.raises(ModelUnavailable):
        await ask(server, times=0)


async def test_a_silent_endpoint_is_unavailable() -> None:
    async with model_server(Reply(hang=True)) as server:
        with pytest.raises(ModelUnavailable):
            await ask(server, times=0, timeout_s=0.2)


async def test_cancelling_ends_the_request() -> None:
    begun = asyncio.Event()
    reply = Reply(body=stream(chunk(content="begun"), done=False), hang=True)

    async with model_server(reply) as server:
        model = EndpointModel("m", base_url=server.url)
        asking = asyncio.create_task(model.complete(ASKED, on_delta=lambda text: begun.set()))
        await asyncio.wait_for(begun.wait(), 30)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

        await asyncio.wait_for(server.left.wait(), 30)
        await model.close()

    assert server.left.is_set()


async def test_an_answer_without_end_is_cut_off() -> None:
    endless = Reply(body=stream(*[chunk(content="x" * 100_000) for _ in range(12)]))

    async with model_server(endless) as server:
        with pytest.raises(ModelRefused):
            await ask(server)


async def test_a_closed_model_can_be_asked_again() -> None:
    async with model_server(saying("again")) as server:
        model = EndpointModel("m", base_url=server.url)
        await model.complete(ASKED)
        await model.close()

        answer = await model.complete(ASKED)
        await model.close()

    assert answer.text == "again"


def test_pauses_spread_between_half_and_whole_and_stop_growing() -> None:
    low, high = Retries(chance=lambda: 0.0), Retries(chance=lambda: 1.0)

    assert [low.pause(n) for n in range(3)] == [0.25, 0.5, 1.0]
    assert [high.pause(n) for n in (0, 1, 20)] == [0.5, 1.0, 20.0]
