"""The command line, command by command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from parlour.cli import cli
from parlour.cli.scaffold import FILES

PASSWORD = "long enough\n"


class Terminal:
    """Runs commands on one data folder, in one working folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = str(folder / "data")

    def run(self, *arguments: str, typed: str = "") -> Result:
        return CliRunner().invoke(cli, list(arguments), input=typed)

    def ok(self, *arguments: str, typed: str = "") -> str:
        result = self.run(*arguments, "--data", self.data, typed=typed)
        assert result.exit_code == 0, result.output
        return result.stdout


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return Terminal(tmp_path)


def test_help_names_every_command(terminal: Terminal) -> None:
    result = terminal.run("--help")

    assert result.exit_code == 0
    for command in ("run", "demo", "init", "user", "token", "keys", "migrate", "config"):
        assert command in result.stdout


def test_version(terminal: Terminal) -> None:
    result = terminal.run("--version")

    assert result.stdout.startswith("parlour 0.")


def test_the_first_administrator_is_added_listed_and_gets_a_token(terminal: Terminal) -> None:
    terminal.ok("user", "add", "Ann", "--admin", "--email", "ann@example.org", typed=PASSWORD)

    listed = terminal.ok("user", "list")
    token = terminal.ok("token", "ann@example.org", "--days", "1")

    assert "Ann" in listed
    assert "admin" in listed
    assert token.count(".") == 2
    assert token.count("\n") == 1


def test_disabling_shows_in_the_list_and_ends_tokens(terminal: Terminal) -> None:
    terminal.ok("user", "add", "Ann", typed=PASSWORD)

    terminal.ok("user", "disable", "Ann")

    assert "disabled" in terminal.ok("user", "list")
    refused = terminal.run("token", "Ann", "--data", terminal.data)
    assert refused.exit_code == 1
    assert "This account is disabled." in refused.stderr
    terminal.ok("user", "enable", "Ann")
    terminal.ok("user", "password", "Ann", typed="another one\n")


@pytest.mark.parametrize(
    ("arguments", "typed", "told"),
    [
        (["user", "add", "Bea"], "short\n", "A password has at least 8 characters."),
        (["user", "add", "Ann"], PASSWORD, "is taken"),
        (["user", "disable", "nobody"], "", "There is no user 'nobody'."),
        (["token", "nobody"], "", "There is no user 'nobody'."),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(
    terminal: Terminal, arguments: list[str], typed: str, told: str
) -> None:
    terminal.ok("user", "add", "Ann", typed=PASSWORD)

    result = terminal.run(*arguments, "--data", terminal.data, typed=typed)

    assert result.exit_code == 1
    assert told in result.stderr
    assert "Traceback" not in result.output


def test_keys_rotate_and_migrate(terminal: Terminal) -> None:
    rotated = terminal.ok("keys", "rotate")
    migrated = terminal.ok("migrate")

    assert "signed with key" in rotated
    assert migrated.strip().endswith("is up to date")


def test_a_data_folder_that_cannot_be_made_is_told(terminal: Terminal) -> None:
    (terminal.folder / "file").write_text("")

    result = terminal.run("user", "list", "--data", str(terminal.folder / "file" / "data"))

    assert result.exit_code == 1
    assert "cannot be made" in result.stderr


def test_every_mistake_of_the_configuration_is_listed(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARLOUR_PORT", "x")
    monkeypatch.setenv("PARLOUR_HOSTT", "y")

    result = terminal.run("config")

    assert result.exit_code == 1
    assert "2 mistakes in the configuration" in result.stderr
    assert "PARLOUR_PORT in the environment" in result.stderr
    assert "did you mean PARLOUR_HOST?" in result.stderr


def test_settings_are_printed_without_their_secrets(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://me:hunter2@cache.example:6380/1")
    monkeypatch.setenv("PARLOUR_DATABASE_URL", "postgresql://me:hunter2@db.example/chat")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hunter2")
    monkeypatch.setenv("PARLOUR_AGENT_SECRETS", "hunter2, hunter22")
    services = [{"name": "big", "model": "m", "api_key": "hunter2"}]
    monkeypatch.setenv("PARLOUR_MODEL_SERVICES", json.dumps(services))

    table = terminal.run("config").stdout
    values = json.loads(terminal.run("config", "--json").stdout)

    assert "hunter2" not in table + json.dumps(values)
    assert values["redis_url"] == "redis://***@cache.example:6380/1"
    assert values["database_url"] == "postgresql+asyncpg://***@db.example/chat"
    assert values["openai_api_key"] == "***"
    assert values["agent_secrets"] == ["***", "***"]
    assert values["model_services"][0]["name"] == "big"
    assert values["model_services"][0]["api_key"] == "***"
    assert values["port"] == 8000


def test_init_writes_an_app_that_loads(terminal: Terminal) -> None:
    from parlour.chat.loading import load_app

    result = terminal.run("init", "my-app")

    assert result.exit_code == 0
    assert sorted(f.name for f in (terminal.folder / "my-app").iterdir()) == sorted(FILES)
    app = load_app(terminal.folder / "my-app" / "app.py")
    assert app.handles("on_message")


def test_init_leaves_existing_files_alone(terminal: Terminal) -> None:
    (terminal.folder / "parlour.toml").write_text("port = 1\n")

    result = terminal.run("init")

    assert result.exit_code == 1
    assert "exists already" in result.stderr
    assert not (terminal.folder / "app.py").exists()


def test_an_app_that_does_not_load_is_told_with_its_line(terminal: Terminal) -> None:
    (terminal.folder / "broken.py").write_text("import parlour\n\n1 / 0\n")

    missing = terminal.run("run", "nothing.py")
    broken = terminal.run("run", "broken.py")

    assert (missing.exit_code, broken.exit_code) == (1, 1)
    assert "there is no such file" in missing.stderr
    assert "broken.py:3: ZeroDivisionError" in broken.stderr
