"""Lines of a corpus that share a sentence with a test file: a model that has read them is not a stranger to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .text import UserError

LEAST = 4  # words of a sentence that counts; a shorter one stands in any text
Words = tuple[str, ...]


def words(text: str) -> Words:
    """Letters and digits in lower case, so that spaces, apostrophes and quotes make no difference."""
    return tuple(re.findall(r"[^\W_]+", text.lower()))


def texts(value: Any) -> Iterator[str]:
    """The strings in a row of a data set, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts(inner)


def sentences(file: Path) -> set[Words]:
    """The sentences of a file of texts: of *.jsonl each string of a row, of any other file each line."""
    found = set()
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    row = json.loads(line) if file.suffix == ".jsonl" and line.strip() else line
                except ValueError as error:
                    raise UserError(f"--avoid: {file}, line {number}, is not JSON: {error}") from error
                found |= {words(part) for text in texts(row) for part in re.split(r"(?<=[.!?;])\s", text)}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--avoid: cannot read {file}: {error}") from error
    return {sentence for sentence in found if len(sentence) >= LEAST}


class Overlap:
    """Which lines hold one of the sentences, word for word."""

    def __init__(self, found: Iterable[Words]):
        self.by_start: dict[Words, set[Words]] = {}
        for sentence in found:
            self.by_start.setdefault(sentence[:LEAST], set()).add(sentence)

    def __call__(self, line: str) -> set[Words]:
        """The sentences that stand in a line."""
        there = words(line)
        starts = (
            (place, self.by_start.get(there[place : place + LEAST], ())) for place in range(len(there) - LEAST + 1)
        )
        return {found for place, some in starts for found in some if there[place : place + len(found)] == found}


def leave_out(lines: dict[str, list[str]], files: list[Path]) -> tuple[dict[str, list[str]], dict[str, int]]:
    """The corpus without the lines that share a sentence with one of the files, and how many those were, by name (of
    those that lost any)."""
    if not files:
        return lines, {}
    overlap = Overlap(sentence for file in files for sentence in sentences(file))
    kept = {name: [line for line in some if not overlap(line)] for name, some in lines.items()}
    return kept, {name: len(some) - len(kept[name]) for name, some in lines.items() if len(some) > len(kept[name])}
