"""The two forms of the innermost loop, for tests that both have to pass."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.unit.native.wires import Wired


def _import(name: str) -> ModuleType:
    """Where nothing was compiled its tests do not run; where that must not be (CI), they fail."""
    try:
        return importlib.import_module(f"parlour.native.{name}")
    except ImportError as error:
        reason = f"nothing is compiled here: {error}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def compiled() -> ModuleType:
    """For what only the compiled form does."""
    return _import("_outlet")


@pytest.fixture(params=["pure", "compiled"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = _import("outlet" if request.param == "pure" else "_outlet")
    # A turn ends as it does where this form is the one in use.
    monkeypatch.setattr("parlour.transports.socketio.turn.flush_each", module.flush_each)
    return module


@pytest.fixture(params=["descriptor", "transport"])
def wired(request: pytest.FixtureRequest, form: ModuleType) -> Iterator[Wired]:
    """An outlet that may write to its socket, and one that may not."""
    with Wired(form, direct=request.param == "descriptor") as wired:
        yield wired
