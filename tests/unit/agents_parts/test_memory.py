"""What of a session's history a model is shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlour.agents.errors import ModelUnavailable
from parlour.agents.llm import ScriptedModel, Step
from parlour.agents.llm.tokens import count_message, count_tokens
from parlour.agents.memory import ConversationMemory, condense, to_forget
from parlour.agents.memory.blocks import NO_RESULT, SUMMARY
from parlour.agents.memory.conversation import LEFT_OUT
from parlour.agents.ports import Json
from tests.unit.agents_parts.histories import History

ROOMY = 100_000


def view(history: History, budget: int = ROOMY) -> list[Json]:
    return list(ConversationMemory().view(history.events, budget))


def contents(messages: Sequence[Json]) -> list[str]:
    return [str(message["content"]) for message in messages]


def tokens(messages: Sequence[Json]) -> int:
    return sum(map(count_message, messages))


def assert_whole(messages: Sequence[Json]) -> None:
    """Every call is followed by its result, and every result follows its call."""
    open_calls: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] in open_calls
            open_calls.remove(message["tool_call_id"])
        else:
            assert open_calls == []
            open_calls = [call["id"] for call in message.get("tool_calls") or ()]
    assert open_calls == []


# -- events as messages ----------------------------------------------------------------------------


def test_words_and_calls_become_a_conversation() -> None:
    history = History()
    history.says("Fix it.")
    action = history.calls("run", "I look first.", command="ls")
    history.observes("run", "a.py\n", action, exit_code=0)
    history.says("Which one?", "agent:a")

    assert view(history) == [
        {"role": "user", "content": "Fix it."},
        {
            "role": "assistant",
            "content": "I look first.",
            "tool_calls": [
                {
                    "id": "call-2",
                    "type": "function",
                    "function": {"name": "run", "arguments": '{"command": "ls"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call-2", "content": "a.py\n[exit code 0]"},
        {"role": "assistant", "content": "Which one?"},
    ]


def test_an_action_without_a_call_is_shown_as_one() -> None:
    history = History()
    action = history.add("action:read", {"action": "read", "args": {"path": "a"}})
    history.observes("read", "text", action)

    assert [call["function"] for call in view(history)[0]["tool_calls"]] == [
        {"name": "read", "arguments": '{"path": "a"}'}
    ]


def test_a_call_without_a_result_gets_one() -> None:
    history = History()
    history.calls("run", command="sleep 9")
    history.says("What now?")
    history.calls("finish", content="Done.")

    messages = view(history)

    assert_whole(messages)
    assert NO_RESULT in contents(messages)


def test_a_result_that_came_late_stands_behind_its_call() -> None:
    history = History()
    action = history.calls("run", command="make")
    history.says("Hurry!")
    history.observes("run", "made", action, exit_code=0)

    messages = view(history)

    assert_whole(messages)
    assert contents(messages)[-2:] == ["made\n[exit code 0]", "Hurry!"]


def test_how_a_command_ended_is_said() -> None:
    history = History()
    for extras in ({"exit_code": 2}, {"timed_out": True}, {"interrupted": True}):
        history.observes("run", "", history.calls("run", command="x"), **extras)

    said = [str(m["content"]) for m in view(history) if m["role"] == "tool"]

    assert said == [
        "[exit code 2]",
        "[It did not end in time and was ended.]",
        "[It was interrupted.]",
    ]


def test_refusals_errors_and_differences_are_told() -> None:
    history = History()
    history.observes("user_rejected", "not that", history.calls("run", command="rm"), action_id=1)
    history.observes("error", "no such file", history.calls("read", path="x"))
    history.observes("edit", "", history.calls("edit", path="x", old="a", new="b"), diff="-a\n+b")

    said = [str(m["content"]) for m in view(history) if m["role"] == "tool"]

    assert said == ["[A person refused this.] not that", "[Error] no such file", "-a\n+b"]


def test_comments_and_changes_of_state_are_not_shown() -> None:
    history = History()
    history.add("action:comment", {"action": "comment", "args": {"content": "psst"}}, "user:bob")
    history.observes("agent_state_changed", "", None, agent_state="running")
    history.observes("agent_state_changed", "", 1, agent_state="finished")

    assert view(history) == []


# -- the window ------------------------------------------------------------------------------------


def long_history(steps: int = 60) -> History:
    history = History()
    history.says("Build the thing.")
    for number in range(steps):
        history.runs(f"step {number}", f"output of {number} " + "word " * 50)
    return history


def test_what_fits_is_shown_whole() -> None:
    history = long_history()

    messages = view(history)

    assert len(messages) == 1 + 2 * 60
    assert LEFT_OUT not in contents(messages)


def test_past_the_budget_the_oldest_steps_are_left_out() -> None:
    messages = view(long_history(), 2_000)

    shown = contents(messages)
    assert tokens(messages) <= 2_000
    assert shown[:2] == ["Build the thing.", LEFT_OUT]
    assert "output of 59" in shown[-1]
    assert not any("output of 0 " in text for text in shown)
    assert_whole(messages)


def test_the_beginning_stays_the_same_while_a_session_goes_on() -> None:
    history = long_history(40)
    changes, before = 0, view(history, 4_000)

    for number in range(40, 80):
        history.runs(f"step {number}", f"output of {number} " + "word " * 50)
        after = view(history, 4_000)
        changes += after[: len(before)] != before
        before = after

    assert changes <= 6


def test_one_long_output_is_cut_in_the_middle() -> None:
    history = History()
    history.says("Look.")
    history.runs("cat big", "begin " + "x" * 500_000 + " end")

    messages = view(history, 4_000)

    assert tokens(messages) <= 4_000
    assert str(messages[-1]["content"]).startswith("begin ")
    assert "characters are left out" in str(messages[-1]["content"])
    assert str(messages[-1]["content"]).endswith(" end\n[exit code 0]")


def test_long_arguments_are_cut_and_stay_an_object() -> None:
    history = History()
    history.says("Write.")
    action = history.calls("write", path="big.txt", content="y" * 500_000)
    history.observes("write", "", action, path="big.txt")

    messages = view(history, 4_000)

    assert tokens(messages) <= 4_000
    arguments = json.loads(messages[1]["tool_calls"][0]["function"]["arguments"])
    assert arguments["path"] == "big.txt"
    assert "characters are left out" in arguments["content"]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("person"), st.text(max_size=300)),
        st.tuples(st.just("agent"), st.text(max_size=300)),
        st.tuples(st.just("run"), st.integers(0, 3_000)),
        st.tuples(st.just("open"), st.integers(0, 300)),
        st.tuples(st.just("condense"), st.integers(0, 80)),
    ),
    max_size=40,
)


def grown(steps: list[tuple[str, Any]]) -> History:
    history = History()
    history.says("The task.")
    for kind, what in steps:
        if kind == "person":
            history.says(what)
        elif kind == "agent":
            history.says(what, "agent:a")
        elif kind == "run":
            history.runs("x", "o" * what)
        elif kind == "open":
            history.calls("run", command="c" * what)
        else:
            history.condenses("What was.", min(what, len(history.events)))
    return history


@given(STEPS, st.integers(1_000, 20_000))
def test_any_history_keeps_the_promises(steps: list[tuple[str, Any]], budget: int) -> None:
    history = grown(steps)

    messages = view(history, budget)

    assert_whole(messages)
    assert tokens(messages) <= budget
    assert messages[0] == {"role": "user", "content": "The task."}
    assert messages == view(history, budget)
    newest = view(history)[-1]
    assert messages[-1]["role"] == newest["role"]


# -- forgetting with a summary ---------------------------------------------------------------------


def test_nothing_is_forgotten_while_it_fits() -> None:
    assert to_forget(long_history(5).events, ROOMY) is None


def test_the_oldest_half_is_forgotten_when_it_does_not_fit() -> None:
    history = long_history()
    budget = tokens(view(history)) - 1

    forgetting = to_forget(history.events, budget)

    assert forgetting is not None
    history.condenses("We built most of it.", forgetting.through)
    after = view(history)
    assert_whole(after)
    assert contents(after)[:2] == ["Build the thing.", SUMMARY + "We built most of it."]
    assert tokens(after) <= 0.6 * budget
    assert "output of 59" in contents(after)[-1]


def test_a_second_condensation_takes_the_first_one_s_place() -> None:
    history = long_history(20)
    history.condenses("First part.", 21)
    for number in range(20, 40):
        history.runs(f"step {number}", f"output of {number} ")
    history.condenses("First and second part.", 61)

    shown = contents(view(history))

    assert shown[:2] == ["Build the thing.", SUMMARY + "First and second part."]
    assert not any("First part." in text for text in shown)


@given(STEPS, st.integers(500, 5_000))
def test_what_is_forgotten_is_whole_and_never_the_task(
    steps: list[tuple[str, Any]], budget: int
) -> None:
    history = grown(steps)
    before = tokens(view(history))
    forgetting = to_forget(history.events, budget)
    if forgetting is None:
        return
    assert_whole(forgetting.messages)

    history.condenses("s", forgetting.through)

    after = view(history)
    assert_whole(after)
    assert after[0] == {"role": "user", "content": "The task."}
    assert tokens(after) <= before + tokens([{"role": "user", "content": SUMMARY + "s"}])


async def test_a_model_writes_the_summary() -> None:
    history = long_history()

    made = await condense(ScriptedModel([Step("  Half is built. ")]), history.events, 3_000)

    assert made is not None
    assert made.event.content == "Half is built."
    assert 1 < made.event.through < len(history.events)
    assert made.usage["prompt"] > 0


async def test_without_a_summary_nothing_is_forgotten() -> None:
    assert await condense(ScriptedModel([Step("")]), long_history().events, 3_000) is None
    assert await condense(ScriptedModel([]), long_history(2).events, ROOMY) is None


async def test_a_model_that_fails_is_not_hidden() -> None:
    model = ScriptedModel([Step(error="unavailable")])

    with pytest.raises(ModelUnavailable):
        await condense(model, long_history().events, 3_000)


# -- counting --------------------------------------------------------------------------------------


def test_tokens_are_counted_by_letters() -> None:
    assert count_tokens("") == 0
    assert count_tokens("word " * 70) == 101
    assert count_tokens("日本語") == 4
