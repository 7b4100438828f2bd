"""The innermost loop of a delivery, compiled where there was a compiler when the package was built.

Both forms pass the same tests (`tests/unit/native`). Why there are two:
docs/decisions/compiled-outlet.md."""

from __future__ import annotations

from parlour.native import outlet
from parlour.wire.websocket import frame_deflated, frame_encoded

try:
    from parlour.native import _outlet
except ImportError:
    COMPILED = False
    from parlour.native.outlet import Outlet, Port, flush_each, tell
else:
    COMPILED = True
    from parlour.native._outlet import Outlet, Port, flush_each, tell

    _outlet.frame_with(frame_encoded, frame_deflated)

MAX_PENDING = outlet.MAX_PENDING

__all__ = ["COMPILED", "MAX_PENDING", "Outlet", "Port", "flush_each", "tell"]
