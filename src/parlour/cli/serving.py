"""`parlour run` and `parlour demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Host = Annotated[str | None, typer.Option(help="Address to listen on.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")]
Data = Annotated[Path | None, typer.Option(help="Data folder.")]
Transport = Annotated[str | None, typer.Option(help="fast or asgi.")]


def run(
    target: Annotated[str, typer.Argument(help="Your app: a file (app.py) or package.module.")],
    host: Host = None,
    port: Port = None,
    data: Data = None,
    workers: Annotated[int | None, typer.Option(help="Processes on this port.")] = None,
    transport: Transport = None,
    watch: Annotated[bool, typer.Option("--watch", help="Restart when a file changes.")] = False,
    shared_port: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Serve an app, with its page, API and sockets on one port."""
    # Imported here, as in the other commands: `parlour --help` must not wait for a web server.
    from parlour.cli.hosting import host_app

    host_app(
        target,
        watch=watch,
        shared_port=shared_port,
        host=host,
        port=port,
        data_folder=data,
        workers=workers,
        transport=transport,
    )


def demo(
    host: Host = None,
    port: Port = None,
    data: Data = None,
    transport: Transport = None,
    password: Annotated[str | None, typer.Option(help="Password of the demo user.")] = None,
) -> None:
    """Serve the demo app: no key, no service, no account elsewhere."""
    from parlour.cli.hosting import host_demo

    host_demo(password, host=host, port=port, data_folder=data, transport=transport)
