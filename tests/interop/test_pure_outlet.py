"""The fast transport where nothing was compiled: its suites pass with the pure form, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUITES = [
    "tests/interop/test_fast_websocket.py",
    "tests/integration/test_delivery_cost.py",
    "tests/unit/native/test_endings.py",
]
SECONDS = 100
"""Ten are enough on a quiet machine."""

PROGRAM = """
import sys

sys.modules["parlour.native._outlet"] = None
import parlour.native
import pytest

print("compiled:", parlour.native.COMPILED)
raise SystemExit(pytest.main(sys.argv[1:]))
"""


def test_the_suites_of_the_fast_transport_pass_where_nothing_was_compiled():
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    # What this run was given is not meant for that one.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "COV_"))
    }

    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *options, *SUITES],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.startswith("compiled: False\n")
