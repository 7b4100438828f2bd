"""Outlets on real transports: receivers that are slow, connections that break, descriptors that go round."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import ssl
import struct
import subprocess
from pathlib import Path

import pytest

from tests.unit.native.wires import (
    closed,
    connect,
    end_turn,
    framed,
    on_each_loop,
    packet,
    pair,
    protocol_of,
    receive,
    receive_all,
    receive_now,
    receive_some,
)

SMALL = {"unix": 4096, "tcp": 65536}
"""Buffers of a socket that are soon full, and with which TCP does not begin to wait."""


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@on_each_loop
async def test_packets_arrive(form, kind):
    protocol, peer = await connect(form, kind)
    with peer:
        for number in range(10):
            protocol.write(packet(number))
        await end_turn()
        protocol.put(b"put")

        heard = await receive(peer, len(framed(*map(packet, range(10)))) + 3)

        assert heard == framed(*map(packet, range(10))) + b"put"
        assert protocol.turn.scheduled == 1
        protocol.transport.close()
        await protocol.gone


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("seed", range(3))
@on_each_loop
async def test_a_receiver_that_is_slow_gets_every_byte_once_and_in_order(form, kind, seed):
    chance = random.Random(seed)
    largest = chance.choice([2_000, 60_000, 200_000])
    protocol, peer = await connect(form, kind, SMALL[kind])
    protocol.transport.set_write_buffer_limits(50_000)
    sent, heard, size = bytearray(), bytearray(), 0
    with peer:
        for number in range(100_000):
            if size > 3_000_000:
                break
            one = packet(number, chance.randrange(largest))
            size += one.size
            sent += framed(one)
            # What is refused waits until the transport has written, as in a connection's outbox.
            if not protocol.write(one):
                while protocol.paused:
                    heard += await receive_some(peer, chance.randrange(1, 2 * largest))
                protocol.put_packets([one])
            if chance.random() < 0.3:
                await end_turn()
        await end_turn()
        protocol.transport.close()
        heard += await receive_all(peer)

        assert heard == sent
        assert protocol.pauses > 0
        assert await protocol.gone is None


@on_each_loop
async def test_a_receiver_that_has_read_all_is_written_to_as_before(form):
    protocol, peer = await connect(form, "unix", SMALL["unix"])
    large = packet(1, size=1_000_000)
    with peer:
        protocol.write(large)
        await end_turn()
        full = protocol.paused
        heard = await receive(peer, len(framed(large)))
        await protocol.resumed.wait()
        protocol.write(packet(2))

        heard += await receive(peer, len(framed(packet(2))))

        assert full
        assert heard == framed(large, packet(2))
        protocol.transport.close()
        await protocol.gone


@on_each_loop
async def test_the_compiled_form_writes_to_the_socket_itself_before_and_after(compiled):
    protocol, peer = await connect(compiled, "unix", SMALL["unix"])
    large = packet(1, size=1_000_000)
    with peer:
        protocol.put(b"before")
        before = receive_now(peer)
        protocol.put_packets([large])
        await receive(peer, len(framed(large)))
        await protocol.resumed.wait()

        protocol.put(b"after")
        # The loop, which uvloop's transport needs to write, has not run since.
        after = receive_now(peer)

        assert (before, after) == (b"before", b"after")
        protocol.transport.close()
        await protocol.gone


def reset(peer: socket.socket) -> None:
    """Close without a goodbye: the other side's next write finds a broken connection."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


@pytest.mark.parametrize("noted", [1, 2])
@on_each_loop
async def test_a_connection_that_was_reset_raises_nothing_and_is_lost(form, noted):
    protocol, peer = await connect(form)
    for number in range(noted):
        protocol.write(packet(number))
    reset(peer)

    protocol.flush()
    protocol.write(packet(3))
    protocol.flush()
    await protocol.gone
    protocol.write(packet(4))
    protocol.flush()

    assert protocol.fd == -1


@on_each_loop
async def test_a_reset_keeps_nothing_from_the_others_of_the_turn(form):
    broken, peer = await connect(form)
    other, reads = await connect(form)
    other.turn = broken.turn
    with reads:
        broken.write(packet(1))
        other.write(packet(2))
        reset(peer)

        heard = await receive(reads, len(framed(packet(2))))

        assert heard == framed(packet(2))
        await broken.gone
        other.transport.close()
        await other.gone


@on_each_loop
async def test_a_receiver_that_goes_away_while_much_waits_ends_the_connection(form):
    protocol, peer = await connect(form, "tcp", SMALL["tcp"])
    protocol.write(packet(1, size=2_000_000))
    await end_turn()
    waited = protocol.paused
    reset(peer)

    await protocol.gone

    assert waited
    assert protocol.fd == -1


@on_each_loop
async def test_what_is_written_after_the_end_reaches_nobody_who_got_the_descriptor(form):
    stranger, hears = socket.socketpair()
    hears.setblocking(False)
    protocol, peer = await connect(form)
    number = protocol.fd
    with stranger, hears:
        protocol.put(b"before")
        peer.close()
        await protocol.gone
        await closed(number)
        os.dup2(stranger.fileno(), number)
        try:
            protocol.write(packet(1))
            await end_turn()
            protocol.write(packet(2))
            protocol.flush()

            heard = receive_now(hears)
        finally:
            os.close(number)

    assert number >= 0
    assert heard is None


@on_each_loop
async def test_what_follows_an_abort_does_not_fill_the_hole_that_it_left(form):
    # The transport dropped what it held, in the middle of a frame: what is written to the socket before
    # the connection is lost would be read as the rest of that frame.
    protocol, peer = await connect(form, "unix", SMALL["unix"])
    large = packet(1, size=1_000_000)
    with peer:
        protocol.put_packets([large])
        heard = receive_now(peer) or b""
        protocol.transport.abort()
        protocol.paused = False

        protocol.write(packet(2))
        protocol.flush()
        await protocol.gone

        heard += await receive_all(peer)
        assert len(heard) < large.size
        assert not heard.endswith(framed(packet(2)))


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt")]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command = ["openssl", "req", "-x509", *kind, "-subj", "/CN=localhost", *files]
    subprocess.run(command, check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(tmp_path / "crt")
    return server, client


@on_each_loop
async def test_with_tls_all_goes_through_the_transport(form, contexts):
    server, client = contexts
    protocol = protocol_of(form)()
    ours, theirs = pair("tcp")
    accepting = asyncio.get_running_loop().connect_accepted_socket(
        lambda: protocol, ours, ssl=server
    )
    connecting = asyncio.open_connection(sock=theirs, ssl=client, server_hostname="localhost")
    _, (reader, writer) = await asyncio.gather(accepting, connecting)
    protocol.write(packet(1))
    protocol.write(packet(2, size=100_000))

    heard = await reader.readexactly(len(framed(packet(1), packet(2, size=100_000))))

    assert heard == framed(packet(1), packet(2, size=100_000))
    assert protocol.fd == -1
    writer.close()
    await protocol.gone
