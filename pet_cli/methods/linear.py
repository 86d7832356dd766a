"""A linear model on features of the texts: logistic regression, its strength chosen by cross-validation. Torch-free.

The linear model is scikit-learn's; nothing is pickled.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pet_cli.base.arrays import read_arrays, write_arrays
from pet_cli.config.method import LinearSettings
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.errors import UserError
from pet_cli.methods.base import Context, Method

_ABSENT = -50.0
"""The score of a label without a training example: as good as impossible, and finite."""


class LinearMethod(Method):
    """Features of a text, and one weight of each for each label.

    A matrix of features is `[examples, features]`, dense or sparse.

    Attributes:
        weights: `[labels, features]`, float64.
        bias: `[labels]`, float64.
        strength: the inverse regularisation strength that was taken.
    """

    def __init__(self, config: PetConfig, context: Context) -> None:
        super().__init__(config, context)
        self.weights = np.zeros((len(self.labels), 0))
        self.bias = np.zeros(len(self.labels))
        self.strength: float | None = None

    @abstractmethod
    def learned(self, train: Split) -> Any:
        """Learns what features there are from all training examples, and gives theirs."""

    @abstractmethod
    def choose(self, train: Split) -> float:
        """The inverse regularisation strength for the training examples."""

    @abstractmethod
    def features(self, split: Split) -> Any:
        """The features of any texts."""

    def fit(self, splits: Mapping[str, Split]) -> None:
        train = self.sample(splits)
        with self.context.clock.phase("train"), self.context.progress.stage("train", len(train)) as advance:
            self.strength = self.choose(train)
            self.weights, self.bias = self.linear(self.learned(train), np.array(train.gold), self.strength)
            advance(len(train))

    def predict(self, split: Split) -> np.ndarray:
        with self.context.clock.phase(f"evaluate {split.name}"):
            scores: np.ndarray = self.features(split) @ self.weights.T + self.bias
        return scores

    def facts(self, test: Split | None = None) -> dict[str, Any]:
        return {
            "trained_parameters": int(self.weights.size + self.bias.size),
            "features": int(self.weights.shape[1]),
            "strength": self.strength,
        }

    def write(
        self, folder: Path, arrays: Mapping[str, np.ndarray] | None = None, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Writes the linear model, and arrays beside it."""
        own = {**(arrays or {}), "weights": self.weights, "bias": self.bias}
        write_arrays(folder / "trained.safetensors", own, metadata)

    def read(self, folder: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Takes over the linear model that `write` wrote, and gives all that stands there.

        Raises:
            UserError: missing, damaged, or of other labels.
        """
        path = folder / "trained.safetensors"
        arrays, metadata = read_arrays(path)
        weights, bias = (arrays.get(name, np.zeros(0)) for name in ("weights", "bias"))
        if weights.ndim != 2 or len(weights) != len(self.labels) or bias.shape != (len(self.labels),):
            raise UserError(f"{path} is damaged: no weights of {len(self.labels)} labels.")
        self.weights, self.bias = weights, bias
        return arrays, metadata

    def linear(self, features: Any, targets: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
        """Weights `[labels, features]` and bias `[labels]` of logistic regression, for all labels of the task."""
        from sklearn.linear_model import LogisticRegression

        weights = np.zeros((len(self.labels), features.shape[1]))
        bias = np.full(len(self.labels), _ABSENT)
        there = np.unique(targets)
        bias[there] = 0.0
        if len(there) < 2 or not features.shape[1]:
            return weights, bias
        balanced = "balanced" if self.config.trainer.class_weights == "balanced" else None
        model = LogisticRegression(C=strength, max_iter=1000, class_weight=balanced)
        model.fit(features, targets)
        if len(there) == 2:  # one score, for the second label against the first
            weights[there[1]], bias[there[1]] = model.coef_[0], model.intercept_[0]
        else:
            weights[there], bias[there] = model.coef_, model.intercept_
        return weights, bias


class ValidatedMethod(LinearMethod):
    """A linear model whose strength is chosen by cross-validation, on so many `folds`."""

    def __init__(self, config: PetConfig, context: Context) -> None:
        super().__init__(config, context)
        self.settings: LinearSettings = config.method
        self.folds = 0

    @abstractmethod
    def held_out(self, train: Split, seen: np.ndarray, unseen: np.ndarray) -> tuple[Any, Any]:
        """The features of both parts of the training examples, by their places, learned from the seen ones alone."""

    def facts(self, test: Split | None = None) -> dict[str, Any]:
        return super().facts(test) | {"folds": self.folds}

    def choose(self, train: Split) -> float:
        """The regularisation whose models lose least on the examples that they have not seen.

        The folds are stratified, and at most as many as the rarest label has examples.
        """
        given = self.settings.strengths
        strengths = list(given) if isinstance(given, (list, tuple)) else [given]
        targets = np.array(train.gold)
        self.folds = min(self.settings.folds, min(Counter(train.gold).values()))
        if len(strengths) == 1 or self.folds < 2 or len(set(train.gold)) < 2:
            self.folds = 0
            return float(strengths[0] if len(strengths) == 1 else self.settings.strength)
        from sklearn.model_selection import StratifiedKFold

        folds = StratifiedKFold(self.folds, shuffle=True, random_state=self.config.trainer.seed % 2**32)
        losses = np.zeros(len(strengths))
        for seen, held in folds.split(targets, targets):
            known, unknown = self.held_out(train, seen, held)
            for place, strength in enumerate(strengths):
                weights, bias = self.linear(known, targets[seen], strength)
                scores = unknown @ weights.T + bias
                top = scores.max(axis=1)
                gold = scores[np.arange(len(held)), targets[held]]
                losses[place] += float((top + np.log(np.exp(scores - top[:, None]).sum(axis=1)) - gold).sum())
        return float(strengths[int(losses.argmin())])
