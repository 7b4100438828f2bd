"""A reader of 1 kB/s beside 500 normal ones: do they notice, does it cost memory, is its text whole?

    python -m benchmarks.slow_reader [--seconds 20] [--readers 500] [--rate 20] [--json FILE]

Measures the normal readers' latency without the slow one and with it, in the same run; then lets it
catch up. Where it was told to come back, it resumes from its position. At the end its text has to be
what was sent, no more and no less."""

from __future__ import annotations

import argparse
import json
import threading
import time
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks.fanout import SUBSCRIBE
from benchmarks.processes import Peer, prepare, run_load, serving, usage
from benchmarks.reader import Reader

STREAM: Final = "thread:bench-r0"
BYTES_PER_SECOND: Final = 1000
STEP_SECONDS: Final = 0.1
CATCH_UP_SECONDS: Final = 60.0
TEXT: Final = "token " * 400
"""Of one event: twenty seconds of these are more than the kernel takes for a socket that is not read."""


class SlowReader:
    """Follows the stream over reconnects; `text` is what it has of the message."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.text = ""
        self.position: dict[str, Any] | None = None
        self.resumed = -1
        self.packets = 0
        self._reader = self._connect()

    def read_for(self, stop: threading.Event) -> None:
        """At 1 kB/s until told to stop."""
        while not stop.is_set():
            began = time.monotonic()
            self._take(int(BYTES_PER_SECOND * STEP_SECONDS), STEP_SECONDS)
            stop.wait(max(0.0, began + STEP_SECONDS - time.monotonic()))

    def catch_up(self, offset: int) -> None:
        """Read without a limit up to an offset."""
        end = time.monotonic() + CATCH_UP_SECONDS
        while self.offset < offset and time.monotonic() < end:
            self._take(1 << 20, 1.0)

    @property
    def offset(self) -> int:
        return 0 if self.position is None else int(self.position["offset"])

    def _take(self, count: int, wait: float) -> None:
        for name, payload in self._reader.read(count, wait):
            if name == "events":
                self._apply(payload)
        if self._reader.over:
            self._reader.close()
            self._reader = self._connect()

    def _apply(self, payload: dict[str, Any]) -> None:
        if payload["offset"] <= self.offset:
            return
        if payload.get("since", payload["offset"] - 1) != self.offset:
            raise SystemExit("the slow reader has a gap")
        self.packets += 1
        self.position = {"epoch": payload["epoch"], "offset": payload["offset"]}
        if payload["data"]["type"] == "message:delta":
            self.text += payload["data"]["data"]["text"]

    def _connect(self) -> Reader:
        reader = Reader(self._peer)
        reader.open()
        asked = {"stream": STREAM} | ({"position": self.position} if self.position else {})
        answer = reader.call("subscribe", asked)
        self.resumed += 1
        if answer["status"] == "snapshot":
            if self.position is not None:
                raise SystemExit("the slow reader came back too late for its position")
            self.position = answer["position"]
        for payload in answer["events"]:
            self._apply(payload)
        return reader


def run(options: argparse.Namespace) -> dict[str, Any]:
    with serving("parlour", TEXT) as peer:
        alone = _load(peer, options)
        before = usage(peer.pid).rss_kib
        slow, stop = SlowReader(peer), threading.Event()
        begun = slow.offset
        reading = threading.Thread(target=slow.read_for, args=(stop,))
        reading.start()
        beside = _load(peer, options)
        grown = usage(peer.pid).rss_kib - before
        stop.set()
        reading.join()
        sent = _head(peer)["offset"] - begun
        slow.catch_up(begun + sent)
    return {
        "readers": options.readers,
        "events_per_second": options.rate,
        "p50_ms_without": alone["p50_us"] / 1000,
        "p50_ms_with": beside["p50_us"] / 1000,
        "p99_ms_without": alone["p99_us"] / 1000,
        "p99_ms_with": beside["p99_us"] / 1000,
        "memory_grown_kib": grown,
        "text_is_whole": slow.text == TEXT * sent,
        "events_sent": sent,
        "packets_read": slow.packets,
        "came_back": slow.resumed,
    }


def _load(peer: Peer, options: argparse.Namespace) -> dict[str, float]:
    publish = f'42["publish",{{"stream":"{STREAM}","n":1}}]'
    return run_load(
        "latency", peer, clients=options.readers, join=SUBSCRIBE, publish=publish,
        rate=options.rate, seconds=options.seconds,
    )  # fmt: skip


def _head(peer: Peer) -> dict[str, Any]:
    reader = Reader(peer)
    reader.open()
    answer = reader.call("subscribe", {"stream": STREAM})
    reader.close()
    position: dict[str, Any] = answer["position"]
    return position


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--readers", type=int, default=500)
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    prepare(["parlour"])
    with Console(stderr=True).status("one slow reader beside many"):
        result = run(options)
    Console().print_json(data=result)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    if not result["text_is_whole"]:
        raise SystemExit("the slow reader's text is not what was sent")


if __name__ == "__main__":
    main()
