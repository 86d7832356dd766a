"""The rows of files: jsonl, json, csv, tsv or parquet. Bad rows are reported with their file and line.

One rule for quotes and separators: a tsv has none, a csv's cells may be quoted with `"`, and its separator is named,
or else the one of `,` `;` tab `|` that divides the header and the rows behind it alike into the most columns.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pet_cli.config.schema import SEPARATORS
from pet_cli.errors import UserError, choices

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_LINES_LOOKED_AT = 200

Rows = Iterator[tuple[str, dict[str, Any]]]
"""Rows, each with its place for messages ("file.csv, line 7")."""


def kind_of(path: Path) -> str | None:
    """A file's kind by its name, one of `SUFFIXES`, whatever the case and whether compressed (.gz) or not, or None."""
    name = path.name.lower().removesuffix(".gz")
    kind = Path(name).suffix
    return kind if kind in SUFFIXES and (kind != ".parquet" or not path.name.lower().endswith(".gz")) else None


def read_rows(path: Path, separator: str | None = None) -> Rows:
    """The rows of a file, one at a time, each with its place for messages.

    A row is a dict by column; what a value is belongs to whoever reads it (`fields`, `labels`).

    Args:
        separator: of a csv, as `data.separator` has it, where it is not to be found.

    Raises:
        UserError: missing, empty, not UTF-8, two columns of one name, or a broken row.
    """
    if not path.is_file():
        raise UserError(f"No file {path}.")
    kind = kind_of(path)
    if kind is None:
        raise UserError(f"{path}: unknown kind of file; allowed are {choices(SUFFIXES)}, and .gz but for parquet.")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty.")
    if kind == ".parquet":
        yield from _read_parquet(path)
        return
    with _text(path) as lines:
        if kind == ".csv":
            yield from _read_csv(path, lines, separator)
        elif kind == ".tsv":
            yield from _read_tsv(path, lines)
        elif kind == ".json":
            yield from _read_json(path, lines)
        else:
            yield from _read_jsonl(path, lines)


@contextmanager
def _text(path: Path) -> Iterator[Iterator[str]]:
    """The lines of a text file with their ends, checked."""
    try:
        with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as stream:
            yield _decoded(path, stream)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def _decoded(path: Path, stream: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(stream, start=1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if b"\0" in line:
            raise UserError(f"{path}, line {number}: holds a NUL character. Convert the file to UTF-8 text.")
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError:
            raise UserError(f"{path}, line {number}: not UTF-8. Convert the file to UTF-8.") from None


# --- JSON ----------------------------------------------------------------------------------------------------------


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"'{next(name for name in names if names.count(name) > 1)}' stands there twice")
    return found


def _read_jsonl(path: Path, lines: Iterable[str], first: int = 1) -> Rows:
    for number, line in enumerate(lines, start=first):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: not a JSON object ({error}).") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: not a JSON object but {type(row).__name__}.")
        yield f"{path}, line {number}", row


def _read_json(path: Path, lines: Iterator[str]) -> Rows:
    """A list of objects, or one object a line."""
    blank = 0
    for line in lines:
        if line.strip():
            break
        blank += 1
    else:
        return
    if not line.lstrip().startswith("["):
        yield from _read_jsonl(path, chain([line], lines), blank + 1)
        return
    try:
        rows = json.loads(line + "".join(lines), object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {blank + error.lineno}: not JSON ({error.msg}).") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}).") from None
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise UserError(f"{path}, row {number}: not a JSON object but {type(row).__name__}.")
        yield f"{path}, row {number}", row


# --- csv and tsv ---------------------------------------------------------------------------------------------------


def _read_csv(path: Path, lines: Iterator[str], separator: str | None) -> Rows:
    start = list(islice(lines, _LINES_LOOKED_AT))
    separator = SEPARATORS.get(separator, separator) if separator else _found_separator(start)
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a cell may hold a book
    reader = csv.reader(chain(start, lines), delimiter=separator, strict=True)
    begins = 1

    def cells() -> Iterator[tuple[int, list[str]]]:
        nonlocal begins
        while True:
            begins = reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise UserError(f"{path}, line {begins}: {_why(error)}") from None
            yield begins, row

    yield from _table(path, cells(), f"columns divided by {_name(separator)}", "data.separator names another")


def _why(error: csv.Error) -> str:
    said = str(error)
    if "unexpected end of data" in said:
        return "a quote is opened and never closed."
    if "expected after" in said:
        return 'a quoted cell goes on after its closing quote; a quote inside a quoted cell is doubled, "".'
    return f"{said}."


def _read_tsv(path: Path, lines: Iterable[str]) -> Rows:
    rows = ((number, line.rstrip("\r\n").split("\t")) for number, line in enumerate(lines, start=1))
    cells = ((number, [] if row == [""] else row) for number, row in rows)
    yield from _table(path, cells, "columns divided by tabs", "a tsv has no quotes: name a quoted file .csv")


def _table(path: Path, rows: Iterable[tuple[int, list[str]]], divided: str, way_out: str) -> Rows:
    """Rows by the names of the first, which are the columns'."""
    header: list[str] | None = None
    for line, cells in rows:
        if not cells:
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            _check_names(path, [name for name in header if name])
            continue
        if len(cells) != len(header):
            raise UserError(
                f"{path}, line {line}: {len(cells)} columns where the header has {len(header)} ({divided}; {way_out})."
            )
        yield f"{path}, line {line}", {name: cell for name, cell in zip(header, cells, strict=True) if name}


def _check_names(path: Path, names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{path}: two columns are named '{twice}'.{headless(names)}")


def headless(names: Iterable[object]) -> str:
    """A sentence where the names of a file's columns look like a row of it, or `""`."""
    texts = [str(name) for name in names]
    if any(len(text.split()) > 4 or re.fullmatch(r"[+-]?\d+(\.\d+)?", text) for text in texts):
        return " The first line must name the columns, and seems to be a row: does the file lack a header?"
    return ""


def _found_separator(start: list[str]) -> str:
    """The separator that divides the header and most rows behind it into equally many columns, and into the most."""
    found: dict[str, tuple[float, int]] = {}
    for separator in SEPARATORS.values():
        rows = []
        with suppress(csv.Error):  # the beginning may end within a quoted cell
            for row in csv.reader(start, delimiter=separator, strict=True):
                rows += [row] if row else []
        if rows and len(rows[0]) > 1:
            found[separator] = (sum(len(row) == len(rows[0]) for row in rows) / len(rows), len(rows[0]))
    return max(found, key=found.__getitem__, default=SEPARATORS["comma"])


def _name(separator: str) -> str:
    return "tabs" if separator == "\t" else f"'{separator}'"


# --- parquet -------------------------------------------------------------------------------------------------------


def _read_parquet(path: Path) -> Rows:
    import pyarrow.lib
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            _check_names(path, list(file.schema_arrow.names))
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", _decoded_bytes(row)
    except (pyarrow.lib.ArrowException, OSError, ValueError, OverflowError) as error:
        # Text that is not UTF-8 and dates that Python does not know, in any column, are told by errors of Python's own.
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path}: not a parquet file that can be read ({why}).") from None


def _decoded_bytes(row: dict[str, Any]) -> dict[str, Any]:
    """Text that was written as bytes, as text; what is no text stays bytes."""
    for name, value in row.items():
        if isinstance(value, bytes):
            with suppress(UnicodeDecodeError):  # left to whoever reads the column, if anybody does
                row[name] = value.decode("utf-8")
    return row
