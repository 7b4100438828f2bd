"""Builds the web page into the package, so that `pip install .` from a clone has it.

A page that is there already is taken as it is; an editable install does without one (`make build`).
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

STATIC = Path("src/parlour/transports/http/static")


class PageBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Called by hatchling before it gathers the files."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        if version == "editable" or (root / STATIC / "index.html").is_file():
            return
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError(
                "The web page is not built, and building it needs Node.js 20 or newer with npm: "
                "install that, or install Parlour from a wheel, which contains the page."
            )
        for command in (["ci"], ["run", "build"]):
            self.app.display_info(f"npm {' '.join(command)}")
            subprocess.run([npm, *command], cwd=root, check=True)
        if not (root / STATIC / "index.html").is_file():
            raise RuntimeError(f"npm run build made no {STATIC}/index.html")
