"""Logs without secrets, and metrics of one node."""

from __future__ import annotations

import json
from contextvars import copy_context

import pytest
import structlog

from parlour.telemetry import (
    MASK,
    Metrics,
    configure_logging,
    get_logger,
    mask_secrets,
    mask_text,
    speaker,
)

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"got {JWT} from there", f"got {MASK} from there"),
        ("Authorization: Bearer abcdefghijkl", f"Authorization: Bearer {MASK}"),
        ("redis://me:hunter2@host:6379/0", f"redis://me:{MASK}@host:6379/0"),
        ("https://host/path?x=1", "https://host/path?x=1"),
        ("12:30 o'clock", "12:30 o'clock"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, masked: str) -> None:
    assert mask_text(text) == masked


def test_values_are_masked_by_their_name_at_every_depth() -> None:
    event = {
        "event": "connected",
        "password": "hunter2",
        "user": "ann",
        "headers": {"Cookie": "access_token=hunter2", "accept": "*/*"},
        "user_env": {"OPENAI_API_KEY": "hunter2"},
        "token_ttl_seconds": 60,
    }

    masked = mask_secrets(None, "info", event)

    assert "hunter2" not in str(masked)
    assert masked["user"] == "ann"
    assert masked["headers"]["accept"] == "*/*"
    assert masked["token_ttl_seconds"] == 60


def test_two_nodes_in_one_process_have_their_own_numbers() -> None:
    one, other = Metrics(), Metrics()

    one.commands.of("message:send").ended("forbidden")
    one.observe("links", "Open links", lambda: 3)

    assert b'parlour_commands_total{event="message:send",outcome="forbidden"} 1.0' in one.render()
    assert b"parlour_links 3.0" in one.render()
    assert b"forbidden" not in other.render()


class Ann:
    asked = 0

    def log_fields(self) -> dict[str, str]:
        self.asked += 1
        return {"user": "ann", "sid": "s1"}


def test_a_line_names_who_speaks_and_nobody_is_asked_without_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("json", "info")
    log, ann, context = get_logger("test"), Ann(), copy_context()
    context.run(speaker.set, ann)

    context.run(log.debug, "not written")
    context.run(log.info, "written", user="somebody else")
    log.info("outside")

    first, second = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (first["user"], first["sid"], ann.asked) == ("somebody else", "s1", 1)
    assert "sid" not in second


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_does_not_show_the_values_of_variables(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # Both renderers of the library print the locals of every frame unless told not to; a refused
    # connection's log line held the client's token.
    def fail(password: str) -> None:
        raise ValueError("boom")

    configure_logging(log_format, "error")
    try:
        fail("".join(["hun", "ter2"]))
    except ValueError:
        structlog.get_logger("test").exception("failed")

    written = capsys.readouterr().err
    assert "boom" in written
    assert "hunter2" not in written
