"""Word vectors in the text format of word2vec or GloVe: a word and its numbers a line; word2vec's first line says how
many words and numbers there are. A file may be gzipped. Torch-free.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pet_cli.errors import UserError


@dataclass(frozen=True)
class Vectors:
    """The vectors of a file.

    Attributes:
        places: word -> its row.
        matrix: `[words, width]`, float32.
        digest: identifies what was read.
    """

    places: dict[str, int]
    matrix: np.ndarray
    digest: str


def read_vectors(path: Path, limit: int | None = None) -> Vectors:
    """Reads a file's first `limit` words, or all; of a word that stands there twice, the first is taken.

    Raises:
        UserError: missing, no text in UTF-8, a line with a word alone, with another number of numbers than the first
            or with none, or fewer words than the first line promises; with file and line.
    """
    places: dict[str, int] = {}
    rows: list[np.ndarray] = []
    digest = hashlib.sha256()
    width: int | None = None
    promised: int | None = None
    number = 0
    for number, line in _lines(path):
        digest.update(line.encode())
        if number == 1 and (header := _header(line)) is not None:
            promised, width = header
            continue
        if limit is not None and len(rows) == limit:
            break
        if not line.strip():
            raise UserError(f"{path}, line {number}: empty; a word and its numbers are needed.")
        word, numbers = _divided(line, width, f"{path}, line {number}")
        width = len(numbers)
        if word not in places:
            places[word] = len(rows)
            rows.append(numbers)
    if not rows:
        raise UserError(f"{path} holds no word vectors.")
    if promised is not None and limit is None and number - 1 != promised:
        raise UserError(
            f"{path}: its first line promises {promised} words, and {number - 1} are there: it is not whole."
        )
    return Vectors(places, np.stack(rows), digest.hexdigest()[:16])


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    if not path.is_file():
        raise UserError(f"{path}: no such file of word vectors.")
    number = 0
    try:
        with path.open("rb") as start:
            packed = start.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                yield number, line.decode("utf-8").removesuffix("\n").rstrip("\r ")
    except UnicodeDecodeError:
        raise UserError(
            f"{path}, line {number}: not text in UTF-8; the text format of word2vec or GloVe is read, not the binary."
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def _header(line: str) -> tuple[int, int] | None:
    parts = line.split(" ")
    return (int(parts[0]), int(parts[1])) if len(parts) == 2 and all(part.isdecimal() for part in parts) else None


def _divided(line: str, width: int | None, place: str) -> tuple[str, np.ndarray]:
    """A line's word and numbers. A word may hold spaces, as some of GloVe's do, but no number behind one."""
    parts = line.split("\t") if "\t" in line and " " not in line else line.split(" ")
    behind = len(parts) - (width if width is not None else len(parts) - 1)
    word, written = " ".join(parts[:behind]), parts[max(behind, 0) :]
    if behind < 1 or any(map(_is_number, parts[1:behind])):
        given = sum(map(_is_number, parts[1:]))
        raise UserError(f"{place}: {given} numbers, where the lines before have {width}.")
    try:
        numbers = np.array(written, dtype=np.float32)
    except ValueError:
        bad = next(part for part in written if not _is_number(part))
        raise UserError(f"{place}: '{bad[:40]}' is no number.") from None
    if not len(numbers):
        raise UserError(f"{place}: a word without numbers.")
    if not np.isfinite(numbers).all():
        raise UserError(f"{place}: a number that is NaN or infinite.")
    return word, numbers


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
