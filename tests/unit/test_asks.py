"""Which answers a question accepts."""

from __future__ import annotations

from typing import Any

import pytest

from parlour.core.asks import accept, ask_thread, check_files
from parlour.errors import InvalidPayload, TooLarge

YES = {"id": "a1", "name": "yes", "payload": {"n": 1}}
CHOICE = {"type": "action", "actions": [YES, {"id": "a2", "name": "no", "payload": {}}]}


@pytest.mark.parametrize(
    "answer", ["blue", {"text": "blue"}, {"output": "blue"}, {"content": "blue"}]
)
def test_a_text_may_come_in_the_forms_that_clients_send(answer: Any) -> None:
    assert accept({"type": "text"}, answer) == {"text": "blue"}


@pytest.mark.parametrize("answer", [None, "", "  ", 7, [], {"text": 7}, {"other": "blue"}])
def test_what_is_no_text_is_refused(answer: Any) -> None:
    with pytest.raises(InvalidPayload):
        accept({"type": "text"}, answer)


@pytest.mark.parametrize(
    "answer", ["a1", "yes", {"id": "a1", "payload": {"n": 9}}, {"action_id": "a1"}]
)
def test_an_action_is_the_one_that_was_offered(answer: Any) -> None:
    assert accept(CHOICE, answer) == {"action": YES}


@pytest.mark.parametrize("answer", [None, "maybe", {}, {"id": "a3"}, 1])
def test_an_action_that_was_not_offered_is_refused(answer: Any) -> None:
    with pytest.raises(InvalidPayload):
        accept(CHOICE, answer)


@pytest.mark.parametrize("answer", [["f1"], {"files": ["f1"]}, [{"id": "f1", "name": "x"}]])
def test_files_are_named_by_id(answer: Any) -> None:
    assert accept({"type": "file", "max_files": 1}, answer) == {"files": ["f1"]}


@pytest.mark.parametrize("answer", [[], "f1", ["f1", "f2"], [1], {"files": None}])
def test_too_many_files_or_none_are_refused(answer: Any) -> None:
    with pytest.raises(InvalidPayload):
        accept({"type": "file", "max_files": 1}, answer)


@pytest.mark.parametrize(
    ("accepted", "name", "mime", "fits"),
    [
        ([], "a.bin", "application/octet-stream", True),
        (["*/*"], "a.bin", "application/octet-stream", True),
        (["text/plain"], "a.txt", "text/plain; charset=utf-8", True),
        (["text/*"], "a.md", "text/markdown", True),
        (["image/*"], "a.txt", "text/plain", False),
        ([".CSV"], "Data.csv", "application/vnd.ms-excel", True),
        ([".csv"], "csv", "text/plain", False),
        (["text/csv", ".csv"], "a.csv", "application/octet-stream", True),
    ],
)
def test_a_file_has_to_be_of_a_type_that_is_asked_for(
    accepted: list[str], name: str, mime: str, fits: bool
) -> None:
    files = [{"name": name, "mime": mime, "size": 1}]
    try:
        check_files({"type": "file", "accept": accepted}, files)
        taken = True
    except InvalidPayload:
        taken = False

    assert taken is fits


def test_a_file_over_the_asks_limit_is_refused() -> None:
    file = {"name": "a.bin", "mime": "application/octet-stream", "size": 2_000_001}
    check_files({"max_size_mb": 3}, [file])

    with pytest.raises(TooLarge, match=r"a\.bin is larger than 2 MB"):
        check_files({"max_size_mb": 2}, [file])


def test_an_asks_id_names_its_conversation() -> None:
    assert ask_thread("thread.with.dots.x1") == "thread.with.dots"
    for wrong in ("", "x", ".x", "x."):
        with pytest.raises(InvalidPayload):
            ask_thread(wrong)
