"""Calls from the server to clients: a question whose answer is an acknowledgement."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from parlour.errors import CallGone, CallRefused, CallTimeout
from parlour.server.connections import Connection


class Calls:
    """Calls clients that are connected to this node; `routing` finds those on others."""

    async def first_answer(
        self, members: Sequence[Connection], event: str, payload: Any, timeout: float
    ) -> Any:
        """Emit to all of `members`; the first argument of the first acknowledgement that is no
        refusal (one tab may offer what another does not know).

        `timeout` in seconds. Raises `CallGone` where all left, `CallTimeout`, and `CallRefused`
        where the client answered `{ok: false}`.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        left = len(members)
        failure: CallGone | CallRefused = CallGone()

        def done(args: Sequence[Any] | None) -> None:
            nonlocal left, failure
            left -= 1
            if answer.done():
                return
            result = args[0] if args else None
            if isinstance(result, dict) and result.get("ok") is False:
                failure = CallRefused(str((result.get("error") or {}).get("message", "")))
            elif args is not None:
                answer.set_result(result)
            if left == 0 and not answer.done():
                answer.set_exception(failure)

        forget = [member.link.call(event, [payload], done) for member in members]
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            raise CallTimeout() from None
        finally:
            for cancel in forget:
                cancel()
