"""Stores and buses behind the ports: `memory`, `redis` and `sql`. Nothing here knows the server."""
