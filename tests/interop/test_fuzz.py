"""A short run of the frame fuzzer; `python -m tests.interop.fuzz` is the long one."""

import logging

from tests.interop.fuzz import fuzz, is_legal


async def test_mutated_frames_end_in_typed_closes_only(caplog):
    caplog.set_level(logging.ERROR, logger="parlour.transports.socketio")

    codes = await fuzz(5000, seed=1)

    assert codes.total() > 100
    assert all(map(is_legal, codes))
