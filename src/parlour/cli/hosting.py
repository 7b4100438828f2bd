"""What `parlour run` and `parlour demo` do."""

from __future__ import annotations

import secrets
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any, Final

import watchfiles
from rich.panel import Panel

from parlour.chat.loading import load_app
from parlour.cli.console import err, progress_bar, run_async
from parlour.cli.workers import end_with_parent, supervise
from parlour.config import Settings, load_settings
from parlour.errors import Unauthenticated, Unavailable
from parlour.server.app import Application
from parlour.server.node import Node
from parlour.telemetry import configure_logging
from parlour.transports.asgi import serving
from parlour.transports.listening import address_of, listen, open_port

DEMO_APP: Final = "parlour.demo.app"
DEMO_MODEL: Final = "demo"
DEMO_USER: Final = "demo"
PASSWORD_FILE: Final = "demo-password"

Greet = Callable[[Node, str], Awaitable[Panel]]
"""Prepares the node for its first visitors; what people are told when it accepts them."""


def host_app(target: str, *, watch: bool, shared_port: bool, **options: Any) -> None:
    """Serve an app until a signal comes. `options` are settings; None is not given."""
    settings = load_settings(**options)
    if watch:
        _watch(Path(target))
        return
    if shared_port:
        end_with_parent()
    app = load_app(target)
    if settings.workers > 1:
        supervise(settings, sys.argv[1:])
        return
    run_async(_serve(settings, app, _greet, shared=shared_port))


def host_demo(password: str | None, **options: Any) -> None:
    """Serve the demo app until a signal comes; anybody may sign up."""
    settings = load_settings(sign_up=True, agent_model=DEMO_MODEL, **options)
    app = load_app(DEMO_APP)

    async def welcome(node: Node, address: str) -> Panel:
        return _welcome(address, await _prepare_demo_user(node, password))

    run_async(_serve(settings, app, welcome))


async def _serve(
    settings: Settings, app: Application, greet: Greet, *, shared: bool = False
) -> None:
    configure_logging(settings.log_format, settings.log_level)
    async with AsyncExitStack() as stack:
        # First, so that a taken port is told before anything is touched.
        listener = stack.enter_context(
            closing(open_port(settings.host, settings.port, shared=shared))
        )
        with progress_bar() as progress:
            served = await stack.enter_async_context(serving(settings, app, progress=progress))
        greeting = await greet(served.node, address_of(listener, settings))
        await listen(served, settings, listener, lambda: err.print(greeting, highlight=False))


async def _greet(node: Node, address: str) -> Panel:
    lines = [f"[bold]{node.app.name}[/] is at [link={address}]{address}[/]"]
    if await node.accounts.count() == 0 and not _open_to_strangers(node):
        lines.append("Nobody can sign in yet: [bold]parlour user add NAME --admin[/]")
    lines.append("[dim]Ctrl+C stops it.[/]")
    return Panel("\n".join(lines), expand=False)


def _open_to_strangers(node: Node) -> bool:
    checks = ("password_auth_callback", "header_auth_callback")
    if node.settings.sign_up or node.settings.anonymous:
        return True
    return any(node.app.handles(check) for check in checks)


# -- the demo's user -------------------------------------------------------------------------------


async def _prepare_demo_user(node: Node, wanted: str | None) -> str | None:
    """Make the demo's user at the first start, or give it the wanted password; the password, where
    it is known. A generated one is kept in the data folder, readable by its owner only."""
    kept = node.settings.data_folder / PASSWORD_FILE
    password = wanted or _read_password(kept)
    record = await node.users.user_by_login(DEMO_USER)
    if record is None:
        password = password or secrets.token_urlsafe(9)
        if wanted is None:
            _keep_password(kept, password)
        await node.accounts.add_user(DEMO_USER, password, role="admin")
        return password
    if wanted is not None:
        await _ensure_password(node, record.id, wanted)
    return password


async def _ensure_password(node: Node, user_id: str, password: str) -> None:
    """Set it unless it is the one already: setting ends everybody's tokens."""
    try:
        await node.accounts.sign_in(DEMO_USER, password)
    except Unauthenticated:
        await node.accounts.set_password(user_id, password)


def _read_password(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def _keep_password(path: Path, password: str) -> None:
    try:
        path.unlink(missing_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(password + "\n", encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"{path} cannot be written ({error.strerror}).") from None


def _welcome(address: str, password: str | None) -> Panel:
    known = password or "the one you set (parlour user password demo sets another)"
    lines = [
        f"Open      [link={address}][bold]{address}[/][/]",
        f"Sign in   [bold]{DEMO_USER}[/]",
        f"Password  [bold]{known}[/]",
        "",
        "Or create an account on the page: a second person sees nothing of the first.",
        "[dim]Ctrl+C stops the server; conversations stay in the data folder.[/]",
    ]
    return Panel("\n".join(lines), title="Parlour demo", expand=False)


# -- restart on change -----------------------------------------------------------------------------


def _watch(app: Path) -> None:
    """Run the same command without --watch, again after every change. Sessions live on: the data
    folder keeps them, and pages reconnect by themselves."""
    folder = app.resolve().parent if app.suffix == ".py" else Path.cwd()
    arguments = [argument for argument in sys.argv[1:] if argument != "--watch"]
    command = shlex.join([sys.executable, "-m", "parlour", *arguments])
    err.print(f"[dim]Watching {folder}[/]")
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    watchfiles.run_process(
        folder,
        target=command,
        target_type="command",
        watch_filter=watchfiles.PythonFilter(extra_extensions=(".toml", ".env")),
        callback=lambda changes: err.print(f"[dim]{len(changes)} changed; restarting[/]"),
        sigint_timeout=10,
    )
