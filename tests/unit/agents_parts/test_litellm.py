"""Models through LiteLLM, over real HTTP. LiteLLM wants an SDK that is older than the rest is tested with:
`make test-litellm` runs these in an environment of its own, and so does `make test`."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from parlour.agents.errors import ContextTooLong, ModelLimited, ModelRefused, ModelUnavailable
from parlour.agents.llm import LLMRegistry
from parlour.agents.llm.retries import Retries
from parlour.agents.ports import Json, TokenUsage, ToolCall
from parlour.config import load_settings
from parlour.errors import ParlourError, SettingsError
from tests.unit.agents_parts.model_server import (
    Reply,
    calling,
    chunk,
    counted,
    failing,
    model_server,
    saying,
    stream,
)

ASKED: list[Json] = [{"role": "user", "content": "Hello"}]
HERE = importlib.util.find_spec("litellm") is not None
with_litellm = pytest.mark.skipif(
    not HERE, reason="LiteLLM has an environment of its own: make test-litellm"
)


def registry(folder: Path, url: str, **service: object) -> LLMRegistry:
    given = {
        "name": "other",
        "kind": "litellm",
        "model": "openai/gpt-4o",
        "base_url": url,
        **service,
    }
    environ = {"PARLOUR_MODEL_SERVICES": json.dumps([given])}
    return LLMRegistry.from_settings(load_settings(folder=folder, environ=environ))


@with_litellm
async def test_words_calls_and_usage_come_as_from_an_endpoint(tmp_path: Path) -> None:
    heard: list[str] = []
    pieces = (chunk(content="Hel"), chunk(content="lo"), calling(0, '{"a":', "run", "c1"))
    reply = Reply(body=stream(*pieces, calling(0, "1}"), chunk("tool_calls"), counted(7, 2)))

    async with model_server(reply) as server:
        model = registry(tmp_path, server.url, api_key="key-1", temperature=0.5).service("other")
        answer = await model.complete(ASKED, on_delta=heard.append)

    assert heard == ["Hel", "lo"]
    assert (answer.text, answer.tool_calls) == ("Hello", (ToolCall("c1", "run", {"a": 1}),))
    assert answer.usage == TokenUsage(7, 2)
    assert answer.cost > 0
    assert server.keys == ["key-1"]
    assert (server.requests[0]["model"], server.requests[0]["temperature"]) == ("gpt-4o", 0.5)


@with_litellm
async def test_prices_of_the_settings_win(tmp_path: Path) -> None:
    async with model_server(
        Reply(body=stream(chunk("stop", content="ok"), counted(7, 2)))
    ) as server:
        found = registry(tmp_path, server.url, api_key="k", price_prompt=2.0, price_completion=10.0)
        answer = await found.service("other").complete(ASKED)

    assert answer.cost == (7 * 2.0 + 2 * 10.0) / 1e6


REFUSALS = {
    "limited": (failing("429 Too Many", "", "slow down", "retry-after: 3"), ModelLimited),
    "no quota": (
        failing("429 Too Many", "insufficient_quota", "check your plan and billing details"),
        ModelRefused,
    ),
    "wrong key": (failing("401 Unauthorized"), ModelRefused),
    "forbidden": (failing("403 Forbidden"), ModelRefused),
    "unknown model": (failing("404 Not Found"), ModelRefused),
    "too long": (failing("400 Bad Request", "context_length_exceeded"), ContextTooLong),
    "broken": (failing("500 Server Error"), ModelUnavailable),
    "cut off": (Reply(body=stream(chunk(content="Hel"), done=False), cut=True), ModelUnavailable),
    "nonsense": (Reply(body=["data: nonsense\n\n"]), ModelUnavailable),
}


@with_litellm
@pytest.mark.parametrize("case", REFUSALS)
async def test_what_goes_wrong_has_the_errors_of_an_endpoint(case: str, tmp_path: Path) -> None:
    reply, kind = REFUSALS[case]

    async with model_server(reply) as server:
        model = registry(tmp_path, server.url, api_key="secret-1", retries=0).service("other")
        with pytest.raises(ParlourError) as failed:
            await model.complete(ASKED)

    assert type(failed.value) is kind
    assert "secret-1" not in str(failed.value)
    assert len(server.requests) == 1
    if isinstance(failed.value, ModelLimited):
        assert failed.value.retry_after == 3


@with_litellm
async def test_a_failure_that_may_pass_is_asked_again() -> None:
    from parlour.agents.llm.litellm_model import LiteLLMModel

    pauses: list[float] = []

    async def rest(seconds: float) -> None:
        pauses.append(seconds)

    async with model_server(failing("503 Unavailable"), saying("there")) as server:
        model = LiteLLMModel(
            "openai/m", api_key="k", base_url=server.url, retries=Retries(2, rest, lambda: 1.0)
        )
        answer = await model.complete(ASKED)

    assert answer.text == "there"
    assert pauses == [0.5]


@pytest.mark.skipif(HERE, reason="LiteLLM is installed here")
def test_without_litellm_the_settings_say_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"parlour\[litellm\]"):
        registry(tmp_path, "http://127.0.0.1:1/v1")
