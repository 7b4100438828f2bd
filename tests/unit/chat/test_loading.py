"""Loading an app's file: separate each time, and clear when it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import parlour as cl

APP = "import parlour as cl\n\n@cl.on_message\nasync def reply(message):\n    ...\n"


def write(folder: Path, text: str, name: str = "app.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_file_is_loaded_with_its_own_registry_each_time(tmp_path: Path) -> None:
    path = write(tmp_path, APP)
    first, second = cl.load_app(path), cl.load_app(str(path))

    assert first is not second
    assert first.handles("on_message")
    assert second.handles("on_message")
    assert not first.handles("on_chat_start")


def test_modules_beside_the_file_can_be_imported(tmp_path: Path) -> None:
    write(tmp_path, "WORD = 'hello'\n", "words_beside_app.py")
    path = write(tmp_path, "from words_beside_app import WORD\n" + APP)

    assert cl.load_app(path).handles("on_message")


def test_name_and_description_come_from_the_file(tmp_path: Path) -> None:
    named = write(tmp_path, f'"""Answers letters.\n\nAt length."""\n{APP}', "letter_desk.py")
    described = write(tmp_path, APP + "cl.describe(name='Desk', description='Letters')\n", "b.py")

    one, two, three = cl.load_app(named), cl.load_app(described), cl.load_app(write(tmp_path, APP))
    assert (one.name, one.description) == ("Letter desk", "Answers letters.")
    assert (two.name, two.description) == ("Desk", "Letters")
    assert three.name == "Assistant"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("import parlour as cl\nx = (\n", 2, "SyntaxError"),
        ("import parlour as cl\n\nraise KeyError('x')\n", 3, "KeyError"),
        ("import parlour as cl\n\n\ncl.on_massage\n", 4, "on_massage"),
        ("import no_such_module_anywhere\n", 1, "no_such_module_anywhere"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit"),
        ("import parlour as cl\n@cl.on_message\ndef f(a, b): ...\n", 2, "needs more than"),
    ],
)
def test_a_mistake_is_reported_with_file_and_line(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    path = write(tmp_path, text)

    with pytest.raises(cl.AppLoadError) as caught:
        cl.load_app(path)

    [problem] = caught.value.problems
    assert problem.startswith(f"{path}:{line}: ")
    assert words in problem


def test_an_app_without_handlers_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(cl.AppLoadError, match="no handler is registered"):
        cl.load_app(write(tmp_path, "import parlour as cl\n"))


@pytest.mark.parametrize("target", ["missing.py", "not a module!", "no_such_package.module"])
def test_what_is_not_there_is_said_so(target: str) -> None:
    with pytest.raises(cl.AppLoadError) as caught:
        cl.load_app(target)

    assert target.split(".")[0] in caught.value.problems[0]


def test_a_module_is_loaded_by_its_dotted_name_again_and_again() -> None:
    first, second = cl.load_app("parlour.demo.app"), cl.load_app("parlour.demo.app")

    assert first.name == second.name == "Parlour demo"
    assert first.handles("on_message")
    assert second.handles("on_message")


def test_an_attribute_may_be_a_chat_app_or_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    write(
        tmp_path,
        "import parlour as cl\nready = cl.ChatApp.empty()\n"
        "def make():\n    return ready\nwrong = 3\n",
        "attribute_app.py",
    )

    assert cl.load_app("attribute_app:ready") is cl.load_app("attribute_app:make")
    with pytest.raises(cl.AppLoadError, match="is not a ChatApp"):
        cl.load_app("attribute_app:wrong")


def test_importing_parlour_imports_nothing_else() -> None:
    code = "import sys, parlour; print([m for m in sys.modules if m.startswith('parlour.')])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert out.stdout.strip() == "[]"


def test_every_name_of_the_package_can_be_imported() -> None:
    missing = [name for name in cl.__all__ if not hasattr(cl, name)]

    assert missing == []
    assert set(cl.__all__) <= set(dir(cl))
    with pytest.raises(AttributeError, match="no attribute 'Massage'"):
        cl.Massage  # type: ignore[attr-defined]  # noqa: B018
