"""The shared vectors are what the code makes, and they cover every event type."""

from __future__ import annotations

import pytest

from parlour.core.thread import EVENT_TYPES
from tests.golden.vectors import FOLDER, covered_types, render, vectors

MADE = vectors()


@pytest.mark.parametrize("file_name", sorted(MADE))
def test_stored_vector_is_what_the_fold_gives(file_name: str) -> None:
    stored = (FOLDER / file_name).read_text()

    assert stored == render(MADE[file_name]), "run: python -m tests.golden.vectors"


def test_no_stored_vector_is_left_over() -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == set(MADE)


def test_every_event_type_has_a_vector() -> None:
    assert covered_types() == EVENT_TYPES
