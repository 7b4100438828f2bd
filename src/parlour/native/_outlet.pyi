from collections.abc import Callable
from typing import Any

from parlour.native.outlet import Outlet, Port, flush_each, tell
from parlour.wire.packets import Encoded

__all__ = ["Outlet", "Port", "flush_each", "frame_with", "tell"]

def frame_with(plain: Callable[[Encoded], bytes], deflated: Callable[[Encoded], bytes]) -> Any: ...
