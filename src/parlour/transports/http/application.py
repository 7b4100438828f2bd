"""Everything on HTTP in one FastAPI application, for a node that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from parlour.transports.http import (
    admin,
    agents,
    app_info,
    auth,
    channels,
    commands,
    files,
    health,
    messages,
    notes,
    people,
    presence,
    sharing,
    streams,
    threads,
    usage,
    user_settings,
    users,
)
from parlour.transports.http.guard import Guard
from parlour.transports.http.page import Page
from parlour.transports.http.problems import install_problems
from parlour.transports.http.rates import OpenAnswers, RateLimits

if TYPE_CHECKING:
    from parlour.server.node import Node

_ROUTERS = (
    auth.router,
    user_settings.router,
    users.router,
    app_info.router,
    threads.router,
    sharing.router,
    messages.router,
    channels.router,
    notes.router,
    files.router,
    streams.router,
    usage.router,
    people.router,
    presence.router,
    admin.router,
    agents.router,
    commands.router,
    health.router,
)


def build_http(node: Node) -> FastAPI:
    """The REST API, health, metrics and the page. Sockets are the transport's own
    (`transports.socketio`); `transports.asgi` puts both behind one address."""
    app = FastAPI(
        title="Parlour",
        version=node.version,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
    )
    app.state.node = node
    app.state.rates = RateLimits(node.settings.requests_per_second, node.settings.request_burst)
    answers = app.state.open_answers = OpenAnswers(node.settings.connections_per_user)
    node.metrics.observe("http_open_answers", "Long polls and event streams", lambda: len(answers))
    install_problems(app)
    for router in _ROUTERS:
        app.include_router(router)
    page = Page(version=node.version, deployment=node.deployment_id)
    app.mount("/", page, name="page")
    app.add_middleware(Guard, settings=node.settings, metrics=node.metrics)
    _allow_origins(app, node)
    return app


def _allow_origins(app: FastAPI, node: Node) -> None:
    """Let the pages of other sites read answers; with credentials only the sites that are named."""
    origins = node.settings.allowed_origins
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_credentials="*" not in origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["authorization", "content-type", "last-event-id", "x-request-id"],
            expose_headers=["x-request-id", "retry-after"],
        )
