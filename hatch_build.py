"""Builds what is not Python: the web page, and the innermost loop of a delivery where there is a compiler.

A page that is there already is taken as it is; an editable install does without one (`make build`).
Where `_outlet.c` cannot be compiled the package is pure Python and does the same, slower."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

STATIC = Path("src/parlour/transports/http/static")
NATIVE = Path("src/parlour/native")
EXTENSION = "_outlet.abi3.so"
OLDEST = "cp311"
"""The Python whose stable ABI the extension is compiled for (`Py_LIMITED_API` in its source)."""


class ParlourBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Called by hatchling before it gathers the files."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name == "wheel" and self._compile():
            build_data["pure_python"] = False
            build_data["tag"] = f"{OLDEST}-abi3-{_platform()}"
            build_data["artifacts"].append(f"/{NATIVE / EXTENSION}")
        if version != "editable":
            self._build_page()

    def _compile(self) -> bool:
        """Whether the extension is there. PARLOUR_PURE=1 asks for none."""
        source = Path(self.root, NATIVE, "_outlet.c")
        target = source.with_name(EXTENSION)
        if os.environ.get("PARLOUR_PURE") == "1" or sys.platform == "win32":
            target.unlink(missing_ok=True)
            return False
        if target.is_file() and target.stat().st_mtime > source.stat().st_mtime:
            return True
        target.unlink(missing_ok=True)
        compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            self.app.display_warning("There is no C compiler: Parlour will be pure Python.")
            return False
        # Replaced in one step: a running server may have the old one mapped.
        fresh = target.with_suffix(".new")
        command = [*compiler.split(), *_flags(), str(source), "-o", str(fresh)]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            self.app.display_warning(f"Parlour will be pure Python, for {made.stderr.strip()}")
            fresh.unlink(missing_ok=True)
            return False
        fresh.replace(target)
        return True

    def _build_page(self) -> None:
        root = Path(self.root)
        if (root / STATIC / "index.html").is_file():
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


def _flags() -> list[str]:
    shared = (
        ["-bundle", "-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-shared"]
    )
    return ["-O2", "-fPIC", *shared, f"-I{sysconfig.get_paths()['include']}"]


def _platform() -> str:
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
