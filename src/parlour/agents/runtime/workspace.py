"""Files of one workspace, from outside of its sandbox and never out of the workspace.

What runs in the workspace may change it at any moment, so no path is looked at first and used later: each
is walked folder by folder from the workspace's own, relative to the one that is open, and a symbolic link
on the way is refused by the kernel (`O_NOFOLLOW`). Everything here blocks; call it in a thread.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from parlour.agents.errors import RuntimeUnavailable, WorkspaceEscape
from parlour.agents.ports import FileEntry
from parlour.errors import Conflict, InvalidPayload, NotFound, TooLarge

FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Not blocking: a pipe that somebody made in the workspace would be waited for without end."""

NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

CLOSED_FOLDERS: Final = frozenset(
    {".git", "node_modules", "__pycache__", ".venv", ".cache", ".mypy_cache", ".pytest_cache"}
)
"""Listed, but not what is in them."""

TEMPORARY: Final = ".parlour-"
"""How names of half-written files begin; they are not listed."""

MAX_DEPTH: Final = 40
MAX_PATH: Final = 4096


@dataclass(frozen=True, slots=True)
class Workspace:
    """`root` is the folder; files made here belong to `user`, where one is given. `durable` waits for the disk.
    Nothing in the folders named in `closed` is listed."""

    root: Path
    user: int | None = None
    read_bytes: int = 10_000_000
    listed_files: int = 5_000
    durable: bool = False
    closed: frozenset[str] = CLOSED_FOLDERS

    def create(self) -> None:
        """Make the folder; it is the workspace's user's alone."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            os.chmod(self.root, 0o700)
            if self.user is not None:
                os.chown(self.root, self.user, self.user)
        except OSError as error:
            raise RuntimeUnavailable(f"The workspace cannot be made: {error.strerror}.") from error

    def read(self, path: str) -> bytes:
        """A file, whole. Raises `NotFound`, `TooLarge`, `Conflict` where it is not a file."""
        with self._folder_of(path) as (folder, name):
            return self._read(folder, name, path)

    def write(self, path: str, content: bytes) -> None:
        """Create or replace, in one step for a reader. Raises `TooLarge`."""
        self._bound(len(content), path)
        with self._folder_of(path, create=True) as (folder, name):
            self._replace(folder, name, path, content)

    def edit(self, path: str, old: bytes, new: bytes) -> None:
        """Replace the one place where `old` stands. Raises `Conflict` where there is not exactly one."""
        with self._folder_of(path) as (folder, name):
            content = self._read(folder, name, path)
            count = content.count(old) if old else 0
            if count != 1:
                found = "is not in it" if count == 0 else f"stands in it {count} times"
                raise Conflict(f"{path}: the text to replace {found}.", count=count)
            changed = content.replace(old, new)
            self._bound(len(changed), path)
            self._replace(folder, name, path, changed)

    def delete(self, path: str) -> None:
        """Remove a file; one that is not there is removed already."""
        with suppress(NotFound), self._folder_of(path) as (folder, name):
            os.unlink(name, dir_fd=folder)
            if self.durable:
                os.fsync(folder)

    def entries(self, below: str = "") -> list[FileEntry]:
        """Files and folders below a folder, sorted by path; at most `listed_files`. Links are not followed."""
        found: list[FileEntry] = []
        with suppress(NotFound), self._opened(below) as folder:
            self._list(folder, f"{below.strip('/')}/" if below else "", 0, found)
        return sorted(found, key=lambda entry: entry.path)

    # -- one file --------------------------------------------------------------------------------

    def _read(self, folder: int, name: str, path: str) -> bytes:
        file = os.open(name, FILE, dir_fd=folder)
        with os.fdopen(file, "rb") as opened:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise Conflict(f"{path} is not a file.")
            self._bound(status.st_size, path)
            content = opened.read(self.read_bytes + 1)
        # A file may grow while it is read, and some of /proc say they are empty.
        self._bound(len(content), path)
        return content

    def _replace(self, folder: int, name: str, path: str, content: bytes) -> None:
        mode = _mode_of(folder, name, path)
        temporary = f"{TEMPORARY}{secrets.token_hex(8)}"
        file = os.open(temporary, NEW, mode, dir_fd=folder)
        try:
            with os.fdopen(file, "wb") as opened:
                opened.write(content)
                os.fchmod(file, mode)
                if self.user is not None:
                    os.fchown(file, self.user, self.user)
                if self.durable:
                    opened.flush()
                    os.fsync(file)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            if self.durable:
                os.fsync(folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise

    def _bound(self, size: int, path: str) -> None:
        if size > self.read_bytes:
            raise TooLarge(f"{path} is larger than {self.read_bytes} bytes.", limit=self.read_bytes)

    # -- the way to it ---------------------------------------------------------------------------

    @contextmanager
    def _folder_of(self, path: str, create: bool = False) -> Iterator[tuple[int, str]]:
        """The open folder of a path, and the name in it."""
        *parents, name = parts_of(path)
        with self._opened("/".join(parents), create) as folder, _translated(path):
            yield folder, name

    @contextmanager
    def _opened(self, path: str, create: bool = False) -> Iterator[int]:
        """An open folder."""
        with _translated(path):
            folder = os.open(self.root, FOLDER)
            try:
                for name in parts_of(path) if path else ():
                    folder = self._step(folder, name, create)
                yield folder
            finally:
                os.close(folder)

    def _step(self, folder: int, name: str, create: bool) -> int:
        if create:
            with suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=folder)
                if self.user is not None:
                    os.chown(name, self.user, self.user, dir_fd=folder, follow_symlinks=False)
        try:
            below = os.open(name, FOLDER, dir_fd=folder)
        except NotADirectoryError:
            _refuse_link(folder, name)
            raise
        os.close(folder)
        return below

    def _list(self, folder: int, prefix: str, depth: int, found: list[FileEntry]) -> None:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                if len(found) >= self.listed_files:
                    return
                with suppress(FileNotFoundError, PermissionError):
                    self._list_one(folder, prefix, depth, entry, found)

    def _list_one(
        self, folder: int, prefix: str, depth: int, entry: os.DirEntry[str], found: list[FileEntry]
    ) -> None:
        if entry.name.startswith(TEMPORARY):
            return
        status = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
        shown = entry.name.encode("utf-8", "replace").decode("utf-8", "replace")
        is_folder = stat.S_ISDIR(status.st_mode)
        changed = status.st_mtime_ns // 1_000_000
        size = 0 if is_folder else status.st_size
        found.append(FileEntry(prefix + shown, size, changed, is_folder))
        if is_folder and entry.name not in self.closed and depth < MAX_DEPTH:
            below = os.open(entry.name, FOLDER, dir_fd=folder)
            try:
                self._list(below, f"{prefix}{shown}/", depth + 1, found)
            finally:
                os.close(below)


def parts_of(path: str) -> list[str]:
    """The names of a relative path, at least one. Raises `WorkspaceEscape`, `InvalidPayload`."""
    if not path or "\0" in path or len(path.encode("utf-8", "replace")) > MAX_PATH:
        raise InvalidPayload("This is not a path.")
    if path.startswith(("/", "~/")) or path == "~":
        raise WorkspaceEscape(f"{path!r:.200} is not relative to the workspace.")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise WorkspaceEscape(f"{path!r:.200} leads out of the workspace.")
    if not parts:
        raise InvalidPayload("This path names no file.")
    return parts


def _mode_of(folder: int, name: str, path: str) -> int:
    """The rights of the file that is replaced."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return 0o644
    if stat.S_ISLNK(status.st_mode):
        raise WorkspaceEscape(f"{path} is a symbolic link.")
    if not stat.S_ISREG(status.st_mode):
        raise Conflict(f"{path} is not a file.")
    return stat.S_IMODE(status.st_mode) & 0o777


def _refuse_link(folder: int, name: str) -> None:
    if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        raise WorkspaceEscape(f"{name!r} is a symbolic link.")


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"{path} does not exist.") from error
    except (IsADirectoryError, NotADirectoryError) as error:
        raise Conflict(f"{path}: {error.strerror}.") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise WorkspaceEscape(f"{path} is a symbolic link.") from error
        if error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
            raise InvalidPayload(f"This is not a path: {error.strerror}.") from error
        if error.errno == errno.ENXIO:
            raise Conflict(f"{path} is not a file.") from error
        raise RuntimeUnavailable(f"{path}: {error.strerror}.") from error
