"""The demo is tested on the same stage as authors' code."""

from tests.unit.chat.conftest import stage

__all__ = ["stage"]
