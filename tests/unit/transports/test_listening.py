"""What a process that serves changes for itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from parlour.transports.listening import HANDOVER_SECONDS, quick_handovers


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


def test_a_thread_gets_the_interpreter_soon_while_we_serve():
    sys.setswitchinterval(0.005)

    with quick_handovers():
        inside = sys.getswitchinterval()

    assert inside == pytest.approx(HANDOVER_SECONDS)
    assert sys.getswitchinterval() == pytest.approx(0.005)


def test_an_interval_that_is_shorter_already_is_left_alone():
    sys.setswitchinterval(0.0001)

    with quick_handovers():
        assert sys.getswitchinterval() == pytest.approx(0.0001, rel=0.1)
