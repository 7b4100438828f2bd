"""Loading an author's file or module."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from parlour.chat.application import ChatApp
from parlour.chat.registry import MODULE_REGISTRY, Registry, registering
from parlour.errors import SettingsError

_serial: Final = itertools.count(1)
_MODULE = re.compile(r"[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?\Z")


class AppLoadError(SettingsError):
    """The app's file cannot be loaded; the message begins with `file:line`."""


def load_app(target: str | Path) -> ChatApp:
    """Load an app from a file (`app.py`) or a module (`package.module`,
    `package.module:attribute`).

    Each call runs a file anew, with a registry of its own, so that two apps never mix. The
    attribute may be a `ChatApp`, or a function without arguments that gives one back. Raises
    `AppLoadError`.
    """
    text = str(target)
    path = Path(text)
    if path.suffix == ".py" or path.is_file():
        return _load_file(path)
    if not _MODULE.match(text):
        raise AppLoadError([f"{text}: give a Python file (app.py) or a module (package.module)"])
    module, _, attribute = text.partition(":")
    return _load_module(module, attribute)


def _load_file(path: Path) -> ChatApp:
    path = path.resolve()
    if not path.is_file():
        raise AppLoadError([f"{path}: there is no such file"])
    # The author's other modules lie beside the file, as they do for `python app.py`.
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    name = f"parlour_app_{next(_serial)}_{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise AppLoadError([f"{path}: this is not a Python file"])
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with registering(Registry()) as registry:
        setattr(module, MODULE_REGISTRY, registry)
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            sys.modules.pop(name, None)
            raise AppLoadError([_explain(error, path)]) from error
    return _make(registry, module, path.stem, str(path))


def _load_module(name: str, attribute: str) -> ChatApp:
    sys.path[:0] = [] if "" in sys.path or str(Path.cwd()) in sys.path else [str(Path.cwd())]
    with registering(Registry()) as registry:
        try:
            module = importlib.import_module(name)
        except (Exception, SystemExit) as error:
            raise AppLoadError([_explain(error, Path(name))]) from error
    if attribute:
        return _named(module, attribute)
    # A module that was imported before left its callbacks in itself.
    found = registry or getattr(module, MODULE_REGISTRY, registry)
    setattr(module, MODULE_REGISTRY, found)
    return _make(found, module, name.rpartition(".")[2], name)


def _named(module: ModuleType, attribute: str) -> ChatApp:
    found: Any = getattr(module, attribute, None)
    if callable(found) and not isinstance(found, ChatApp):
        found = found()
    if not isinstance(found, ChatApp):
        raise AppLoadError([f"{module.__name__}:{attribute} is not a ChatApp"])
    return found


def _make(registry: Registry, module: ModuleType, stem: str, place: str) -> ChatApp:
    if not registry:
        raise AppLoadError(
            [f"{place}: no handler is registered: write at least one function under @cl.on_message"]
        )
    description = (module.__doc__ or "").strip().partition("\n")[0]
    return ChatApp(registry, name=_title(stem), description=description)


def _title(stem: str) -> str:
    """A readable name from a file's: `my_app` → `My app`; `app` and `main` say nothing."""
    words = stem.replace("_", " ").replace("-", " ").strip()
    return "Assistant" if words in ("app", "main", "") else words[0].upper() + words[1:]


def _explain(error: BaseException, path: Path) -> str:
    """`file:line: kind: message`, with the innermost line of the app's own code."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    folder = str(path.parent) if path.suffix else ""
    own = [f for f in frames if folder and f.filename.startswith(folder)] or [
        f for f in frames if "importlib" not in f.filename and f.filename != __file__
    ]
    place = f"{own[-1].filename}:{own[-1].lineno}" if own else str(path)
    return f"{place}: {type(error).__name__}: {error}"
