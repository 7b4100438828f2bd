"""The keeper's first steps: hear what to be, give up every right that is not needed, then serve."""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys
from typing import Any

from .keeper import Keeper, framed

PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38


def main() -> None:
    """Serve the connection on descriptor 0 until the server hangs up."""
    server = os.dup(0)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    config = json.loads(_read(server, struct.unpack("!I", _read(server, 4))[0]))
    cells = os.path.join(os.path.dirname(__file__), "cells.py")
    with open(cells, encoding="utf-8") as file:
        source = file.read()
    try:
        _confine(config)
    except OSError as error:
        os.write(server, framed({"op": "failed", "reason": str(error)}))
        sys.exit(1)
    Keeper(server, config, source).serve()


def _confine(config: dict[str, Any]) -> None:
    """Become the workspace's user and give up whatever could be gained again."""
    uid = config["uid"]
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # Commands of the same user can then neither trace this process nor open its descriptors.
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    os.umask(0o022)
    os.chdir(config["workspace"])


def _read(fd: int, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = os.read(fd, length - len(data))
        if not more:
            sys.exit(0)
        data += more
    return data
