"""The model that says what a script tells it to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from parlour.agents.errors import ContextTooLong, ModelLimited, ModelUnavailable
from parlour.agents.llm import Prices, ScriptedModel, Step, load_script
from parlour.agents.llm.scripted import ENDED
from parlour.agents.ports import Json, ModelAnswer
from parlour.errors import SettingsError

ASKED: list[Json] = [{"role": "user", "content": "Write it."}]

SCRIPT = [
    Step("I look around.", [("run", {"command": "ls"})]),
    Step("Two at once.", [("read", {"path": "a"}), ("read", {"path": "b"})]),
    Step("All done, I think."),
    Step("Truly.", [("finish", {})]),
]


def told(answer: ModelAnswer) -> list[Json]:
    """The answer and its calls' results, as a conversation holds them."""
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
        }
        for call in answer.tool_calls
    ]
    said: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if calls:
        said["tool_calls"] = calls
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "ok"} for call in answer.tool_calls
    ]
    return [said, *results]


async def test_a_conversation_goes_through_the_steps() -> None:
    model, messages, said = ScriptedModel(SCRIPT), list(ASKED), []

    for _ in range(5):
        answer = await model.complete(messages)
        said.append(answer.text)
        messages += told(answer)

    assert said == [*(step.text for step in SCRIPT), ENDED]


async def test_another_instance_goes_on_where_the_conversation_is() -> None:
    first = await ScriptedModel(SCRIPT).complete(ASKED)

    second = await ScriptedModel(SCRIPT).complete([*ASKED, *told(first)])

    assert second.text == "Two at once."
    assert [call.id for call in second.tool_calls] == ["step-1-0", "step-1-1"]


async def test_a_forgotten_beginning_does_not_lead_it_astray() -> None:
    second = await ScriptedModel(SCRIPT).complete(
        [*ASKED, *told(await ScriptedModel(SCRIPT).complete(ASKED))]
    )

    third = await ScriptedModel(SCRIPT).complete([*ASKED, *told(second)])

    assert third.text == "All done, I think."


async def test_it_speaks_in_pieces_at_its_pace() -> None:
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)

    heard: list[str] = []
    model = ScriptedModel(SCRIPT, tokens_per_second=50, sleep=nap)

    answer = await model.complete(ASKED, on_delta=heard.append)

    assert "".join(heard) == answer.text
    assert len(heard) > 2
    assert naps == [0.02] * len(heard)


async def test_a_step_may_depend_on_what_happened() -> None:
    step = Step("As expected.", when=r"FAILED \d+", otherwise=Step("It passed already."))

    failed = await ScriptedModel([step]).complete([{"role": "tool", "content": "FAILED 1"}])
    passed = await ScriptedModel([step]).complete([{"role": "tool", "content": "OK"}])

    assert failed.text == "As expected."
    assert passed.text == "It passed already."


async def test_a_step_may_fail_as_often_as_it_says() -> None:
    model = ScriptedModel([Step("At last.", error="limited", retry_after=2.5, times=2)])

    for _ in range(2):
        with pytest.raises(ModelLimited) as caught:
            await model.complete(ASKED)

    assert caught.value.retry_after == 2.5
    assert (await model.complete(ASKED)).text == "At last."


async def test_a_step_may_fail_always() -> None:
    model = ScriptedModel([Step(error="unavailable")])

    for _ in range(3):
        with pytest.raises(ModelUnavailable):
            await model.complete(ASKED)


async def test_it_reads_no_more_than_it_can() -> None:
    model = ScriptedModel(SCRIPT, context_tokens=50)

    assert (await model.complete(ASKED)).text
    with pytest.raises(ContextTooLong):
        await model.complete([{"role": "user", "content": "word " * 100}])


async def test_its_answers_have_a_cost() -> None:
    answer = await ScriptedModel(SCRIPT, Prices(1.0, 2.0)).complete(ASKED)

    assert answer.usage.prompt > 0
    assert answer.cost == pytest.approx(
        (answer.usage.prompt + 2 * answer.usage.completion) / 1_000_000
    )


def test_a_file_becomes_steps(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text(
        json.dumps(
            [
                {"text": "a", "tool_calls": [{"name": "run", "arguments": {"command": "ls"}}]},
                {"when": "x", "text": "b", "otherwise": {"text": "c"}},
            ]
        )
    )

    steps = load_script(path)

    assert steps == [
        Step("a", (("run", {"command": "ls"}),)),
        Step("b", when="x", otherwise=Step("c")),
    ]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "cannot be read"),
        ("{}", "must be a list"),
        ('["x"]', "step 0: a step is an object"),
        ('[{"txt": "x"}]', "no field 'txt'"),
        ('[{"error": "odd"}]', "an error is one of"),
        ('[{"when": "("}]', "not a pattern"),
        ('[{}, {"tool_calls": [{"arguments": {}}]}]', "step 1: a tool call has a name"),
        ('[{"tool_calls": [{"name": "x", "arguments": 3}]}]', "are an object"),
    ],
)
def test_a_mistake_in_a_file_is_told(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "script.json"
    path.write_text(content)

    with pytest.raises(SettingsError, match=r"script\.json") as caught:
        load_script(path)

    assert complaint in caught.value.message


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        load_script(tmp_path / "absent.json")
