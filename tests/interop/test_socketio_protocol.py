"""What the public Socket.IO 5 suite asks of a server, in our own words, and what it leaves out."""

from __future__ import annotations

import json

import pytest

from tests.interop.test_engineio_protocol import closed


async def receive(socket) -> str | bytes:
    """The next message that is no ping; pings are answered."""
    while (message := await socket.recv()) == "2":
        await socket.send("3")
    return message


async def join(raw, connect: str = "40"):
    socket = await raw.websocket()
    await receive(socket)
    await socket.send(connect)
    answer, greeting = await receive(socket), await receive(socket)
    return socket, answer, greeting


@pytest.mark.parametrize(
    ("connect", "prefix", "greeting"),
    [
        ("40", "40", '42["auth",{}]'),
        ('40{"token":"123"}', "40", '42["auth",{"token":"123"}]'),
        ("40/custom,", "40/custom,", '42/custom,["auth",{}]'),
        ('40/custom,{"token":"abc"}', "40/custom,", '42/custom,["auth",{"token":"abc"}]'),
    ],
)
async def test_a_namespace_is_joined_with_and_without_auth(sockets, connect, prefix, greeting):
    _, answer, heard = await join(sockets, connect)

    assert answer.startswith(prefix)
    assert set(json.loads(answer.removeprefix(prefix))) == {"sid"}
    assert heard == greeting


@pytest.mark.parametrize("connect", ["40/random", "40/random,", '40/random,{"token":"x"}'])
async def test_an_unknown_namespace_is_refused(sockets, connect):
    socket = await sockets.websocket()
    await receive(socket)

    await socket.send(connect)

    assert await receive(socket) == '44/random,{"message":"Invalid namespace"}'


@pytest.mark.parametrize("message", ["4abc", '42["early"]', "41", "43", "40[]", "400", b"\x00"])
async def test_a_connection_that_does_not_begin_with_connect_is_closed(sockets, message):
    socket = await sockets.websocket()
    await receive(socket)

    await socket.send(message)

    await closed(socket)


async def test_leaving_the_main_namespace_leaves_the_connection_open(beating_sockets):
    socket, *_ = await join(beating_sockets)

    await socket.send("41")

    assert await socket.recv() == "2"


async def test_leaving_one_namespace_keeps_the_other(sockets):
    socket, *_ = await join(sockets)
    await socket.send("40/custom")
    await receive(socket)
    await receive(socket)

    await socket.send("41/custom")
    await socket.send('42["message","to main"]')

    assert await receive(socket) == '42["message-back","to main"]'


async def test_a_namespace_can_be_joined_again(sockets):
    socket, *_ = await join(sockets)
    await socket.send("41")
    await socket.send("40")

    assert (await receive(socket)).startswith("40")


async def test_an_event_and_its_answer(sockets):
    socket, *_ = await join(sockets)

    await socket.send('42["message",1,"2",{"3":[true]}]')

    assert await receive(socket) == '42["message-back",1,"2",{"3":[true]}]'


async def test_an_event_with_attachments(sockets):
    socket, *_ = await join(sockets)
    places = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'

    for message in (f'452-["message",{places}]', b"\x01\x02\x03", b"\x04\x05\x06"):
        await socket.send(message)

    heard = [await receive(socket) for _ in range(3)]
    assert heard == [f'452-["message-back",{places}]', b"\x01\x02\x03", b"\x04\x05\x06"]


async def test_an_acknowledgement(sockets):
    socket, *_ = await join(sockets)

    await socket.send('42456["message-with-ack",1,"2",{"3":[false]}]')

    assert await receive(socket) == '43456[1,"2",{"3":[false]}]'


async def test_an_acknowledgement_with_attachments(sockets):
    socket, *_ = await join(sockets)
    places = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'

    for message in (f'452-789["message-with-ack",{places}]', b"\x01\x02\x03", b"\x04\x05\x06"):
        await socket.send(message)

    heard = [await receive(socket) for _ in range(3)]
    assert heard == [f"462-789[{places}]", b"\x01\x02\x03", b"\x04\x05\x06"]


@pytest.mark.parametrize(
    "message",
    ["4abc", "42{}", '42abc["message-with-ack",1]', "42", '452-["a"', "49[]", '42["a",NaN]',
     '42["connect"]', "40", b"unannounced", '42/other,["a"]', '451-["a",{"_placeholder":true}]x'],
)  # fmt: skip
async def test_a_broken_packet_closes_the_connection_and_the_process_goes_on(sockets, message):
    socket, *_ = await join(sockets)

    await socket.send(message)

    await closed(socket)
    await join(sockets)


async def test_text_in_place_of_an_attachment_closes_the_connection(sockets):
    socket, *_ = await join(sockets)
    await socket.send('451-["message",{"_placeholder":true,"num":0}]')

    await socket.send('42["message"]')

    await closed(socket)


async def test_packets_survive_polling(sockets):
    sid = await sockets.open_polling()
    await sockets.post(sid, '40{"token":"t"}')
    greeted: list[str] = []
    while len(greeted) < 2:
        # In two answers, or in one where the machine is slow.
        greeted += (await sockets.poll(sid)).text.split("\x1e")

    place = '{"_placeholder":true,"num":0}'
    await sockets.post(sid, f'451-["message",{place}]\x1ebAQID')

    heard = (await sockets.poll(sid)).text
    assert greeted[0].startswith("40")
    assert greeted[1:] == ['42["auth",{"token":"t"}]']
    assert heard == f'451-["message-back",{place}]\x1ebAQID'
