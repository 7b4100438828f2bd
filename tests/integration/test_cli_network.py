"""`parlour run` on the network: TLS of its own, and proxies in front."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.integration.test_cli_serving import ADDRESS, APP, parlour

SIGN_UP = {"name": "Ann", "password": "long enough"}
FORWARDED = {"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.9"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: it makes the certificate of this test")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(chain)]
    subprocess.run(command, check=True, capture_output=True)
    return chain, key


async def test_https_and_secure_sockets_without_a_proxy(
    folder: Path, certificate: tuple[Path, Path]
) -> None:
    chain, key = certificate
    trust = ssl.create_default_context(cafile=str(chain))
    tls = {"PARLOUR_TLS_CERTIFICATE": str(chain), "PARLOUR_TLS_KEY": str(key)}
    async with parlour(folder, "run", "app.py", "--port", "0", PARLOUR_SIGN_UP="1", **tls) as run:
        address = await run.until(re.compile(r"https://127\.0\.0\.1:\d+"))
        async with httpx.AsyncClient(base_url=address, verify=trust) as client:
            signed_up = await client.post("/api/auth/sign-up", json=SIGN_UP)
        url = address.replace("https", "wss") + "/ws/socket.io/?EIO=4&transport=websocket"
        async with connect(url, ssl=trust) as socket:
            opened = await socket.recv()

    assert "Secure" in signed_up.headers["set-cookie"]
    assert signed_up.headers["strict-transport-security"]
    assert str(opened).startswith("0{")


@pytest.mark.parametrize(
    ("trusted", "secure"), [("127.0.0.0/8", True), ("10.0.0.1", False), ("", False)]
)
async def test_only_a_trusted_proxy_is_believed(folder: Path, trusted: str, secure: bool) -> None:
    settings = {"PARLOUR_SIGN_UP": "1", "PARLOUR_TRUSTED_PROXIES": trusted}
    limit = {"PARLOUR_SIGN_IN_ATTEMPTS_PER_ADDRESS": "1"}
    async with parlour(folder, "run", "app.py", "--port", "0", **settings, **limit) as running:
        address = await running.until(ADDRESS)
        async with httpx.AsyncClient(base_url=address, headers=FORWARDED) as client:
            signed_up = await client.post("/api/auth/sign-up", json=SIGN_UP)
            elsewhere = {"x-forwarded-for": "203.0.113.10"}
            second = {**SIGN_UP, "name": "Bea"}
            again = await client.post("/api/auth/sign-up", json=second, headers=elsewhere)

    assert ("Secure" in signed_up.headers["set-cookie"]) is secure
    # Another person behind the same proxy has attempts of their own.
    assert (again.status_code == 201) is secure
