"""The poll that waits, while its client hangs up."""

from __future__ import annotations

import asyncio

from parlour.transports.socketio.polling import PollingCarrier


async def test_a_poll_that_is_hung_up_counts_as_waiting_until_it_is_reported() -> None:
    """A second poll in between took its place, and waited for a connection that was then gone."""
    carrier = PollingCarrier()

    async def hang_up() -> dict[str, str]:
        return {"type": "http.disconnect"}

    poll = asyncio.ensure_future(carrier.wait(hang_up, None))
    await asyncio.sleep(0)
    waiting: list[bool] = []
    while not poll.done():
        waiting.append(carrier.waiting)
        await asyncio.sleep(0)

    assert all(waiting)
    assert not carrier.waiting
    assert poll.result() is False
