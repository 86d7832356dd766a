"""Lines of a corpus that share a sentence with a test file: a model that has read them is not a stranger to it."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .text import UserError

LEAST = 4  # words of a sentence that counts, or twice as many signs; a shorter one stands in any text
Words = tuple[str, ...]
_SIGNS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_SIGNS}]|[^\W_{_SIGNS}]+")
_SIGN = re.compile(rf"[{_SIGNS}]")
_BORDER = re.compile(r"(?<=[.!?;])\s|(?<=[。！？；])")


def words(text: str) -> Words:
    """Letters and digits in lower case, so that spaces, apostrophes and quotes make no difference; a sign of Chinese or
    Japanese, which know no spaces, alone."""
    return tuple(_WORD.findall(text.lower()))


def counts(sentence: Words) -> bool:
    """Whether a sentence is long enough to tell a text by; a sign is half a word."""
    signs = sum(_SIGN.match(word) is not None for word in sentence)
    return len(sentence) - signs / 2 >= LEAST


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
                found |= {words(part) for text in texts(row) for part in _BORDER.split(text)}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--avoid: cannot read {file}: {error}") from error
    return set(filter(counts, found))


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
    """The corpus without the lines that share a sentence with one of the files, and how many went, by name (of those
    that lost any). Where blank lines divide documents, one that has such a line goes whole: what stood on both sides of
    the line does not follow one another.

    Raises:
        UserError: nothing is left.
    """
    if not files:
        return lines, {}
    overlap = Overlap(sentence for file in files for sentence in sentences(file))
    kept = {name: _strange(some, overlap) for name, some in lines.items()}
    if any(map(any, lines.values())) and not any(map(any, kept.values())):
        raise UserError("--avoid: every line shares a sentence with one of the files")
    return kept, {name: len(some) - len(kept[name]) for name, some in lines.items() if len(some) > len(kept[name])}


def _strange(lines: list[str], overlap: Overlap) -> list[str]:
    """The lines, or the documents between blank lines, that share no sentence."""
    blocks = [(filled, list(block)) for filled, block in itertools.groupby(lines, bool)]
    if sum(filled for filled, _ in blocks) < 2:
        return [line for line in lines if not overlap(line)]
    return [line for _, block in blocks if not any(map(overlap, block)) for line in block]
