"""Reading the request that opens a connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlour.transports.socketio.handshake import (
    Cookies,
    Headers,
    Query,
    origin_allowed,
    read_scope,
)
from parlour.transports.socketio.proxies import TrustedProxies


def scope(**changes):
    return {
        "type": "http",
        "path": "/ws/socket.io/",
        "query_string": b"EIO=4&transport=polling&name=a%20b",
        "headers": [(b"host", b"page.example"), (b"cookie", b"access_token=abc; theme=dark")],
        "client": ("10.0.0.9", 1234),
        "scheme": "https",
    } | changes


def test_a_scope_becomes_a_handshake():
    handshake = read_scope(scope())

    assert handshake.query["name"] == "a b"
    assert handshake.headers["host"] == "page.example"
    assert dict(handshake.cookies) == {"access_token": "abc", "theme": "dark"}
    assert (handshake.client, handshake.secure) == ("10.0.0.9", True)


def test_a_handshake_without_cookies_or_client():
    handshake = read_scope(scope(headers=[], client=None, scheme="ws"))

    assert dict(handshake.cookies) == {}
    assert (handshake.client, handshake.secure) == ("", False)


def test_what_is_printed_shows_no_credentials():
    handshake = read_scope(scope())

    assert "abc" not in repr(handshake)


@given(st.binary(max_size=100))
def test_no_bytes_make_reading_fail(raw):
    for mapping in (Headers(raw), Query(raw), Cookies(raw)):
        assert mapping.get("name", "") == dict(mapping).get("name", "")


@pytest.mark.parametrize(
    ("allowed", "origin", "expected"),
    [
        (None, None, True),
        (None, "https://page.example", True),
        (None, "https://PAGE.example", True),
        (None, "https://evil.example", False),
        (None, "null", False),
        (None, "https://[broken", False),
        (None, "https://page.example.evil.example", False),
        (("https://a.example",), "https://a.example", True),
        (("https://a.example",), "http://a.example", False),
        (("https://a.example",), None, True),
        ((), "https://page.example", True),
        ((), "https://other.example", False),
        (("*",), "https://anywhere.example", True),
    ],
)
def test_which_origins_may_connect(allowed, origin, expected):
    headers = {"host": "page.example"} | ({} if origin is None else {"origin": origin})

    assert origin_allowed(allowed, headers) is expected


FORWARDED = {"x-forwarded-for": "6.6.6.6, 1.2.3.4, 10.0.0.2", "x-forwarded-proto": "https"}


@pytest.mark.parametrize(
    ("trusted", "peer", "headers", "expected"),
    [
        ("10.0.0.0/8", "10.0.0.1", FORWARDED, ("1.2.3.4", True)),
        ("10.0.0.1", "10.0.0.1", FORWARDED, ("10.0.0.2", True)),
        ("*", "8.8.8.8", FORWARDED, ("6.6.6.6", True)),
        ("10.0.0.0/8", "8.8.8.8", FORWARDED, ("8.8.8.8", False)),
        ("", "10.0.0.1", FORWARDED, ("10.0.0.1", False)),
        ("10.0.0.1", "10.0.0.1", {}, ("10.0.0.1", False)),
        ("10.0.0.1", "10.0.0.1", {"x-forwarded-for": "1.2.3.4:55"}, ("1.2.3.4", False)),
        ("::1", "::1", {"x-forwarded-for": "[2001:db8::1]:55"}, ("2001:db8::1", False)),
        ("unix", "unix", {"x-forwarded-proto": "wss"}, ("unix", True)),
    ],
)
def test_only_a_trusted_proxy_speaks_for_its_clients(trusted, peer, headers, expected):
    assert TrustedProxies(trusted).resolve(peer, False, headers) == expected
