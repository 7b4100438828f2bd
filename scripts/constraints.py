"""Prints the versions that are installed, one `name==version` a line, for constraints.txt.

Only names and versions: where packages come from is the business of each machine.
"""

from __future__ import annotations

from importlib.metadata import distributions

OWN = {"parlour", "pip", "setuptools", "wheel", "uv"}


def main() -> None:
    """Print them in alphabetical order."""
    found = {
        distribution.metadata["Name"].lower().replace("_", "-"): distribution.version
        for distribution in distributions()
    }
    for name in sorted(found.keys() - OWN):
        print(f"{name}=={found[name]}")


if __name__ == "__main__":
    main()
