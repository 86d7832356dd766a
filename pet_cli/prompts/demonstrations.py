"""Demonstrations: training examples that are shown, answered, with every text that is asked, and which of them.

Sampled for each label (Brown et al. 2020; Gao, Fisch and Chen, "Making Pre-trained Language Models Better Few-shot
Learners", ACL 2021: LM-BFF), at random or among those most like the text. Knows texts and labels, no token.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pet_cli.base.files import read_json, write_json
from pet_cli.data.examples import Example
from pet_cli.data.fields import text_key
from pet_cli.errors import UserError

FILE = "demonstrations.json"
MOST = 256
"""The most examples of a label that may be shown; of a larger sample the first ones."""


@dataclass(frozen=True)
class Demonstration:
    """One example that may be shown: its row in the source, its texts by field, its label's index."""

    row: int
    fields: Mapping[str, str]
    label: int


@dataclass(frozen=True)
class Demonstrations:
    """The examples that may be shown, and how those of a prompt are chosen.

    A text is shown as many of each label, `per_label`, or, where a label has fewer, as many of each label as that one
    has. What a text may not be shown, itself, is missing from its own label alone, so that a training prompt must tell
    neither how many are left nor which of them a new text would be shown. So a text of the sample is shown as many as
    any other of them could be, in draws of its own. They stand in rounds of one example of each label, the labels in
    an order drawn for each round.

    Attributes:
        nearest: whether only those are drawn from that are among the half of their label most like the text (LM-BFF,
            section 6.2), at least `per_label` of them.
        draws: how many times they are drawn for each text.
        rest: the marks of the sample's texts that are more than may be shown.
    """

    examples: tuple[Demonstration, ...]
    labels: tuple[str, ...]
    per_label: int
    draws: int = 1
    nearest: bool = False
    seed: int = 0
    rest: frozenset[str] = frozenset()

    @classmethod
    def of(cls, sample: Sequence[Example], labels: Sequence[str], **how: Any) -> Demonstrations:
        """Those of a labeled sample.

        Raises:
            UserError: a label has fewer than `per_label` examples.
        """
        found: list[Demonstration] = []
        rest: set[str] = set()
        counts = [0] * len(labels)
        for example in sample:
            if isinstance(example.gold, int) and counts[example.gold] < MOST:
                counts[example.gold] += 1
                found.append(Demonstration(example.row, example.fields, example.gold))
            else:
                rest.add(_mark(text_key(example.fields)))
        own = cls(tuple(found), tuple(labels), rest=frozenset(rest), **how)
        fewest = min(range(len(labels)), key=counts.__getitem__)
        if counts[fewest] < own.per_label:
            raise UserError(
                f"demonstrations.per_label={own.per_label}: label '{labels[fewest]}' has {counts[fewest]} training "
                "examples. Give fewer, or more data.shots."
            )
        return own

    @cached_property
    def fingerprint(self) -> str:
        """Identifies what is shown with a text: examples, numbers, seed."""
        own = [[one.row, dict(one.fields), one.label] for one in self.examples]
        how = [self.labels, self.per_label, self.draws, self.nearest, self.seed, *sorted(self.rest)]
        return hashlib.sha256(json.dumps([own, how]).encode()).hexdigest()[:16]

    @cached_property
    def _places(self) -> list[list[int]]:
        """Of each label."""
        return [
            [place for place, one in enumerate(self.examples) if one.label == label]
            for label in range(len(self.labels))
        ]

    @cached_property
    def _same(self) -> dict[tuple[str, ...], set[int]]:
        """The places of each text."""
        found: dict[tuple[str, ...], set[int]] = {}
        for place, one in enumerate(self.examples):
            found.setdefault(text_key(one.fields), set()).add(place)
        return found

    @cached_property
    def _left(self) -> int:
        """How many of each label are there for each of the examples, whichever it is, without the example itself."""
        times = [0] * len(self.labels)  # the most often that a text stands in each label
        for (_, label), n in Counter((text_key(one.fields), one.label) for one in self.examples).items():
            times[label] = max(times[label], n)
        return min(len(places) - n for places, n in zip(self._places, times, strict=True))

    def choose(
        self, fields: Mapping[str, str], draw: int, *, apart: bool, likeness: np.ndarray | None = None
    ) -> tuple[int, ...]:
        """The places in `examples` of what is shown with a text, in their order; never the text itself.

        Args:
            draw: which of the draws, from 0.
            apart: whether each text has draws of its own; else a draw is the same for all texts but the sample's.
            likeness: where `nearest`, how like the text each example is, `[examples]`.
        """
        own = text_key(fields)
        itself = self._same.get(own, set())
        learned = bool(itself) or (bool(self.rest) and _mark(own) in self.rest)
        drawn: list[list[int]] = []
        text = json.dumps(own) if apart or learned else ""
        for label, places in enumerate(self._places):
            mine = [place for place in places if place not in itself]
            if likeness is not None:
                like = likeness[mine]
                mine = [mine[i] for i in np.argsort(-like, kind="stable")[: max(self.per_label, (len(mine) + 1) // 2)]]
            drawn.append(_sample(mine, self.per_label, f"{self.seed}/{draw}/{label}/{text}"))
        rounds = min(*map(len, drawn), *([self._left] if learned else []))
        return tuple(
            drawn[label][number]
            for number in range(rounds)
            for label in _sample(list(range(len(self.labels))), len(self.labels), f"{self.seed}/{draw}/round {number}")
        )

    def save(self, folder: Path) -> None:
        """Writes the examples, with their row numbers, into a run's folder."""
        rows = [{"row": one.row, "label": self.labels[one.label], "texts": dict(one.fields)} for one in self.examples]
        rest = {"rest": sorted(self.rest)} if self.rest else {}
        write_json(folder / FILE, {"seed": self.seed, "examples": rows, **rest})

    @classmethod
    def load(cls, folder: Path, labels: Sequence[str], fields: Sequence[str], **how: Any) -> Demonstrations:
        """Those that `save` wrote. Raises `UserError` where they are not there, or are damaged."""
        path = folder / FILE
        if not path.is_file():
            raise UserError(f"{path}: the run's demonstrations are not there; train again.")
        told = read_json(path)
        try:
            found = []
            for row in told["examples"]:
                texts = row.get("texts", row)  # a run of a version before had them beside row and label
                own = {name: str(texts[name]) for name in fields}
                found.append(Demonstration(int(row["row"]), own, labels.index(row["label"])))
            rest = frozenset(map(str, told.get("rest", ())))
            return cls(tuple(found), tuple(labels), seed=int(told["seed"]), rest=rest, **how)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise UserError(f"{path} is damaged: it does not tell the examples that were shown.") from None


def _mark(key: tuple[str, ...]) -> str:
    """Identifies a text."""
    return hashlib.blake2b(json.dumps(key).encode(), digest_size=8).hexdigest()


def _sample(places: list[int], count: int, seed: str) -> list[int]:
    """At most `count` of the places, drawn without replacement; the same on every machine and in every version."""
    left, found = list(places), list[int]()
    while left and len(found) < count:
        digest = hashlib.blake2b(f"{seed}/{len(found)}".encode(), digest_size=8).digest()
        found.append(left.pop(int.from_bytes(digest, "big") % len(left)))
    return found
