"""Signing in over REST: tokens, the cookie, cross-site requests, administration."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from parlour.transports.asgi import serving
from tests.apps import ScriptedApp
from tests.rest import code_of, rest
from tests.serving import Client, Served, serve, settings

PASSWORD = "correct horse battery"
"""The one that `Served.user` gives."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(ScriptedApp(), tmp_path, sign_up=True, sign_in_attempts=3) as served:
        yield served


@pytest.fixture
async def anybody(server: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with rest(server) as client:
        yield client


async def sign_in(client: httpx.AsyncClient, name: str, password: str = PASSWORD) -> httpx.Response:
    return await client.post("/api/auth/sign-in", json={"login": name, "password": password})


async def test_the_page_learns_what_it_may_offer(anybody: httpx.AsyncClient) -> None:
    answer = await anybody.get("/api/auth/config")

    assert answer.json() == {
        "sign_up": True,
        "anonymous": False,
        "password": True,
        "header": False,
        "app": {"name": "Scripted", "description": ""},
    }


async def test_signing_in_gives_a_token_and_a_cookie_out_of_reach_of_scripts(
    server: Served, anybody: httpx.AsyncClient
) -> None:
    await server.user("Ann")

    answer = await sign_in(anybody, "Ann")

    assert answer.status_code == 200
    assert answer.json().keys() == {"token", "expires_at", "user"}
    assert answer.json()["user"]["name"] == "Ann"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("access_token=")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    me = await anybody.get("/api/auth/me")
    assert me.json() == answer.json()["user"]


async def test_the_cookie_of_a_secure_page_is_secure(tmp_path: Path) -> None:
    # uvicorn's proxy middleware is not in the way here: the scheme is given as it would set it.
    async with serving(settings(tmp_path), ScriptedApp()) as served:
        await served.node.accounts.add_user("Ann", PASSWORD)
        transport = httpx.ASGITransport(served.asgi)
        async with httpx.AsyncClient(transport=transport, base_url="https://page") as client:
            answer = await sign_in(client, "Ann")

    assert "Secure" in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"]


async def test_wrong_password_unknown_login_and_too_many_attempts(
    server: Served, anybody: httpx.AsyncClient
) -> None:
    await server.user("Ann")

    wrong = [await sign_in(anybody, "Ann", "wrong") for _ in range(3)]
    unknown = await sign_in(anybody, "nobody", "wrong")
    limited = await sign_in(anybody, "Ann")

    assert [code_of(answer) for answer in wrong] == [(401, "unauthenticated")] * 3
    assert unknown.json()["detail"] == wrong[0].json()["detail"]
    assert code_of(limited) == (429, "rate_limited")
    assert limited.json()["retryable"]
    assert int(limited.headers["retry-after"]) > 0


async def test_signing_up_signs_in(anybody: httpx.AsyncClient) -> None:
    body = {"name": "Bea", "password": "long enough", "email": "bea@example.org"}

    answer = await anybody.post("/api/auth/sign-up", json=body)

    assert answer.status_code == 201
    assert (await anybody.get("/api/auth/me")).json()["name"] == "Bea"
    assert "example.org" not in answer.text


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"name": "Bea", "password": "short"}, (422, "invalid_payload")),
        ({"name": "Bea"}, (422, "invalid_payload")),
        ({"name": "Ann", "password": "long enough"}, (409, "conflict")),
        ([], (422, "invalid_payload")),
    ],
)
async def test_a_sign_up_that_does_not_fit_is_refused(
    server: Served, anybody: httpx.AsyncClient, body: object, expected: tuple[int, str]
) -> None:
    await server.user("Ann")

    answer = await anybody.post("/api/auth/sign-up", json=body)

    assert code_of(answer) == expected
    assert "short" not in answer.json()["detail"]


async def test_sign_up_and_anonymous_use_are_off_by_default(tmp_path: Path) -> None:
    async with serve(ScriptedApp(), tmp_path) as server, rest(server) as client:
        up = await client.post("/api/auth/sign-up", json={"name": "x", "password": "long enough"})
        anonymous = await client.post("/api/auth/anonymous")

    assert code_of(up) == code_of(anonymous) == (403, "forbidden")


async def test_anonymous_visitors_are_users_of_their_own(tmp_path: Path) -> None:
    async with (
        serve(ScriptedApp(), tmp_path, anonymous=True) as server,
        rest(server) as one,
        rest(server) as two,
    ):
        users = [(await client.post("/api/auth/anonymous")).json()["user"] for client in (one, two)]
        me = (await one.get("/api/auth/me")).json()

    assert users[0]["id"] != users[1]["id"]
    assert me == users[0]


@pytest.mark.parametrize("token", ["x", "a.b.c", "Bearer"])
async def test_a_forged_token_is_refused(anybody: httpx.AsyncClient, token: str) -> None:
    answer = await anybody.get("/api/auth/me", headers={"authorization": f"Bearer {token}"})

    assert code_of(answer) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_signing_out_ends_the_token_and_closes_its_connections(server: Served) -> None:
    async with Client.open(server, "Ann") as socket:
        # The very token that the socket uses.
        token = await server.user("Ann")
        await socket.close()
        await socket.connect(server.url, token=token)
        async with rest(server, authorization=f"Bearer {token}") as client:
            answer = await client.post("/api/auth/sign-out")
            after = await client.get("/api/auth/me")

        told = await socket.until(lambda event, _: event == "reconnect")

    assert answer.status_code == 204
    assert code_of(after) == (401, "unauthenticated")
    assert told["reason"] == "token_revoked"


async def test_signing_out_everywhere_ends_every_token(server: Served) -> None:
    async with rest(server, "Ann") as one, rest(server, "Ann") as two:
        await one.post("/api/auth/sign-out-everywhere")
        answers = [await client.get("/api/auth/me") for client in (one, two)]

    assert [answer.status_code for answer in answers] == [401, 401]


async def test_a_new_name_is_for_signing_in_too_and_shows_at_once(server: Served) -> None:
    async with rest(server, "Ann") as ann:
        await ann.get("/api/auth/me")
        answer = await ann.patch("/api/auth/me", json={"name": "  Ann   Archer "})
        me = await ann.get("/api/auth/me")

    async with rest(server) as anybody:
        old = await sign_in(anybody, "Ann")
        new = await sign_in(anybody, "Ann Archer")
    assert answer.json()["name"] == "Ann Archer"
    assert me.json() == answer.json()
    assert (old.status_code, new.status_code) == (401, 200)


@pytest.mark.parametrize(
    ("name", "status"), [("Bob", 409), ("BOB@example.org", 422), (" ", 422), ("x" * 201, 422)]
)
async def test_a_name_that_does_not_fit_is_refused(server: Served, name: str, status: int) -> None:
    await server.user("Bob")
    async with rest(server, "Ann") as ann:
        answer = await ann.patch("/api/auth/me", json={"name": name})
        me = await ann.get("/api/auth/me")

    assert answer.status_code == status
    assert me.json()["name"] == "Ann"


async def test_a_new_password_ends_all_other_tokens(server: Served) -> None:
    change = {"current": PASSWORD, "password": "another horse battery"}
    async with rest(server, "Ann") as ann, rest(server) as anybody:
        answer = await ann.post("/api/auth/password", json=change)
        token = answer.json()["token"]
        before = await ann.get("/api/auth/me", headers={"cookie": ""})
        after = await anybody.get("/api/auth/me", headers={"authorization": f"Bearer {token}"})
        old = await sign_in(anybody, "Ann")
        new = await sign_in(anybody, "Ann", "another horse battery")

    assert (before.status_code, after.status_code) == (401, 200)
    assert (old.status_code, new.status_code) == (401, 200)


async def test_a_password_changes_for_nobody_who_does_not_know_it(server: Served) -> None:
    change = {"current": "not the password", "password": "another horse battery"}
    async with rest(server, "Ann") as ann:
        answers = [await ann.post("/api/auth/password", json=change) for _ in range(4)]

    # Guessing counts against the same limit as signing in.
    assert [answer.status_code for answer in answers] == [403, 403, 403, 429]


async def test_refresh_gives_a_new_token(server: Served) -> None:
    async with rest(server, "Ann") as client:
        answer = await client.post("/api/auth/refresh")
        fresh = {"authorization": f"Bearer {answer.json()['token']}"}
        me = await client.get("/api/auth/me", headers=fresh)

    assert answer.status_code == me.status_code == 200


# -- requests of other sites -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_another_site_s_page_cannot_act_with_the_cookie(
    server: Served, anybody: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    await server.user("Ann")
    await sign_in(anybody, "Ann")

    answer = await anybody.post("/api/auth/sign-out", headers=headers)

    assert code_of(answer) == (403, "forbidden")
    assert (await anybody.get("/api/auth/me")).status_code == 200


async def test_the_page_itself_can(server: Served, anybody: httpx.AsyncClient) -> None:
    await server.user("Ann")
    await sign_in(anybody, "Ann")

    answer = await anybody.post("/api/auth/sign-out", headers={"origin": server.url})

    assert answer.status_code == 204


async def test_the_page_behind_a_proxy_with_a_name_of_its_own_can(
    server: Served, anybody: httpx.AsyncClient
) -> None:
    await server.user("Ann")
    behind = {"origin": "https://chat.example.org", "x-forwarded-host": "chat.example.org"}

    answer = await anybody.post(
        "/api/auth/sign-in", json={"login": "Ann", "password": PASSWORD}, headers=behind
    )

    assert answer.status_code == 200


async def test_a_site_that_is_allowed_may_act_and_read(tmp_path: Path) -> None:
    site = "https://chat.example.org"
    async with (
        serve(ScriptedApp(), tmp_path, allowed_origins=(site,)) as server,
        rest(server, origin=site) as client,
    ):
        await server.user("Ann")
        answer = await sign_in(client, "Ann")

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == site
    assert answer.headers["access-control-allow-credentials"] == "true"


# -- administration --------------------------------------------------------------------------------


async def admin_of(server: Served) -> str:
    user = await server.node.accounts.add_user("Root", PASSWORD, role="admin")
    return f"Bearer {(await server.node.accounts.issue(user.id)).token}"


async def test_only_administrators_see_users(server: Served) -> None:
    async with rest(server, "Ann") as client:
        answers = [
            await client.get("/api/users"),
            await client.post("/api/users", json={"name": "x", "password": "long enough"}),
            await client.patch("/api/users/x", json={"disabled": True}),
        ]

    assert [code_of(answer) for answer in answers] == [(403, "forbidden")] * 3


async def test_an_administrator_adds_lists_and_disables(server: Served) -> None:
    async with (
        rest(server, authorization=await admin_of(server)) as admin,
        rest(server, "Ann") as ann,
    ):
        added = await admin.post("/api/users", json={"name": "Bea", "password": "long enough"})
        listed = await admin.get("/api/users", params={"limit": 2})
        rest_of = await admin.get("/api/users", params={"cursor": listed.json()["next_cursor"]})
        ann_id = (await ann.get("/api/auth/me")).json()["id"]
        disabled = await admin.patch(f"/api/users/{ann_id}", json={"disabled": True})
        after = await ann.get("/api/auth/me")

    assert added.status_code == 201
    names = [row["name"] for row in listed.json()["items"] + rest_of.json()["items"]]
    assert sorted(names) == ["Ann", "Bea", "Root"]
    assert disabled.json()["disabled"]
    assert code_of(after) == (401, "unauthenticated")
    assert "argon2" not in listed.text


async def test_an_administrator_cannot_lock_himself_out(server: Served) -> None:
    async with rest(server, authorization=await admin_of(server)) as admin:
        own = (await admin.get("/api/auth/me")).json()["id"]
        answer = await admin.patch(f"/api/users/{own}", json={"disabled": True})

    assert code_of(answer) == (403, "forbidden")
