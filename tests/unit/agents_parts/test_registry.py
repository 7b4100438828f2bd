"""Model services by the names that settings give them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parlour.agents.llm import EndpointModel, LLMRegistry, ScriptedModel
from parlour.config import load_settings
from parlour.errors import NotFound, SettingsError
from tests.unit.agents_parts.model_server import model_server, saying

ASKED = [{"role": "user", "content": "Hello"}]


def registry(folder: Path, toml: str = "", **environ: str) -> LLMRegistry:
    (folder / "parlour.toml").write_text(toml)
    return LLMRegistry.from_settings(load_settings(folder=folder, environ=environ))


def test_services_come_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "steps.json").write_text('[{"text": "hi"}]')

    found = registry(
        tmp_path,
        f"""
        [[model_services]]
        name = "default"
        model = "big"
        base_url = "http://127.0.0.1:1/v1"
        price_prompt = 2.5

        [[model_services]]
        name = "demo"
        kind = "scripted"
        script = "{tmp_path / "steps.json"}"
        """,
    )

    assert found.names == ["default", "demo"]
    assert isinstance(found.service("default"), EndpointModel)
    assert isinstance(found.service("demo"), ScriptedModel)


def test_services_come_from_the_environment(tmp_path: Path) -> None:
    services = json.dumps([{"name": "mine", "model": "m"}])

    assert registry(tmp_path, PARLOUR_MODEL_SERVICES=services).names == ["mine"]


def test_an_endpoint_of_the_ecosystem_s_variables_is_the_default(tmp_path: Path) -> None:
    found = registry(tmp_path, OPENAI_API_KEY="k", OPENAI_MODEL="m-1")

    model = found.service("default")

    assert isinstance(model, EndpointModel)
    assert model.name == "m-1"


def test_an_unknown_service_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="model_services"):
        registry(tmp_path).service("default")
    with pytest.raises(NotFound, match="Configured: default"):
        registry(tmp_path, OPENAI_API_KEY="k").service("odd")


def test_a_service_is_made_once(tmp_path: Path) -> None:
    found = registry(tmp_path, OPENAI_API_KEY="k")

    assert found.service("default") is found.service("default")


@pytest.mark.parametrize(
    ("services", "complaint"),
    [
        ('[{"name": "a", "api_key": "hunter2"}]', "needs model"),
        ('[{"name": "a", "kind": "scripted", "api_key": "hunter2"}]', "needs script"),
        ('[{"name": "a", "model": "m", "base_url": "ftp://x", "api_key": "hunter2"}]', "base_url"),
        ('[{"model": "m", "api_key": "hunter2"}]', "required"),
        ('[{"name": "a", "model": "m", "apikey": "hunter2"}]', "not permitted"),
        ('[{"name": "a", "model": "m"}, {"name": "a", "model": "m"}]', "two services"),
        ('[{"name": "hunter2"', "is not JSON"),
    ],
)
def test_a_mistake_is_told_without_the_key(tmp_path: Path, services: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        registry(tmp_path, PARLOUR_MODEL_SERVICES=services)

    assert complaint in caught.value.message
    assert "hunter2" not in caught.value.message


def test_a_script_that_cannot_be_read_is_told_at_start(tmp_path: Path) -> None:
    services = json.dumps([{"name": "a", "kind": "scripted", "script": "/absent.json"}])

    with pytest.raises(SettingsError, match=r"absent\.json"):
        registry(tmp_path, PARLOUR_MODEL_SERVICES=services)


async def test_a_configured_endpoint_is_asked_with_what_was_configured(tmp_path: Path) -> None:
    async with model_server(saying("hello")) as server:
        services = [
            {
                "name": "default",
                "model": "m",
                "base_url": server.url,
                "api_key": "key-9",
                "temperature": 0.5,
                "options": {"max_completion_tokens": 99},
                "price_completion": 1e6,
            }
        ]
        found = registry(tmp_path, PARLOUR_MODEL_SERVICES=json.dumps(services))
        answer = await found.service("default").complete(ASKED)
        await found.close()

    assert server.keys == ["key-9"]
    assert server.requests[0]["temperature"] == 0.5
    assert server.requests[0]["max_completion_tokens"] == 99
    assert answer.cost == answer.usage.completion > 0
