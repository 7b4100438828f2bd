"""Masking without a stream."""

from __future__ import annotations

from parlour.agents.secrets import MASK, MaskedText, Secrets


def test_a_secret_that_comes_in_pieces_is_masked() -> None:
    text = "before hunter2 after"
    for size in range(1, 12):
        masked = MaskedText(Secrets(["hunter2"]))
        pieces = [text[i : i + size] for i in range(0, len(text), size)]

        shown = "".join(masked.feed(piece) for piece in pieces) + masked.rest()

        assert shown == f"before {MASK} after"


def test_short_values_are_no_secrets() -> None:
    assert Secrets(["a", "", "ab"]).mask({"x": "a ab"}) == {"x": "a ab"}
