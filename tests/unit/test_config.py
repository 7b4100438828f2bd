"""Settings: every source, every known name, every mistake with its remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from parlour.config import Settings, load_settings
from parlour.config.page import settings_page
from parlour.config.sources import KNOWN_NAMES
from parlour.errors import SettingsError

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def load(folder: Path, environ: dict[str, str] | None = None, **overrides: Any) -> Settings:
    return load_settings(folder=folder, environ=environ or {}, **overrides)


def problems(folder: Path, environ: dict[str, str] | None = None, **overrides: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(folder, environ, **overrides)
    return caught.value.problems


# -- sources ---------------------------------------------------------------------------------------


def test_nothing_given_is_one_process_with_a_folder(tmp_path: Path) -> None:
    settings = load(tmp_path)

    assert settings.embedded
    assert settings.durability == "stored"
    assert settings.database_url.get_secret_value() == "sqlite:///.parlour/parlour.db"
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)


def test_the_constructor_does_not_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLOUR_PORT", "9999")

    settings = Settings()

    assert settings.port == 8000


def test_each_source_wins_over_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "parlour.toml").write_text("port = 1\nhost = '10.0.0.1'\nlog_level = 'debug'\n")
    (tmp_path / ".env").write_text("PARLOUR_PORT=2\nPARLOUR_HOST=10.0.0.2\n")

    settings = load(tmp_path, {"PARLOUR_PORT": "3"}, workers=None, port=4)
    without_option = load(tmp_path, {"PARLOUR_PORT": "3"})

    assert settings.port == 4
    assert (without_option.port, without_option.host) == (3, "10.0.0.2")
    assert without_option.log_level == "debug"


def test_toml_may_be_divided_into_tables(tmp_path: Path) -> None:
    (tmp_path / "parlour.toml").write_text("[accounts]\nsign_up = true\n[server]\nport = 81\n")

    settings = load(tmp_path)

    assert (settings.sign_up, settings.port) == (True, 81)


def test_another_toml_file_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("port = 82\n")

    settings = load(tmp_path, {"PARLOUR_CONFIG": "other.toml"})

    assert settings.port == 82


def test_lists_are_separated_by_commas(tmp_path: Path) -> None:
    environ = {
        "PARLOUR_ALLOWED_ORIGINS": "https://Chat.example.org, http://localhost:5173",
        "PARLOUR_TRUSTED_PROXIES": "10.0.0.0/8,127.0.0.1",
        "PARLOUR_USER_ENV": "OPENAI_API_KEY",
    }

    settings = load(tmp_path, environ)

    assert settings.allowed_origins == ("https://chat.example.org", "http://localhost:5173")
    assert settings.trusted_proxies == ("10.0.0.0/8", "127.0.0.1")
    assert settings.user_env == ("OPENAI_API_KEY",)


def test_the_default_database_lies_in_the_data_folder(tmp_path: Path) -> None:
    settings = load(tmp_path, data_folder=tmp_path / "here")

    assert settings.database_url.get_secret_value().endswith("/here/parlour.db")


def test_durability_follows_the_store(tmp_path: Path) -> None:
    with_redis = load(tmp_path, {"PARLOUR_REDIS_URL": "redis://localhost:6379/0"})
    chosen = load(
        tmp_path, {"PARLOUR_REDIS_URL": "redis://localhost", "PARLOUR_DURABILITY": "stored"}
    )

    assert with_redis.durability == "hot"
    assert chosen.durability == "stored"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgresql://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
    ],
)
def test_database_urls_get_their_driver(tmp_path: Path, given: str, used: str) -> None:
    settings = load(tmp_path, database_url=given)

    assert settings.database_url.get_secret_value() == used


def test_sentinels_may_name_their_port(tmp_path: Path) -> None:
    environ = {
        "REDIS_URL": "redis://mymaster/0",
        "REDIS_SENTINEL_HOSTS": "one,two:26380",
        "REDIS_SENTINEL_PORT": "26400",
    }

    settings = load(tmp_path, environ)

    assert settings.sentinels == (("one", 26400), ("two", 26380))


# -- names that existing deployments know ----------------------------------------------------------

KNOWN_VALUES: dict[str, tuple[str, Any]] = {
    "ENABLE_WEBSOCKET_SUPPORT": ("False", False),
    "WEBSOCKET_SERVER_PING_INTERVAL": ("7", 7.0),
    "WEBSOCKET_SERVER_PING_TIMEOUT": ("3", 3.0),
    "WEBSOCKET_SERVER_LOGGING": ("true", True),
    "WEBSOCKET_SERVER_ENGINEIO_LOGGING": ("true", True),
    "MAX_MESSAGES_PER_SESSION": ("50", 50),
    "SESSION_EXPIRY_SECONDS": ("60", 60),
    "SESSION_SYNC_INTERVAL_SECONDS": ("10", 10.0),
    "WEBSOCKET_REDIS_URL": ("redis://a", "redis://a"),
    "REDIS_URL": ("redis://b", "redis://b"),
    "REDIS_KEY_PREFIX": ("mine", "mine"),
    "WEBSOCKET_REDIS_CLUSTER": ("true", True),
    "REDIS_CLUSTER": ("true", True),
    "WEBSOCKET_SENTINEL_HOSTS": ("s1", ("s1",)),
    "REDIS_SENTINEL_HOSTS": ("s2", ("s2",)),
    "WEBSOCKET_SENTINEL_PORT": ("1111", 1111),
    "REDIS_SENTINEL_PORT": ("2222", 2222),
    "OPENAI_API_KEY": ("sk-1", "sk-1"),
    "OPENAI_BASE_URL": ("http://localhost:1/v1", "http://localhost:1/v1"),
    "OPENAI_MODEL": ("tiny", "tiny"),
}


def plain(value: Any) -> Any:
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


def test_every_known_name_has_a_case_here() -> None:
    assert KNOWN_VALUES.keys() == KNOWN_NAMES.keys()


@pytest.mark.parametrize("name", KNOWN_NAMES)
def test_a_known_name_sets_its_setting(tmp_path: Path, name: str) -> None:
    text, value = KNOWN_VALUES[name]
    # Cluster and Sentinel settings are refused without an address.
    environ = {"PARLOUR_REDIS_URL": "redis://x"} if KNOWN_NAMES[name] != "redis_url" else {}

    settings = load(tmp_path, {**environ, name: text})

    assert plain(getattr(settings, KNOWN_NAMES[name])) == value


def test_their_defaults_are_the_ones_that_deployments_rely_on(tmp_path: Path) -> None:
    settings = load(tmp_path)

    assert settings.websocket
    assert (settings.ping_interval_seconds, settings.ping_timeout_seconds) == (25, 20)
    assert settings.max_messages_per_session == 1000
    assert settings.session_expiry_seconds == 1200
    assert settings.session_sync_interval_seconds == 300


def test_our_own_name_wins_over_a_known_one(tmp_path: Path) -> None:
    settings = load(
        tmp_path, {"SESSION_EXPIRY_SECONDS": "5", "PARLOUR_SESSION_EXPIRY_SECONDS": "6"}
    )

    assert settings.session_expiry_seconds == 6


def test_an_empty_known_name_counts_as_not_set(tmp_path: Path) -> None:
    settings = load(tmp_path, {"REDIS_URL": "", "OPENAI_API_KEY": "", "WEBSOCKET_MANAGER": ""})

    assert settings.redis_url is None
    assert settings.openai_api_key is None


def test_a_hosted_redis_is_reached_at_its_tls_endpoint(tmp_path: Path) -> None:
    environ = {
        "UPSTASH_REDIS_REST_URL": "https://eager-cat-1.upstash.io",
        "UPSTASH_REDIS_REST_TOKEN": "to/ken=",
    }

    settings = load(tmp_path, environ)

    assert plain(settings.redis_url) == "rediss://default:to%2Fken%3D@eager-cat-1.upstash.io:6379"


# -- mistakes --------------------------------------------------------------------------------------


def test_every_mistake_is_told_at_once_with_its_place_and_remedy(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PARLOUR_LOG_LEVEL=loud\n")
    (tmp_path / "parlour.toml").write_text("sign_upp = true\n")
    environ = {"PARLOUR_PORT": "99999", "PARLOUR_WORKERS": "many", "PARLOUR_PROT": "1"}

    told = problems(tmp_path, environ, host="")

    assert len(told) == 6
    for place in (
        "PARLOUR_PORT in the environment",
        "PARLOUR_WORKERS in the environment",
        "PARLOUR_PROT in the environment is not a setting: did you mean PARLOUR_PORT?",
        "PARLOUR_LOG_LEVEL in .env",
        "sign_upp in parlour.toml is not a setting: did you mean sign_up?",
        "host",
    ):
        assert any(line.startswith(place) for line in told), place


def test_a_value_that_may_be_secret_is_never_repeated(tmp_path: Path) -> None:
    environ = {
        "PARLOUR_REDIS_URL": "http://user:hunter2@host",
        "PARLOUR_DATABASE_URL": "mysql://user:hunter2@host/db",
    }

    told = problems(tmp_path, environ)

    assert len(told) == 2
    assert "hunter2" not in "".join(told)


def test_secrets_do_not_show_in_the_settings_text(tmp_path: Path) -> None:
    settings = load(tmp_path, openai_api_key="sk-hunter2", redis_url="redis://u:hunter2@h")

    assert "hunter2" not in repr(settings) + str(settings.model_dump())


@pytest.mark.parametrize(
    ("environ", "remedy"),
    [
        ({"PARLOUR_WORKERS": "2"}, "set redis_url, or workers = 1"),
        ({"PARLOUR_WORKERS": "2", "REDIS_URL": "redis://h"}, "set database_url to postgresql://"),
        ({"REDIS_CLUSTER": "true"}, "redis_cluster needs redis_url"),
        (
            {"REDIS_URL": "redis://h", "REDIS_CLUSTER": "1", "REDIS_SENTINEL_HOSTS": "s"},
            "remove one",
        ),
        ({"REDIS_SENTINEL_HOSTS": "one"}, "redis_sentinel_hosts needs redis_url"),
        ({"WEBSOCKET_MANAGER": "redis"}, "set WEBSOCKET_REDIS_URL"),
        ({"WEBSOCKET_MANAGER": "kafka"}, "the only value is redis"),
        ({"UPSTASH_REDIS_REST_URL": "https://h"}, "UPSTASH_REDIS_REST_TOKEN beside it"),
        ({"PARLOUR_OUTBOX_HIGH_BYTES": "9000000"}, "outbox_high_bytes must be below"),
        ({"PARLOUR_MAX_MESSAGE_BYTES": "1000000"}, "max_message_bytes must be below"),
        ({"PARLOUR_TLS_KEY": "nowhere.pem"}, "tls_key names no file"),
        ({"PARLOUR_ALLOWED_ORIGINS": "example.org"}, "https://host[:port]"),
        ({"PARLOUR_TRUSTED_PROXIES": "proxy"}, "does not appear to be an IPv4 or IPv6 network"),
        ({"PARLOUR_USER_ENV": "not a name"}, "is not a variable's name"),
        ({"PARLOUR_REDIS_KEY_PREFIX": "a b"}, "PARLOUR_REDIS_KEY_PREFIX in the environment"),
        ({"PARLOUR_CONFIG": "missing.toml"}, "cannot be read"),
    ],
)
def test_a_mistake_is_told_with_its_remedy(
    tmp_path: Path, environ: dict[str, str], remedy: str
) -> None:
    told = problems(tmp_path, environ)

    assert any(remedy in line for line in told), told


def test_a_torn_toml_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "parlour.toml").write_text("port = \n")

    told = problems(tmp_path)

    assert "parlour.toml cannot be read" in told[0]


# -- the page --------------------------------------------------------------------------------------


def test_the_page_of_all_settings_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == settings_page(), "run `make docs`"


def test_every_setting_is_on_the_page_with_a_meaning() -> None:
    page = settings_page()

    for name, info in Settings.model_fields.items():
        assert f"| `{name}` |" in page
        assert info.description
