"""Text to mine in: a folder of text files, or the unlabeled texts of the task; a paragraph or sentence a line."""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pet_cli.errors import UserError

_OPEN: dict[str, Any] = {".txt": open, ".gz": gzip.open, ".xz": lzma.open}


def text_files(folder: str) -> list[Path]:
    """The files `*.txt`, `*.txt.gz` and `*.txt.xz` of `search.corpus`. Raises `UserError` where there are none."""
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise UserError(f"search.corpus={folder}: no such folder.")
    found = sorted(path for path in place.iterdir() if path.name.lower().endswith((".txt", ".txt.gz", ".txt.xz")))
    if not found:
        raise UserError(f"search.corpus={folder}: no *.txt, *.txt.gz or *.txt.xz there.")
    return found


def lines(paths: list[Path]) -> Iterator[str]:
    """The lines of files, one file after the other. Raises `UserError` for one that cannot be read."""
    for path in paths:
        try:
            with _OPEN[path.suffix.lower()](path, "rt", encoding="utf-8", errors="replace") as stream:
                for line in stream:
                    yield line.strip()
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise UserError(f"{path}: cannot be read: {error}.") from None
