"""The output of one command, as text of bounded size."""

from __future__ import annotations

import codecs
from collections.abc import Callable

LEFT_OUT = "\n[… {count} bytes of output are left out …]\n"
CONTINUATION = bytes(range(0x80, 0xC0))
"""Bytes inside a character of UTF-8."""


class Capture:
    """The beginning goes out at once; of what is past three quarters of the limit the end is kept."""

    def __init__(self, say: Callable[[str], None], limit: int) -> None:
        self._say = say
        self._head_left = limit * 3 // 4
        self._tail_limit = max(1, limit - self._head_left)
        self._tail = b""
        self._left_out = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, data: bytes) -> None:
        head, rest = data[: self._head_left], data[self._head_left :]
        if head:
            self._head_left -= len(head)
            self._tell(self._decoder.decode(head))
        if rest:
            kept = self._tail + rest
            self._left_out += max(0, len(kept) - self._tail_limit)
            self._tail = kept[-self._tail_limit :]

    def finish(self) -> bool:
        """Tell the rest; returns whether something was left out."""
        if self._left_out:
            self._tell(
                self._decoder.decode(b"", True) + LEFT_OUT.replace("{count}", str(self._left_out))
            )
            self._tail = self._tail.lstrip(CONTINUATION)
        self._tell(self._decoder.decode(self._tail, True) + self._take_held())
        return self._left_out > 0

    def _tell(self, text: str) -> None:
        """No zero bytes (databases refuse them in text), no carriage return before a line's end."""
        text = self._take_held() + text
        if text.endswith("\r"):
            text, self._held = text[:-1], "\r"
        if text:
            self._say(text.replace("\r\n", "\n").replace("\0", "\ufffd"))

    def _take_held(self) -> str:
        held, self._held = self._held, ""
        return held
