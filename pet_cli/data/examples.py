"""Examples: texts by field and a label index, and the splits they come in."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """One row: its number in the source (from 0), its texts by field, its label's index (None: unlabeled)."""

    row: int
    fields: Mapping[str, str]
    label: int | None


@dataclass(frozen=True)
class Split:
    """The examples of one split, and what a reader of results should know about them.

    Attributes:
        kept: whether they come again, so that what was computed of them is worth keeping; texts passing by do not.
        notes: what was left out or read in one of several ways, each a line without a stop.
    """

    name: str
    examples: tuple[Example, ...]
    kept: bool = True
    notes: tuple[str, ...] = ()

    @classmethod
    def passing(cls, rows: Iterable[Mapping[str, str]]) -> Split:
        """Texts by field that are asked once, without labels."""
        return cls("texts", tuple(Example(number, row, None) for number, row in enumerate(rows)), kept=False)

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def rows(self) -> list[Mapping[str, str]]:
        return [example.fields for example in self.examples]

    @property
    def labeled(self) -> list[Example]:
        """The examples that have a label."""
        return [example for example in self.examples if example.label is not None]

    @property
    def targets(self) -> list[int]:
        """Label indices.

        Raises:
            ValueError: an example has none.
        """
        found = [example.label for example in self.examples if example.label is not None]
        if len(found) < len(self.examples):
            raise ValueError(f"{len(self.examples) - len(found)} examples of '{self.name}' have no label")
        return found

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the texts and labels, equal for equal contents."""
        digest = hashlib.sha256()
        for example in self.examples:
            digest.update(json.dumps([example.row, dict(example.fields), example.label]).encode())
        return digest.hexdigest()[:16]
