"""Files as this program writes them: whole or not at all, and in no place of anything but a plain file.

What is being written lies in a folder of its own beside its place, named so that nothing else is (`_PARTIAL`), until
it is whole. A killed process leaves that folder behind, and `remove_partial` knows it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pet_cli.errors import UserError

_PARTIAL = ".pet-partial"


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary path whose file takes the place of `path` when the block ends without an error.

    A link stays, and what it points to is replaced; a device or a pipe is written to. A file that is replaced keeps
    its permissions.

    Raises:
        UserError: the file cannot be written, in the block as elsewhere; what stood there stands there still.
    """
    with _one_line(path):
        if _through(path):
            with tempfile.TemporaryDirectory(suffix=_PARTIAL) as folder:
                temporary = Path(folder) / "whole"
                yield temporary
                with temporary.open("rb") as whole, path.open("wb") as out:
                    shutil.copyfileobj(whole, out)
            return
        place = Path(os.path.realpath(path))
        if place.is_dir():
            raise UserError(f"Cannot write {path}: it is a folder.")
        with _partial(place) as folder:
            yield folder / place.name
            (folder / place.name).chmod(_mode(place))
            (folder / place.name).replace(place)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """As `atomic`, of a whole folder: one of that name that lies there is replaced."""
    with _one_line(path), _partial(path) as folder:
        whole = folder / path.name
        whole.mkdir()
        yield whole
        if path.is_dir():
            path.replace(folder / "before")  # goes with the folder of the temporary
        whole.replace(path)


@contextlib.contextmanager
def _partial(place: Path) -> Iterator[Path]:
    """A folder beside `place` for what is being written; whatever is left in it goes when the block ends."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"Cannot write {place}: what its folder would be is a file.") from None
    folder = Path(tempfile.mkdtemp(dir=place.parent, prefix=".", suffix=_PARTIAL))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """What the system says against writing `path`, as one line; safetensors tells of it in words of its own."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        if error.filename is None or _is_about(str(error.filename), path) or error.errno == errno.ENOSPC:
            raise UserError(f"Cannot write {path}: {error.strerror}.") from None
        raise
    except Exception as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None or type(error).__module__.partition(".")[0] != "safetensors":
            raise
        raise UserError(f"Cannot write {path}: {os.strerror(int(number[1]))}.") from None


def _is_about(told: str, path: Path) -> bool:
    """Whether a name that the system tells is in the way of writing `path`: it, or what it links to, lies beside or
    below it."""
    name, folders = Path(told).absolute(), (path.absolute().parent, Path(os.path.realpath(path)).parent)
    return any(name.is_relative_to(folder) or folder.is_relative_to(name) for folder in folders)


def _through(path: Path) -> bool:
    """Whether a path is a device or a pipe, or one of the names that a process's open files have."""
    try:
        kind = path.stat().st_mode
    except OSError:
        return False
    if stat.S_ISREG(kind):
        return str(path.absolute()).startswith(("/dev/", "/proc/"))
    return not stat.S_ISDIR(kind)


def _mode(place: Path) -> int:
    """The permissions of the file that is replaced, or those of any new file."""
    try:
        return stat.S_IMODE(place.stat().st_mode)
    except OSError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one process is inside for a folder, and on a network file system as far as that one has locks.

    Raises:
        UserError: another process has been inside for a minute, or left its lock there when it died.
    """
    from filelock import FileLock, Timeout

    lock = folder / ".lock"
    try:
        with FileLock(lock, timeout=60):
            try:
                yield
            finally:
                with contextlib.suppress(OSError):  # Windows does not let go of an open file
                    lock.unlink()
    except Timeout:
        raise UserError(f"{folder}: another process holds it. If none is at work there, remove {lock}.") from None


def is_empty(folder: Path) -> bool:
    """Whether nothing lies in a folder but what this program leaves where it is killed."""
    return all(path.name == ".lock" or path.name.endswith(_PARTIAL) for path in folder.iterdir())


def remove_partial(folder: Path, below: bool = True) -> None:
    """Removes what a killed process was still writing into a run's folder and, `below`, into those of its members."""
    for path in folder.iterdir():
        if path.is_symlink() or not path.is_dir():
            continue
        if path.name.startswith(".") and path.name.endswith(_PARTIAL):
            shutil.rmtree(path, ignore_errors=True)
        elif below:
            remove_partial(path)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8; half a surrogate pair, which is no text, as the escape that JSON and YAML know for it."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_json(path: Path) -> Any:
    """Raises `UserError` where the file is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"No file {path}.") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from None


def read_object(path: Path) -> dict[str, Any]:
    """As `read_json`, of a mapping."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged: it is not a mapping.")
    return found


def read_jsonl(path: Path) -> list[Any]:
    """What `write_jsonl` wrote. A line ends at a line feed alone: a text may hold other ends of lines of Unicode's.

    Raises:
        OSError, ValueError: the file is missing or damaged.
    """
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
