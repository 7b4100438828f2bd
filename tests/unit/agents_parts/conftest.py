"""A folder for workspaces."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def workspaces() -> Iterator[Path]:
    """Workspaces' users can pass through it, other than through pytest's own folders."""
    folder = Path(tempfile.mkdtemp(prefix="parlour-workspaces-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)
