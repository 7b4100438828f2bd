"""The shared vectors of agent sessions are what the code makes, and they cover every type of event."""

from __future__ import annotations

import pytest

from tests.golden.agent_vectors import FOLDER, all_types, covered_types, vectors
from tests.golden.vectors import render

MADE = vectors()


@pytest.mark.parametrize("file_name", sorted(MADE))
def test_stored_vector_is_what_the_fold_gives(file_name: str) -> None:
    stored = (FOLDER / file_name).read_text()

    assert stored == render(MADE[file_name]), "run: python -m tests.golden.agent_vectors"


def test_no_stored_vector_is_left_over() -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == set(MADE)


def test_every_event_type_has_a_vector() -> None:
    assert covered_types() == all_types()
