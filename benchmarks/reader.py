"""A client that reads as slowly as it is told to: frames by hand, a small receive buffer."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any, Final

from benchmarks.processes import BenchmarkError, Peer

RECEIVE_BUFFER: Final = 4096
OPEN_SECONDS: Final = 60.0


class Reader:
    """One connection; `read` takes some bytes and gives the events that they complete."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._socket.settimeout(OPEN_SECONDS)
        self._socket.connect(("127.0.0.1", peer.port))
        self._data = b""
        self.connected = False
        self.over = False
        self.answers: dict[int, Any] = {}
        self._numbers = iter(range(1 << 30))

    def open(self) -> None:
        """Upgrade and connect with the peer's token."""
        self._socket.sendall(
            b"GET %s?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Version: 13\r\n\r\n" % self._peer.path.encode()
        )
        while b"\r\n\r\n" not in self._data:
            self._data += self._socket.recv(1)
        self._data = b""
        self._say("40" + json.dumps({"token": self._peer.token}))
        end = time.monotonic() + OPEN_SECONDS
        # What is sent before the answer is dropped.
        while not self.connected and time.monotonic() < end:
            list(self.read(4096))

    def request(self, event: str, payload: dict[str, Any]) -> int:
        """Send a command; its answer will be in `answers` under the number given back."""
        number = next(self._numbers)
        self._say(f"42{number}" + json.dumps([event, payload]))
        return number

    def call(self, event: str, payload: dict[str, Any]) -> Any:
        """The same, and wait for the answer."""
        number = self.request(event, payload)
        end = time.monotonic() + OPEN_SECONDS
        while number not in self.answers and not self.over and time.monotonic() < end:
            list(self.read(65536))
        if number not in self.answers:
            raise BenchmarkError(f"no answer to {event} in {OPEN_SECONDS:.0f} seconds")
        return self.answers.pop(number)

    def read(self, count: int, wait: float = OPEN_SECONDS) -> Iterator[tuple[str, Any]]:
        """The events in the next `count` bytes at most, after `wait` seconds at most."""
        self._socket.settimeout(wait)
        try:
            got = self._socket.recv(count)
        except TimeoutError:
            return
        except OSError:
            got = b""
        self.over = self.over or not got
        self._data += got
        for text in self._texts():
            yield from self._understand(text)

    def close(self) -> None:
        self._socket.close()

    def _understand(self, text: str) -> Iterator[tuple[str, Any]]:
        if text == "2":
            self._say("3")
        elif text.startswith("40"):
            self.connected = True
        elif text.startswith("42"):
            name, *args = json.loads(text[2:])
            yield name, args[0] if args else None
        elif text.startswith("43"):
            start = text.index("[")
            self.answers[int(text[2:start])] = json.loads(text[start:])[0]

    def _texts(self) -> Iterator[str]:
        while len(self._data) >= 2:
            length, head = self._data[1] & 0x7F, 2
            if length >= 126:
                size = 2 if length == 126 else 8
                head = 2 + size
                if len(self._data) < head:
                    return
                length = int.from_bytes(self._data[2:head], "big")
            if len(self._data) < head + length:
                return
            opcode, payload = self._data[0] & 15, self._data[head : head + length]
            self._data = self._data[head + length :]
            if opcode == 8:
                self.over = True
            elif opcode == 1:
                yield payload.decode()

    def _say(self, text: str) -> None:
        payload = text.encode()
        length = len(payload)
        size = bytes([0x80 | length]) if length < 126 else b"\xfe" + length.to_bytes(2, "big")
        # A mask of zeros is legal, and saves the work.
        try:
            self._socket.sendall(b"\x81" + size + bytes(4) + payload)
        except OSError:
            self.over = True
