"""The rows of a local file: jsonl, csv, tsv or parquet. Bad rows are reported with their file and line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pet_cli.errors import UserError, choices

SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet")


def read_rows(path: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    """The rows of a jsonl, csv, tsv or parquet file, each with its place for messages ("file.csv, line 7").

    Raises:
        UserError: missing, empty, not UTF-8, or a broken row.
    """
    if not path.is_file():
        raise UserError(f"No file {path}.")
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: unknown kind of file; allowed are {choices(SUFFIXES)}.")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty.")
    if path.suffix == ".parquet":
        yield from _read_parquet(path)
        return
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: not UTF-8. Convert the file to UTF-8.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    yield from _read_jsonl(path, text) if path.suffix == ".jsonl" else _read_csv(path, text)


def _read_jsonl(path: Path, text: str) -> Iterable[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number}: not a JSON object ({error}).") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: not a JSON object but {type(row).__name__}.")
        yield f"{path}, line {number}", row


def _read_csv(path: Path, text: str) -> Iterable[tuple[str, dict[str, Any]]]:
    separator = "\t" if path.suffix == ".tsv" else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if not cells:
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                continue
            if len(cells) != len(header):
                raise UserError(
                    f"{path}, line {reader.line_num}: {len(cells)} columns where the header has {len(header)}."
                )
            yield f"{path}, line {reader.line_num}", dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}.") from None


def _read_parquet(path: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    import pyarrow.lib
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.lib.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a parquet file that can be read ({str(error).splitlines()[0]}).") from None
    for number, row in enumerate(table.to_pylist(), start=1):
        yield f"{path}, row {number}", row
