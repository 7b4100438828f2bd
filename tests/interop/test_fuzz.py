"""A short run of the frame fuzzer against a whole server; `python -m tests.interop.fuzz` is the long one."""

import logging

from parlour.server.gateway import GONE
from tests.interop.fuzz import AT_ONCE, attack, is_legal, open_files, server, settled


async def test_mutated_frames_end_in_typed_closes_only_and_leave_nothing_open(tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    async with server(tmp_path) as (served, port, token):
        await attack(port, token, 100, seed=0)
        await settled(served)
        files = open_files(str(tmp_path))

        findings = await attack(port, token, 3000, seed=1)

        await settled(served)
        assert findings.wrong == []
        assert findings.codes.total() > 100
        assert all(map(is_legal, findings.codes))
        assert len(open_files(str(tmp_path))) <= len(files)
        # What waits for the end of a token's hours went with its connection: it was 200 bytes for each.
        assert findings.connections > GONE + AT_ONCE
        assert len(served.node.gateway._expiries) <= GONE + AT_ONCE
