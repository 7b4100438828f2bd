"""REST, health, metrics and the page, over FastAPI."""

from parlour.transports.http.application import build_http

__all__ = ["build_http"]
