"""Settings: what a node is told from outside. The only package that reads the environment.

`Settings(...)` is pure (nothing but its arguments); `load_settings(**overrides)` reads the sources.
"""

from parlour.config.settings import Settings
from parlour.config.sources import load_settings

__all__ = ["Settings", "load_settings"]
