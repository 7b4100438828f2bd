"""What a person chose, on all devices, and on nobody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.rest import code_of, rest
from tests.serving import Client, serve


async def heard(client: Client) -> dict[str, Any]:
    """The first change of settings that this connection hears of."""
    event = await client.until(
        lambda name, data: name == "events" and data["data"]["type"] == "settings:changed", 30
    )
    told: dict[str, Any] = event["data"]["data"]
    return told


async def test_a_change_reaches_the_other_devices_of_the_person_and_nobody_else(
    tmp_path: Path,
) -> None:
    async with (
        serve(None, tmp_path) as server,
        rest(server, "ada") as http,
        rest(server, "bob") as other,
        Client.open(server, "ada") as phone,
        Client.open(server, "bob") as stranger,
    ):
        for client, name in ((phone, "ada"), (stranger, "bob")):
            record = await server.node.users.user_by_login(name)
            assert record is not None
            await client.call("subscribe", stream=f"user:{record.id}")

        answer = await http.patch("/api/users/me/settings", json={"settings": {"theme": "dark"}})
        told = await heard(phone)
        await other.patch("/api/users/me/settings", json={"settings": {"theme": "light"}})
        told_stranger = await heard(stranger)

        assert answer.json() == {"settings": {"theme": "dark"}, "version": 1}
        assert told == answer.json()
        # Streams are in order: had the first change come here, it would have come first.
        assert told_stranger["settings"] == {"theme": "light"}
        read = await http.get("/api/users/me/settings")
        assert read.json()["settings"] == {"theme": "dark"}


async def test_put_replaces_patch_merges_and_null_removes(tmp_path: Path) -> None:
    async with serve(None, tmp_path) as server, rest(server, "ada") as http:
        path = "/api/users/me/settings"
        await http.put(path, json={"settings": {"a": 1, "b": [2]}})
        await http.patch(path, json={"settings": {"a": None, "c": "ü"}})
        merged = (await http.get(path)).json()

        await http.put(path, json={"settings": {"d": True}})

        assert merged == {"settings": {"b": [2], "c": "ü"}, "version": 2}
        assert (await http.get(path)).json() == {"settings": {"d": True}, "version": 3}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"settings": [1]}, (422, "invalid_payload")),
        ({"settings": {"": 1}}, (422, "invalid_payload")),
        ({"settings": {"x": "y" * 70_000}}, (413, "too_large")),
    ],
)
async def test_bad_settings_are_refused_and_change_nothing(
    tmp_path: Path, body: Any, expected: tuple[int, str]
) -> None:
    async with serve(None, tmp_path) as server, rest(server, "ada") as http:
        refused = await http.patch("/api/users/me/settings", json=body)

        assert code_of(refused) == expected
        assert (await http.get("/api/users/me/settings")).json()["version"] == 0


async def test_nobody_else_may_ask(tmp_path: Path) -> None:
    async with serve(None, tmp_path) as server, rest(server) as anybody:
        refused = await anybody.get("/api/users/me/settings")

        assert code_of(refused) == (401, "unauthenticated")
