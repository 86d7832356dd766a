"""Examples: texts by field and what is right, and the splits they come in."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pet_cli.tasks.targets import Gold


@dataclass(frozen=True)
class Example:
    """One row.

    Attributes:
        row: its number in the source, from 0.
        fields: its texts by field.
        gold: what is right, in the terms of the task's target: a label's or candidate's index, several of them, a
            number; None where it is not known.
        candidates: its own answers to choose from, where it brings any.
        group: what it belongs to (a question), where examples belong to something.
    """

    row: int
    fields: Mapping[str, str]
    gold: Gold | None
    candidates: tuple[str, ...] = ()
    group: str | None = None


@dataclass(frozen=True)
class Split:
    """The examples of one split, and what a reader of results should know about them.

    Attributes:
        kept: whether they come again, so that what was computed of them is worth keeping; texts passing by do not.
        notes: what was left out or read in one of several ways, each a line without a stop.
        whole, places: of a part, the split that it is part of and the places of its examples there, so that what is
            computed of each example is computed of the whole, once for all its parts.
    """

    name: str
    examples: tuple[Example, ...]
    kept: bool = True
    notes: tuple[str, ...] = ()
    whole: Split | None = None
    places: tuple[int, ...] = ()

    def part(self, places: Sequence[int], name: str) -> Split:
        """Some of the examples by their places, as a split of their own."""
        examples = tuple(self.examples[place] for place in places)
        return Split(name, examples, self.kept, whole=self, places=tuple(places))

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
        """The examples of which it is known what is right."""
        return [example for example in self.examples if example.gold is not None]

    @property
    def gold(self) -> list[Any]:
        """What is right of each example.

        Raises:
            ValueError: an example has none.
        """
        found = [example.gold for example in self.examples if example.gold is not None]
        if len(found) < len(self.examples):
            raise ValueError(f"{len(self.examples) - len(found)} examples of '{self.name}' have no label")
        return found

    @property
    def candidates(self) -> list[tuple[str, ...]] | None:
        """The candidates of each example; None where examples bring none."""
        found = [example.candidates for example in self.examples]
        return found if any(found) else None

    @property
    def groups(self) -> list[str] | None:
        """What each example belongs to; None where not every one belongs to something."""
        found = [example.group for example in self.examples if example.group is not None]
        return found if found and len(found) == len(self.examples) else None

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the texts and of what is right, equal for equal contents."""
        digest = hashlib.sha256()
        for example in self.examples:
            own = [example.candidates, example.group] if example.candidates or example.group else []
            digest.update(json.dumps([example.row, dict(example.fields), example.gold, *own]).encode())
        return digest.hexdigest()[:16]
