"""A count of words that a list gives to labels: the first era's way, which needs no example. Torch-free.

The list is a file of the user's own, or the short one of negative and positive English words that comes along.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pet_cli.base.arrays import read_arrays, write_arrays
from pet_cli.base.files import read_json, write_json
from pet_cli.base.values import spelled
from pet_cli.config import resolve
from pet_cli.config.method import LexiconSettings
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.data.rows import headless, read_rows
from pet_cli.data.words import split_words
from pet_cli.errors import UserError, choices, nearest
from pet_cli.methods.base import Context, Method

SHIPPED = Path(__file__).parent.parent / "embedded" / "polarity.tsv"
_FEW = 0.5
"""The share of texts without a word of the list from which on a reader should know."""

Words = dict[tuple[str, ...], int]
"""Words in small letters, or several in a row, and the place of their label."""


def read_lexicon(path: Path, labels: list[str]) -> Words:
    """The words of a list for some labels; other labels' words are left out.

    Raises:
        UserError: no row, a column that is not there, an empty word, one of two labels, or a label without words.
    """
    found: Words = {}
    named: dict[str, None] = {}
    for place, row in read_rows(path):
        for column in ("word", "label"):
            if column not in row:
                raise UserError(f"{place}: no column '{column}'; there are {choices(row)}.{headless(row)}")
        label, words = spelled(row["label"]), tuple(split_words(spelled(row["word"]).lower()))
        named[label] = None
        if not words:
            raise UserError(f"{place}: the word is empty.")
        if label not in labels:
            continue
        if found.setdefault(words, labels.index(label)) != labels.index(label):
            raise UserError(f"{place}: '{row['word']}' stands there for '{labels[found[words]]}' too.")
    if not named:
        raise UserError(f"{path} holds no words: its first line names the columns, word and label, and none follows.")
    for index, label in enumerate(labels):
        if index not in found.values():
            near = nearest(label, named)
            raise UserError(f"{path} has no word of the label '{label}'; its labels are {choices(named)}.{near}")
    return found


class LexiconMethod(Method):
    """The words of each label are counted, the longest entry first, so that "not good" is no "good".

    A label's score is `weight` times its count, and its bias. Without training examples these are 1 and 0; with some
    they are those of the highest likelihood under a Gaussian prior around these values.
    """

    def __init__(self, config: PetConfig, context: Context, words: Words) -> None:
        super().__init__(config, context)
        self.settings: LexiconSettings = config.method
        self.words = words
        self.longest = max(map(len, words))
        self.weight = 1.0
        self.bias = np.zeros(len(self.labels))
        self.fitted = False
        self.without = 0.0

    @classmethod
    def build(cls, config: PetConfig, context: Context) -> LexiconMethod:
        own = config.method.words
        labels = resolve.labels(config)
        return cls(config, context, read_lexicon(SHIPPED if own is None else Path(own).expanduser(), labels))

    def counts(self, split: Split) -> np.ndarray:
        """How many words of each label stand in each text, all its fields, `[examples, labels]`."""
        found = np.zeros((len(split), len(self.labels)))
        for number, row in enumerate(split.rows):
            for field in self.config.task.fields:
                text, place = split_words(row[field].lower()), 0
                while place < len(text):
                    sizes = range(min(self.longest, len(text) - place), 0, -1)
                    size = next((n for n in sizes if tuple(text[place : place + n]) in self.words), 0)
                    if size:
                        found[number, self.words[tuple(text[place : place + size])]] += 1
                    place += size or 1
        return found

    def fit(self, splits: Mapping[str, Split]) -> None:
        train = splits.get("train")
        if not train:
            return
        from scipy.optimize import minimize

        counts, gold = self.counts(train), np.array(train.gold)
        share = np.ones(len(gold))
        if self.config.trainer.class_weights == "balanced":
            share = len(gold) / (len(self.labels) * np.bincount(gold, minlength=len(self.labels)))[gold]
        wanted = np.eye(len(self.labels))[gold]
        start = np.array([1.0, *np.zeros(len(self.labels))])

        def loss(own: np.ndarray) -> tuple[float, np.ndarray]:
            scores = own[0] * counts + own[1:]
            scores = scores - scores.max(axis=1, keepdims=True)
            total = np.log(np.exp(scores).sum(axis=1))
            off = share[:, None] * (np.exp(scores - total[:, None]) - wanted)
            apart = self.settings.anchor * (own - start)
            slope = np.array([(off * counts).sum(), *off.sum(axis=0)])
            return (share * (total - (scores * wanted).sum(axis=1))).sum() + apart @ (own - start) / 2, slope + apart

        with self.context.clock.phase("train"):
            bounds = [(0.0, None), *[(None, None)] * len(self.labels)]
            best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
        self.weight, self.bias, self.fitted = float(best[0]), best[1:], True

    def predict(self, split: Split) -> np.ndarray:
        with self.context.clock.phase(f"evaluate {split.name}"):
            counts = self.counts(split)
        if split.name == "test":
            self.without = float((counts.sum(axis=1) == 0).mean()) if len(split) else 0.0
        scores: np.ndarray = self.weight * counts + self.bias
        return scores

    def facts(self, test: Split | None = None) -> dict[str, Any]:
        return {
            "trained_parameters": 1 + len(self.bias) if self.fitted else 0,
            "entries": len(self.words),
            "texts_without_words": round(self.without, 4),
        }

    def notes(self) -> list[str]:
        if self.without <= _FEW:
            return []
        return [f"{self.without:.0%} of the test texts hold no word of the list"]

    def save(self, folder: Path, whole: bool = True) -> None:
        write_json(folder / "vocabulary.json", [[" ".join(words), self.labels[i]] for words, i in self.words.items()])
        write_arrays(folder / "trained.safetensors", {"weight": np.array([self.weight]), "bias": self.bias})

    @classmethod
    def load(cls, folder: Path, config: PetConfig, context: Context) -> LexiconMethod:
        labels = resolve.labels(config)
        arrays, _ = read_arrays(folder / "trained.safetensors")
        listed = read_json(folder / "vocabulary.json")
        try:
            words = {tuple(word.split(" ")): labels.index(label) for word, label in listed}
            own = cls(config, context, words)
            own.weight, own.bias = float(arrays["weight"][0]), arrays["bias"]
            if own.bias.shape != (len(labels),):
                raise ValueError(f"{len(own.bias)} biases for {len(labels)} labels")
        except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
            path = folder / "trained.safetensors"
            raise UserError(f"{path} is damaged, or does not belong to vocabulary.json beside it: {error}.") from None
        return own
