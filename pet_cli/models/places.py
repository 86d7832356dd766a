"""Where a model lies, told without loading it. Torch-free."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

EMBEDDED = Path(__file__).parent.parent / "embedded" / "model"
_MADE_HERE = ("embedded", "random", "smollm2")


def folder_of(name: str) -> Path | None:
    """The user's folder that a model's name means; None for one of the hub, and for those that come with the code."""
    folder = Path(name).expanduser()
    return folder if name not in _MADE_HERE and folder.is_dir() else None


def located(name: str) -> str:
    """The name, that of a folder in full: it then means the same wherever it is read. `~` is left as it is."""
    if folder_of(name) is None or name.startswith("~"):
        return name
    return str(Path(name).resolve())


def stamp(name: str) -> str | None:
    """Identifies the files of a model's folder by their names, sizes and times; None where `folder_of` is None."""
    folder = folder_of(name)
    if folder is None:
        return None
    files = sorted((entry.name, entry.stat()) for entry in os.scandir(folder) if entry.is_file())
    told = "\n".join(f"{file} {stat.st_size} {stat.st_mtime_ns}" for file, stat in files)
    return hashlib.sha256(told.encode(errors="surrogateescape")).hexdigest()[:16]
