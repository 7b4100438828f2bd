"""What the public Engine.IO 4 suite asks of a server, in our own words, and what it leaves out.

The unmodified suite runs too: see the page on the protocol in the docs.
"""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

OPENING_KEYS = {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}


async def closed(socket) -> ConnectionClosed:
    """Read until the server closes."""
    async with asyncio.timeout(5):
        while True:
            try:
                await socket.recv()
            except ConnectionClosed as end:
                return end


# handshake


async def test_polling_opens_with_the_documented_handshake(beating_engine):
    response = await beating_engine.get()

    assert response.status_code == 200
    assert response.text[0] == "0"
    opening = json.loads(response.text[1:])
    assert set(opening) == OPENING_KEYS
    assert isinstance(opening["sid"], str)
    assert opening["upgrades"] == ["websocket"]
    assert (opening["pingInterval"], opening["pingTimeout"]) == (300, 2000)
    assert opening["maxPayload"] == 1_000_000


async def test_a_websocket_opens_with_the_documented_handshake(engine):
    text = await (await engine.websocket()).recv()

    opening = json.loads(text[1:])
    assert text[0] == "0"
    assert set(opening) == OPENING_KEYS
    assert opening["upgrades"] == []


@pytest.mark.parametrize(
    "query",
    ["transport=polling", "EIO=abc&transport=polling", "EIO=3&transport=polling", "EIO=4",
     "EIO=4&transport=abc", "EIO=4&transport=polling&sid=unknown"],
)  # fmt: skip
async def test_a_polling_request_with_a_wrong_query_is_refused(engine, query):
    response = await engine.get(query)

    assert response.status_code == 400
    assert set(response.json()) == {"code", "message"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_only_get_opens_a_connection(engine, method):
    response = await engine.request(method, "EIO=4&transport=polling")

    assert response.status_code == 400


@pytest.mark.parametrize(
    "query",
    ["transport=websocket", "EIO=abc&transport=websocket", "EIO=4", "EIO=4&transport=abc"],
)
async def test_a_websocket_with_a_wrong_query_is_refused(engine, query):
    with pytest.raises(InvalidStatus):
        await engine.websocket(query)


async def test_the_slash_at_the_end_of_the_path_is_optional(engine):
    response = await engine.http.get("/engine.io?EIO=4&transport=polling")

    assert response.status_code == 200


# messages


@pytest.mark.parametrize("body", ["4hello", "4a\x1e4b\x1e4c", "4hello\x1ebAQIDBA==", "4€ü"])
async def test_polling_carries_text_and_binary_in_order(engine, body):
    sid = await engine.open_polling()

    posted = await engine.post(sid, body.encode())
    polled = await engine.poll(sid)

    assert (posted.status_code, posted.text) == (200, "ok")
    assert (polled.status_code, polled.text) == (200, body)


@pytest.mark.parametrize("message", ["4hello", b"\x01\x02\x03\x04", "4" + "x" * 70_000])
async def test_a_websocket_carries_text_and_binary(engine, message):
    socket = await engine.websocket()
    await socket.recv()

    await socket.send(message)

    assert await socket.recv() == message


@pytest.mark.parametrize("body", ["abc", "", "\x1e", "4a\x1eq", "b!"])
async def test_a_broken_body_ends_the_connection(engine, body):
    sid = await engine.open_polling()

    posted = await engine.post(sid, body)

    assert posted.status_code == 400
    assert (await engine.poll(sid)).status_code == 400


@pytest.mark.parametrize("message", ["abc", "", "0", "2", "5"])
async def test_a_broken_message_ends_the_websocket(engine, message):
    socket = await engine.websocket()

    await socket.send(message)

    await closed(socket)


async def test_a_second_poll_ends_the_connection(engine):
    sid = await engine.open_polling()
    first = await engine.start_poll(sid)

    second = await engine.poll(sid)

    assert second.status_code == 400
    assert await first.answer() == "1"
    assert (await engine.poll(sid)).status_code == 400


async def test_a_poll_that_is_hung_up_ends_the_connection(engine):
    sid = await engine.open_polling()
    poll = await engine.start_poll(sid)

    await poll.hang_up()

    assert (await engine.poll(sid)).status_code == 400


async def test_2_mb_in_a_body_are_refused_and_the_process_goes_on(engine):
    sid = await engine.open_polling()

    posted = await engine.post(sid, "4" + "x" * 2_000_000)

    assert posted.status_code == 413
    assert (await engine.poll(sid)).status_code == 400
    assert await engine.open_polling()


async def test_2_mb_in_a_message_are_refused_and_the_process_goes_on(engine):
    socket = await engine.websocket()
    await socket.recv()

    await socket.send("4" + "x" * 2_000_000)

    assert (await closed(socket)).rcvd.code == 1009
    assert await engine.open_polling()


# heartbeat


async def test_polling_is_pinged_and_lives_while_it_answers(beating_engine):
    sid = await beating_engine.open_polling()

    for _ in range(3):
        assert (await beating_engine.poll(sid)).text == "2"
        assert (await beating_engine.post(sid, "3")).status_code == 200


async def test_a_websocket_is_pinged_and_lives_while_it_answers(beating_engine):
    socket = await beating_engine.websocket()
    await socket.recv()

    for _ in range(3):
        assert await socket.recv() == "2"
        await socket.send("3")


async def test_polling_without_a_pong_is_over_after_interval_and_timeout(beating_engine):
    sid = await beating_engine.open_polling()

    assert (await beating_engine.poll(sid)).text == "2"
    assert (await beating_engine.poll(sid)).text == "6"  # the connection ended under this poll
    assert (await beating_engine.poll(sid)).status_code == 400


async def test_a_websocket_without_a_pong_is_closed(beating_engine):
    await closed(await beating_engine.websocket())


# close


async def test_a_close_packet_ends_polling_and_releases_the_poll(engine):
    sid = await engine.open_polling()
    poll = await engine.start_poll(sid)

    await engine.post(sid, "1")

    assert await poll.answer() == "6"
    assert (await engine.poll(sid)).status_code == 400


async def test_a_close_packet_ends_a_websocket(engine):
    socket = await engine.websocket()

    await socket.send("1")

    await closed(socket)


# upgrade


async def test_polling_becomes_a_websocket(engine):
    sid = await engine.open_polling()
    socket = await engine.upgrade(sid)

    assert (await engine.poll(sid)).text == "6"
    await socket.send("5")
    await socket.send("4hello")
    assert await socket.recv() == "4hello"


async def test_what_waited_for_the_poll_comes_over_the_websocket(engine):
    sid = await engine.open_polling()
    socket = await engine.upgrade(sid)
    await engine.post(sid, "4first")

    await socket.send("5")
    await socket.send("4second")

    assert [await socket.recv(), await socket.recv()] == ["4first", "4second"]


async def test_polling_is_over_after_the_upgrade_and_the_websocket_goes_on(engine):
    sid = await engine.open_polling()
    socket = await engine.upgrade(sid)
    await socket.send("5")
    await socket.send("4a")
    await socket.recv()

    assert (await engine.poll(sid)).status_code == 400
    assert (await engine.post(sid, "4x")).status_code == 400
    await socket.send("4hello")
    assert await socket.recv() == "4hello"


async def test_a_second_websocket_for_the_same_connection_is_closed(engine):
    sid = await engine.open_polling()
    socket = await engine.upgrade(sid)
    await socket.send("5")

    second = await engine.websocket(f"EIO=4&transport=websocket&sid={sid}")

    await closed(second)
    await socket.send("4hello")
    assert await socket.recv() == "4hello"


async def test_a_candidate_that_breaks_the_order_is_closed_and_polling_goes_on(engine):
    sid = await engine.open_polling()
    candidate = await engine.websocket(f"EIO=4&transport=websocket&sid={sid}")

    await candidate.send("4too early")

    await closed(candidate)
    await engine.post(sid, "4hello")
    assert (await engine.poll(sid)).text == "4hello"


async def test_a_candidate_that_goes_away_leaves_polling_as_it_was(engine):
    sid = await engine.open_polling()
    candidate = await engine.upgrade(sid)
    await candidate.close()

    await engine.post(sid, "4hello")

    assert (await engine.poll(sid)).text.startswith("4hello")


# pages of other origins


async def test_an_allowed_origin_may_read_the_answer(engine):
    response = await engine.get(headers={"origin": "https://page.example"})

    assert response.headers["access-control-allow-origin"] == "https://page.example"
    assert response.headers["access-control-allow-credentials"] == "true"


async def test_a_preflight_request_is_answered(engine):
    response = await engine.request("OPTIONS", "EIO=4&transport=polling")

    assert response.status_code == 204
