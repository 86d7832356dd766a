"""What every method is: fitted on labeled examples, asked for label scores, saved into a folder and loaded from it.

A prompt, a classifier on a language model, an ensemble of them, a distilled student, features with a linear model:
whoever runs, evaluates or asks one knows this class alone. Torch-free.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pet_cli.base.clock import Clock
from pet_cli.base.progress import Progress
from pet_cli.config import resolve
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.errors import UserError
from pet_cli.runs.session import Session

CHUNK = 2048
"""The most texts that are asked together."""


@dataclass
class Context:
    """What a method works with.

    Attributes:
        session: models and what was computed from them, shared by the runs of a process.
        folder: where a method may put what it makes while it is fitted, such as an ensemble's members; None where
            nothing is kept.
    """

    session: Session = field(default_factory=Session)
    clock: Clock = field(default_factory=Clock)
    progress: Progress = field(default_factory=lambda: Progress(enabled=False))
    folder: Path | None = None


class Method(ABC):
    """A way from texts to label scores.

    Attributes:
        target: what is predicted.
        labels: names of the labels, in the order of the columns of label scores.
    """

    def __init__(self, config: PetConfig, context: Context) -> None:
        self.config = config
        self.context = context
        self.target = resolve.target(config)
        self.labels = list(self.target.labels)

    @classmethod
    @abstractmethod
    def build(cls, config: PetConfig, context: Context) -> Method:
        """The method of a configuration, not yet fitted. Raises `UserError` for what it cannot be made of."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, config: PetConfig, context: Context) -> Method:
        """The fitted method of a run's folder. Raises `UserError` where it was not saved, or is damaged."""

    @abstractmethod
    def fit(self, splits: Mapping[str, Split]) -> None:
        """Learns from `train`, `dev` and `unlabeled`, as far as they are there.

        Nothing is learned from `test`; a method that cannot keep its parts at hand, as an ensemble its members, asks
        each of them about it as soon as that is trained.
        """

    def sample(self, splits: Mapping[str, Split]) -> Split:
        """The training examples. Raises `UserError` where there are none."""
        train = splits.get("train")
        if not train:
            name = self.config.method.name
            raise UserError(f"method={name} learns from labeled examples alone: give a training split, data.shots=N.")
        return train

    @abstractmethod
    def predict(self, split: Split) -> np.ndarray:
        """Label scores `[examples, labels]`, whose softmax is the prediction."""

    @abstractmethod
    def save(self, folder: Path, whole: bool = True) -> None:
        """Writes what `load` needs; `whole` adds a language model where training changed it."""

    def facts(self, test: Split | None = None) -> dict[str, Any]:
        """What `metrics.json` says of how it was fitted, and of its parts on the test examples: plain values."""
        return {}

    def notes(self) -> list[str]:
        """What a reader should know before believing the result, beside what holds for any method."""
        return []

    def annotate(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows of `predictions.jsonl`, with what the method knows of each test example beside its answer."""
        return rows
