"""Every setting, with its default, unit, bounds and reason.

Flat on purpose: one name in the environment, in `parlour.toml`, on the page and in the code. Values
whose text may hold a password (`database_url`, `redis_url`, keys) are `SecretStr`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from parlour.config.services import ModelServices

Durability = Literal["stored", "hot", "memory"]
Transport = Literal["fast", "asgi"]

_ORIGIN = re.compile(r"https?://[^/\s?#@]+\Z")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_KEY_PREFIX: Final = r"^[A-Za-z0-9_.:-]{1,64}$"
_SENTINEL = re.compile(r"[^\s,/@]+\Z")

_DATABASE_DRIVERS: Final = {
    "sqlite": "sqlite",
    "sqlite+aiosqlite": "sqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
_REDIS_SCHEMES: Final = ("redis", "rediss", "unix")

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86_400
KB: Final = 1_000
MB: Final = 1_000_000


def _split(value: Any) -> Any:
    """Environment variables hold lists as `a, b`."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(_split)]


def _setting(
    group: str, default: Any, description: str, *, unit: str = "", shown: str = "", **bounds: Any
) -> Any:
    """A field with what its documentation needs. A callable default is worked out from the
    fields before it, and `shown` says in words what comes out."""
    extra: dict[str, Any] = {"group": group, "unit": unit, "shown": shown}
    if callable(default):
        return Field(
            default_factory=default, description=description, json_schema_extra=extra, **bounds
        )
    return Field(default=default, description=description, json_schema_extra=extra, **bounds)


def _default_database(known: Mapping[str, Any]) -> SecretStr:
    folder: Path = known.get("data_folder", Path(".parlour"))
    return SecretStr(f"sqlite:///{folder / 'parlour.db'}")


def _default_durability(known: Mapping[str, Any]) -> Durability:
    return "hot" if known.get("redis_url") else "stored"


class Settings(BaseSettings):
    """What a node is told from outside; validated, immutable.

    The constructor takes only its arguments. Mistakes raise pydantic's `ValidationError`;
    `load_settings` turns them into one `SettingsError` with a remedy for each.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    # -- storage ---------------------------------------------------------------------------------

    data_folder: Path = _setting(
        "Storage",
        Path(".parlour"),
        "Folder for the embedded database, uploaded files and the lock. One process owns it.",
    )
    database_url: SecretStr = _setting(
        "Storage",
        _default_database,
        "Where conversations are kept: `sqlite:///file` or `postgresql://user:password@host/name`.",
        shown="SQLite file `parlour.db` in the data folder",
    )
    database_pool_size: int = _setting(
        "Storage", 10, "Connections to PostgreSQL that a process holds at most.", ge=1, le=500
    )
    database_timeout_seconds: float = _setting(
        "Storage", 10.0, "Longest wait for one database statement.", unit="seconds", gt=0, le=300
    )
    uploads: str = _setting(
        "Storage",
        "",
        "Where uploaded files are: a folder, or `s3://bucket/prefix` (needs `parlour[s3]`). Nodes on "
        "several machines need a place that they share.",
        shown="`files` in the data folder",
    )
    uploads_endpoint: str | None = _setting(
        "Storage", None, "Address of an S3-compatible service that is not Amazon's.", shown="none"
    )
    uploads_region: str = _setting("Storage", "us-east-1", "Region of the bucket.")
    uploads_key: SecretStr | None = _setting(
        "Storage",
        None,
        "Access key of the bucket, as `id:secret`.",
        shown="none: the machine's own credentials",
    )
    redis_url: SecretStr | None = _setting(
        "Storage",
        None,
        "Hot window, bus, sessions and leases in Redis or Valkey: `redis://`, `rediss://` (TLS) or "
        "`unix://`. Needed for more than one process. For Sentinel the host is the service's name.",
        shown="none: kept in the process",
    )
    redis_key_prefix: str = _setting(
        "Storage",
        "parlour",
        "What every key in Redis begins with.",
        pattern=_KEY_PREFIX,
    )
    redis_cluster: bool = _setting("Storage", False, "The URL names one node of a Redis Cluster.")
    redis_sentinel_hosts: Names = _setting(
        "Storage", (), "Sentinels, as `host` or `host:port`, separated by commas."
    )
    redis_sentinel_port: int = _setting(
        "Storage", 26379, "Port of the Sentinels that name none.", ge=1, le=65535
    )
    redis_timeout_seconds: float = _setting(
        "Storage", 5.0, "Longest wait for one answer of Redis.", unit="seconds", gt=0, le=300
    )
    durability: Durability = _setting(
        "Storage",
        _default_durability,
        "What an acknowledgement promises: `stored` (committed to disk), `hot` (in the hot window, "
        "archived in the background) or `memory` (nothing beyond the process; tests).",
        shown="`hot` with Redis, else `stored`",
    )
    max_messages_per_session: int = _setting(
        "Storage",
        1000,
        "Newest messages of a conversation in the hot window; older ones are in the database.",
        unit="messages",
        ge=1,
        le=100_000,
    )
    session_expiry_seconds: int = _setting(
        "Storage",
        20 * MINUTE,
        "A conversation that rests this long leaves the hot window, once it is archived.",
        unit="seconds",
        ge=1,
        le=30 * DAY,
    )
    session_sync_interval_seconds: float = _setting(
        "Storage",
        300.0,
        "How often the hot window is archived where an acknowledgement does not wait for it.",
        unit="seconds",
        gt=0,
        le=DAY,
    )
    max_unsynced_events: int = _setting(
        "Storage",
        1_000_000,
        "Events that may wait for the database; past it new commands are refused as retryable.",
        unit="events",
        ge=100,
    )
    max_unsynced_bytes: int = _setting(
        "Storage",
        256 * MB,
        "Bytes that may wait for the database; past it new commands are refused as retryable.",
        unit="bytes",
        ge=MB,
    )

    # -- server ----------------------------------------------------------------------------------

    host: str = _setting(
        "Server", "127.0.0.1", "Address to listen on; `0.0.0.0` is all.", min_length=1
    )
    port: int = _setting("Server", 8000, "Port to listen on; 0 takes a free one.", ge=0, le=65535)
    transport: Transport = _setting(
        "Server",
        "fast",
        "`fast`: Parlour's own WebSocket protocol under uvicorn; `asgi`: plain ASGI WebSockets.",
    )
    workers: int = _setting(
        "Server",
        1,
        "Processes on this port; more than one needs Redis and PostgreSQL.",
        ge=1,
        le=256,
    )
    websocket: bool = _setting(
        "Server", True, "Offer WebSockets; otherwise clients stay on HTTP long-polling."
    )
    ping_interval_seconds: float = _setting(
        "Server", 25.0, "Time between two pings to a client.", unit="seconds", gt=0, le=3600
    )
    ping_timeout_seconds: float = _setting(
        "Server",
        20.0,
        "A client that answers a ping later than this is gone.",
        unit="seconds",
        gt=0,
        le=3600,
    )
    connect_timeout_seconds: float = _setting(
        "Server",
        10.0,
        "A socket that has not connected to a namespace by then is closed.",
        unit="seconds",
        gt=0,
        le=300,
    )
    request_head_seconds: float = _setting(
        "Server",
        30.0,
        "A connection whose request has not arrived as far as its body by then is closed.",
        unit="seconds",
        gt=0,
        le=300,
    )
    websocket_compression: bool = _setting(
        "Server", False, "Negotiate permessage-deflate; saves bandwidth, costs memory and time."
    )
    allowed_origins: Names = _setting(
        "Server",
        (),
        "Origins of other sites whose pages may connect, as `https://host[:port]`; `*` is any.",
        shown="only the page's own origin",
    )
    trusted_proxies: Names = _setting(
        "Server",
        (),
        "Addresses or networks of proxies whose `X-Forwarded-*` headers are believed; `*` is any. "
        "Without it everybody behind a proxy counts as one address.",
    )
    tls_certificate: Path | None = _setting(
        "Server", None, "File with the certificate chain (PEM), to serve HTTPS without a proxy."
    )
    tls_key: Path | None = _setting("Server", None, "File with the certificate's key (PEM).")
    deployment_id: str = _setting(
        "Server",
        "",
        "Names this deployment; a page that was loaded from another one reloads itself.",
        max_length=200,
    )

    # -- sessions and handlers -------------------------------------------------------------------

    session_timeout_seconds: int = _setting(
        "Sessions",
        HOUR,
        "A session without a connection ends after this long.",
        unit="seconds",
        ge=1,
        le=90 * DAY,
    )
    user_env: Names = _setting(
        "Sessions",
        (),
        "Names that every client must send in `user_env` (an API key of one's own, for instance).",
    )
    max_ask_timeout_seconds: float = _setting(
        "Sessions",
        DAY * 1.0,
        "The longest that an app may let a question wait.",
        unit="seconds",
        gt=0,
    )
    node_lease_seconds: float = _setting(
        "Sessions",
        10.0,
        "Others take over what a silent node held after this long.",
        unit="seconds",
        ge=1,
        le=300,
    )

    # -- limits ----------------------------------------------------------------------------------

    max_payload_bytes: int = _setting(
        "Limits", 1 * MB, "Largest packet or request body.", unit="bytes", ge=10 * KB, le=100 * MB
    )
    max_message_bytes: int = _setting(
        "Limits", 256 * KB, "Largest text of one message (UTF-8).", unit="bytes", ge=1, le=100 * MB
    )
    max_file_bytes: int = _setting("Limits", 100 * MB, "Largest uploaded file.", unit="bytes", ge=1)
    max_files_per_message: int = _setting(
        "Limits", 20, "Files that one message may refer to.", ge=0, le=1000
    )
    commands_per_second: float = _setting(
        "Limits", 50.0, "Commands of one connection, on average.", unit="per second", gt=0
    )
    command_burst: int = _setting("Limits", 200, "Commands of one connection at once.", ge=1)
    requests_per_second: float = _setting(
        "Limits", 50.0, "HTTP commands of one user, on average.", unit="per second", gt=0
    )
    request_burst: int = _setting("Limits", 200, "HTTP commands of one user at once.", ge=1)
    connections_per_user: int = _setting(
        "Limits", 50, "Open connections of one user on a node.", ge=1
    )
    streams_per_connection: int = _setting(
        "Limits", 100, "Streams that one connection follows.", ge=1
    )
    channels_per_user: int = _setting(
        "Limits", 500, "Channels that one user may belong to.", ge=1, le=10_000
    )
    members_per_channel: int = _setting(
        "Limits", 1000, "Members that one channel may have.", ge=2, le=100_000
    )
    runs_queued_per_thread: int = _setting(
        "Limits", 32, "Messages that wait in one conversation for the handler.", ge=1, le=10_000
    )
    page_limit: int = _setting("Limits", 1000, "Events or items in one answer.", ge=1, le=10_000)
    outbox_high_bytes: int = _setting(
        "Limits",
        256 * KB,
        "Unsent bytes of a connection from which token deltas are joined.",
        unit="bytes",
        ge=KB,
    )
    outbox_limit_bytes: int = _setting(
        "Limits",
        4 * MB,
        "Unsent bytes at which a connection is closed as too slow.",
        unit="bytes",
        ge=10 * KB,
    )

    # -- documents -------------------------------------------------------------------------------

    max_document_bytes: int = _setting(
        "Documents",
        2 * MB,
        "Largest document, by what its present state takes; a connection's unsent limit must hold it.",
        unit="bytes",
        ge=10 * KB,
        le=64 * MB,
    )
    documents_per_connection: int = _setting(
        "Documents", 20, "Documents that one connection has open.", ge=1, le=1000
    )
    notes_per_user: int = _setting(
        "Documents", 10_000, "Notes that one user may own.", ge=1, le=1_000_000
    )
    document_idle_seconds: float = _setting(
        "Documents",
        60.0,
        "A document that nobody has open leaves the memory after this long.",
        unit="seconds",
        ge=0,
        le=DAY,
    )
    document_save_seconds: float = _setting(
        "Documents",
        0.5,
        "A note's text is saved this long after the last edit …",
        unit="seconds",
        ge=0,
        le=60,
    )
    document_save_limit_seconds: float = _setting(
        "Documents",
        5.0,
        "… and at most this long after the first unsaved one, while typing goes on.",
        unit="seconds",
        ge=0,
        le=300,
    )
    document_sync_seconds: float = _setting(
        "Documents",
        10.0,
        "How often updates in Redis are written to the database.",
        unit="seconds",
        gt=0,
        le=HOUR,
    )
    note_version_interval_seconds: int = _setting(
        "Documents",
        10 * MINUTE,
        "A version of an edited note is kept by itself this often.",
        unit="seconds",
        ge=1,
        le=30 * DAY,
    )
    note_versions_kept: int = _setting(
        "Documents", 50, "Versions of a note that are kept by themselves.", ge=1, le=1000
    )

    # -- accounts --------------------------------------------------------------------------------

    sign_up: bool = _setting("Accounts", False, "Anyone may create an account on the page.")
    anonymous: bool = _setting(
        "Accounts",
        False,
        "Anyone may talk without an account; each visitor is a user of their own.",
    )
    token_ttl_seconds: int = _setting(
        "Accounts",
        7 * DAY,
        "How long an access token is valid.",
        unit="seconds",
        ge=1,
        le=365 * DAY,
    )
    password_min_length: int = _setting(
        "Accounts", 8, "Shortest password that is accepted.", unit="characters", ge=1, le=128
    )
    sign_in_attempts: int = _setting(
        "Accounts",
        10,
        "Failed sign-ins per login and window, before further ones are refused.",
        ge=1,
    )
    sign_in_attempts_per_address: int = _setting(
        "Accounts", 100, "The same per address of the client.", ge=1
    )
    sign_in_window_seconds: int = _setting(
        "Accounts", 15 * MINUTE, "The window of both.", unit="seconds", ge=1, le=DAY
    )

    # -- logs and metrics ------------------------------------------------------------------------

    log_format: Literal["console", "json"] = _setting(
        "Logs and metrics", "console", "`console` for people, `json` for machines."
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "Logs and metrics", "info", "Least severity that is logged."
    )
    socket_logging: bool = _setting(
        "Logs and metrics", False, "Log every Socket.IO event (without its content)."
    )
    engineio_logging: bool = _setting(
        "Logs and metrics", False, "Log every Engine.IO packet (without its content)."
    )
    metrics: bool = _setting("Logs and metrics", True, "Serve Prometheus metrics at `/metrics`.")

    # -- shutdown --------------------------------------------------------------------------------

    shutdown_drain_seconds: float = _setting(
        "Shutdown", 5.0, "Longest wait for outboxes to empty.", unit="seconds", ge=0, le=300
    )
    shutdown_runs_seconds: float = _setting(
        "Shutdown", 20.0, "Longest wait for running handlers.", unit="seconds", ge=0, le=3600
    )
    shutdown_flush_seconds: float = _setting(
        "Shutdown",
        20.0,
        "Longest wait for the database to take what is left.",
        unit="seconds",
        ge=0,
        le=3600,
    )
    shutdown_close_seconds: float = _setting(
        "Shutdown", 5.0, "Longest wait for stores to close.", unit="seconds", ge=0, le=300
    )
    reconnect_spread_ms: int = _setting(
        "Shutdown",
        2000,
        "Clients are told to come back at a random moment within this.",
        unit="milliseconds",
        ge=0,
        le=10 * MINUTE * 1000,
    )

    # -- agents ----------------------------------------------------------------------------------

    agent_model: str = _setting(
        "Agents", "default", "Service of the model registry that agents ask.", min_length=1
    )
    agent_confirmation: Literal["never", "commands", "changes"] = _setting(
        "Agents",
        "commands",
        "What waits for a person's word: nothing, commands and cells, or writing files as well.",
    )
    agent_input_policy: Literal["queue", "steer", "interrupt", "reject"] = _setting(
        "Agents", "steer", "What becomes of a message that comes while an agent works."
    )
    agent_max_iterations: int = _setting(
        "Agents", 100, "Answers of the model in one run; then the agent pauses.", ge=1, le=10_000
    )
    agent_max_seconds: float = _setting(
        "Agents", 3600.0, "Longest run; then the agent pauses.", unit="seconds", gt=0
    )
    agent_max_cost: float = _setting(
        "Agents", 0.0, "Cost of one run after which the agent pauses; 0 is none.", unit="USD", ge=0
    )
    agent_context_tokens: int = _setting(
        "Agents", 60_000, "How much of a session a model is shown.", unit="tokens", ge=1_000
    )
    agent_command_seconds: float = _setting(
        "Agents", 120.0, "Longest command or cell of an agent.", unit="seconds", gt=0
    )
    agent_sessions_limit: int = _setting(
        "Agents",
        500,
        "Agent sessions in memory. Beyond it the longest idle one that nobody watches is put aside; where there "
        "is none a new one is refused.",
        ge=1,
    )
    agent_idle_seconds: float = _setting(
        "Agents",
        900.0,
        "A session that waits and that nobody watches is put aside after this; it goes on with the next message.",
        unit="seconds",
        gt=0,
    )
    model_services: ModelServices = _setting(
        "Agents",
        (),
        "Models that agents may ask, by name: `[[model_services]]` tables in `parlour.toml`, a JSON list in the "
        "environment. Without one named `default`, `openai_api_key` and `openai_base_url` make it.",
        shown="none",
    )
    agent_sandbox: Literal["auto", "bubblewrap", "none"] = _setting(
        "Agents",
        "auto",
        "What keeps an agent's commands in: bubblewrap where it works (`auto`), only with bubblewrap, or limits alone.",
    )
    agent_network: bool = _setting(
        "Agents",
        False,
        "Let an agent's commands use the network (without bubblewrap they always can).",
    )
    agent_workspaces: Path | None = _setting(
        "Agents",
        None,
        "Folder of the workspaces, one folder per session.",
        shown="`workspaces` in the data folder",
    )
    agent_python: str = _setting(
        "Agents", "", "Python for an agent's cells.", shown="the server's own, without its packages"
    )
    agent_output_bytes: int = _setting(
        "Agents",
        200_000,
        "Output of a command that is kept: the first three quarters and the end.",
        unit="bytes",
        ge=1_000,
        le=10 * MB,
    )
    agent_processes: int = _setting(
        "Agents", 256, "Processes and threads in one workspace.", ge=8, le=100_000
    )
    agent_memory_bytes: int = _setting(
        "Agents",
        4_000 * MB,
        "Address space of each process in a workspace.",
        unit="bytes",
        ge=100 * MB,
    )
    agent_file_bytes: int = _setting(
        "Agents",
        1_000 * MB,
        "Largest file that a command may write.",
        unit="bytes",
        ge=1 * MB,
    )
    agent_files: str = _setting(
        "Agents",
        "",
        "Where sessions keep what they export: a folder, or `s3://bucket/prefix`.",
        shown="`agents` in the data folder",
    )
    agent_files_endpoint: str | None = _setting(
        "Agents", None, "Address of an S3-compatible service that is not Amazon's.", shown="none"
    )
    agent_files_region: str = _setting("Agents", "us-east-1", "Region of the bucket.")
    agent_files_key: SecretStr | None = _setting(
        "Agents", None, "Access key of the bucket, as `id:secret`.", shown="none"
    )
    agent_secrets: Secrets = _setting(
        "Agents",
        (),
        "Values that are masked in every event of an agent session.",
        shown="none",
    )

    # -- the demo --------------------------------------------------------------------------------

    demo_tokens_per_second: float = _setting(
        "Demo",
        30.0,
        "Pace of the built-in model; 0 is as fast as possible.",
        unit="per second",
        ge=0,
    )
    openai_api_key: SecretStr | None = _setting(
        "Demo",
        None,
        "With a key (or a base URL) the demo talks to this endpoint instead.",
        shown="none",
    )
    openai_base_url: str | None = _setting(
        "Demo", None, "Base URL of an endpoint that speaks OpenAI's API.", shown="none"
    )
    openai_model: str = _setting(
        "Demo", "gpt-4.1-mini", "Which model the demo asks for.", min_length=1
    )

    # -- rules -----------------------------------------------------------------------------------

    @field_validator("data_folder")
    @classmethod
    def _expand_folder(cls, folder: Path) -> Path:
        return folder.expanduser()

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: SecretStr) -> SecretStr:
        scheme, found, rest = url.get_secret_value().partition("://")
        driver = _DATABASE_DRIVERS.get(scheme)
        if not found or driver is None:
            raise ValueError("must begin with sqlite:/// or postgresql://")
        return SecretStr(f"{driver}://{rest}")

    @field_validator("redis_url", mode="before")
    @classmethod
    def _known_redis(cls, url: Any) -> Any:
        text = url.get_secret_value() if isinstance(url, SecretStr) else url
        if text in (None, ""):
            return None
        if isinstance(text, str) and text.partition("://")[0] not in _REDIS_SCHEMES:
            raise ValueError("must begin with redis://, rediss:// or unix://")
        return url

    @field_validator("redis_sentinel_hosts")
    @classmethod
    def _host_names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not _SENTINEL.match(host):
                raise ValueError(f"{host!r} is not host or host:port")
        return hosts

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not _ORIGIN.match(origin):
                raise ValueError(f"{origin!r} is not of the form https://host[:port] (no path)")
        return tuple(origin.lower() for origin in origins)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            if proxy != "*":
                ipaddress.ip_network(proxy, strict=False)
        return proxies

    @field_validator("user_env")
    @classmethod
    def _names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _ENV_NAME.match(name):
                raise ValueError(f"{name!r} is not a variable's name")
        return names

    # -- what follows from it --------------------------------------------------------------------

    @property
    def embedded(self) -> bool:
        """Whether everything lives in this process and its data folder."""
        return self.redis_url is None and self.uses_sqlite

    @property
    def uses_sqlite(self) -> bool:
        return self.database_url.get_secret_value().startswith("sqlite")

    @property
    def sentinels(self) -> tuple[tuple[str, int], ...]:
        """(host, port) of every Sentinel."""
        return tuple(self._sentinel(host) for host in self.redis_sentinel_hosts)

    def _sentinel(self, text: str) -> tuple[str, int]:
        host, found, port = text.rpartition(":")
        return (host, int(port)) if found and port.isdigit() else (text, self.redis_sentinel_port)


def contradictions(settings: Settings) -> list[str]:
    """What is wrong with settings that are each right by themselves; a remedy with each."""
    problems = []
    if settings.workers > 1 and settings.redis_url is None:
        problems.append(
            f"workers = {settings.workers} needs Redis, which joins the processes: "
            "set redis_url, or workers = 1."
        )
    if settings.workers > 1 and settings.uses_sqlite:
        problems.append(
            f"workers = {settings.workers} needs PostgreSQL, since one process owns a SQLite data "
            "folder: set database_url to postgresql://…, or workers = 1."
        )
    if settings.redis_cluster and settings.redis_sentinel_hosts:
        problems.append("redis_cluster and redis_sentinel_hosts exclude each other: remove one.")
    problems += [
        f"{name} needs redis_url: set it, or remove {name}."
        for name in ("redis_cluster", "redis_sentinel_hosts")
        if getattr(settings, name) and settings.redis_url is None
    ]
    if settings.tls_key and not settings.tls_certificate:
        problems.append("tls_key needs tls_certificate: set it, or remove tls_key.")
    problems += [
        f"{name} names no file ({path}): correct the path, or remove {name}."
        for name in ("tls_certificate", "tls_key")
        if (path := getattr(settings, name)) is not None and not path.is_file()
    ]
    if settings.outbox_high_bytes >= settings.outbox_limit_bytes:
        problems.append("outbox_high_bytes must be below outbox_limit_bytes: lower the first.")
    if settings.max_message_bytes >= settings.max_payload_bytes:
        problems.append(
            "max_message_bytes must be below max_payload_bytes, which carries the message: "
            "lower the first or raise the second."
        )
    return problems
