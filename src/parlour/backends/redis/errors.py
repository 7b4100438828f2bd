"""What Redis refuses, in Parlour's words."""

from __future__ import annotations

import hiredis

from parlour.errors import ParlourError, Unavailable

_REASONS = {
    "OOM": "Redis is out of memory",
    "READONLY": "this Redis server has become a replica",
    "LOADING": "Redis is loading its data",
    "MASTERDOWN": "this Redis replica has lost its master",
    "MISCONF": "Redis cannot write to its disk",
    "NOAUTH": "Redis asks for a password",
    "WRONGPASS": "Redis does not accept the password",
    "NOPERM": "Redis does not permit this command to this user",
    "BUSY": "Redis is busy with a script",
    "TRYAGAIN": "the Redis Cluster is moving this slot",
    "CLUSTERDOWN": "the Redis Cluster is down",
}


def translate(error: hiredis.ReplyError) -> ParlourError:
    """The Parlour error for an error reply."""
    text = str(error)
    return Unavailable(_REASONS.get(text.partition(" ")[0], f"Redis refused a command: {text}"))


def is_demoted(error: hiredis.ReplyError) -> bool:
    """Whether the server is no longer the master, so that the master has to be found again."""
    return str(error).startswith(("READONLY", "MASTERDOWN"))
