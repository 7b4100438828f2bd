"""What `socket_logging` and `engineio_logging` write: names and sizes, never content."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from tests.apps import ScriptedApp
from tests.serving import Client, serve

SECRET = "say nothing of this"


async def talk(folder: Path, **settings: bool) -> list[dict[str, object]]:
    """The log of one message over a socket."""
    with capture_logs() as lines:
        async with (
            serve(ScriptedApp(), folder, **settings) as server,
            Client.open(server, "Ann") as client,
        ):
            await client.call(
                "message:send", thread_id="thread-0001", content=SECRET, command_id="c1"
            )
    return [dict(line) for line in lines]


async def test_socket_logging_names_connections_and_events(tmp_path: Path) -> None:
    lines = await talk(tmp_path, socket_logging=True)

    told = [line["event"] for line in lines if str(line["event"]).startswith("socket ")]
    assert told == ["socket connected", "socket event", "socket disconnected"]
    assert any(line.get("name") == "message:send" for line in lines)
    assert SECRET not in str(lines)


async def test_engineio_logging_names_packets_in_both_directions(tmp_path: Path) -> None:
    lines = await talk(tmp_path, engineio_logging=True)

    told = {line["event"] for line in lines}
    assert {"packet in", "packet out", "connection over"} <= told
    assert SECRET not in str(lines)


async def test_neither_is_on_by_default(tmp_path: Path) -> None:
    lines = await talk(tmp_path)

    told = {str(line["event"]) for line in lines}
    assert not any(line.startswith(("socket ", "packet ")) for line in told)
