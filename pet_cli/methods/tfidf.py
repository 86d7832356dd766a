"""TF-IDF of word and character n-grams with logistic regression: what a prompt has to beat.

Features and linear model are scikit-learn's; nothing is pickled. Torch-free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pet_cli.base.files import atomic, read_json, write_json
from pet_cli.config.method import TfidfSettings
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.errors import UserError
from pet_cli.methods.base import Context, Method

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

_ABSENT = -50.0
"""The score of a label without a training example: as good as impossible, and finite."""


class TfidfMethod(Method):
    """N-grams of each field, weighted by TF-IDF, and one weight of each for each label.

    Attributes:
        vectorizers: one for each field and kind of n-gram, fitted.
        weights: `[labels, features]`, float64.
        bias: `[labels]`, float64.
    """

    def __init__(self, config: PetConfig, context: Context) -> None:
        super().__init__(config, context)
        self.settings: TfidfSettings = config.method
        self.vectorizers: dict[str, TfidfVectorizer] = {}
        self.weights = np.zeros((len(self.labels), 0))
        self.bias = np.zeros(len(self.labels))
        self.strength: float | None = None
        self.folds = 0

    @classmethod
    def build(cls, config: PetConfig, context: Context) -> TfidfMethod:
        return cls(config, context)

    def fit(self, splits: Mapping[str, Split]) -> None:
        train = splits.get("train")
        if not train:
            raise UserError("method=tfidf learns from labeled examples alone: give a training split, data.shots=N.")
        context = self.context
        with context.clock.phase("train"), context.progress.stage("train", len(train)) as advance:
            self.strength = self._choose(train)
            self.vectorizers = self._vectorizers(train.rows)
            features = self._features(train.rows)
            self.weights, self.bias = self._linear(features, np.array(train.gold), self.strength)
            advance(len(train))

    def predict(self, split: Split) -> np.ndarray:
        with self.context.clock.phase(f"evaluate {split.name}"):
            scores: np.ndarray = self._features(split.rows) @ self.weights.T + self.bias
        return scores

    def facts(self, test: Split | None = None) -> dict[str, Any]:
        return {
            "trained_parameters": int(self.weights.size + self.bias.size),
            "features": int(self.weights.shape[1]),
            "strength": self.strength,
            "folds": self.folds,
        }

    def save(self, folder: Path, whole: bool = True) -> None:
        from safetensors.numpy import save_file

        terms = {name: list(one.get_feature_names_out()) for name, one in self.vectorizers.items()}
        write_json(folder / "vocabulary.json", terms)
        tensors = {f"idf.{name}": np.asarray(one.idf_, dtype=np.float64) for name, one in self.vectorizers.items()}
        with atomic(folder / "trained.safetensors") as temporary:
            save_file({**tensors, "weights": self.weights, "bias": self.bias}, temporary)

    @classmethod
    def load(cls, folder: Path, config: PetConfig, context: Context) -> TfidfMethod:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        own = cls(config, context)
        path = folder / "trained.safetensors"
        terms = read_json(folder / "vocabulary.json")
        try:
            tensors = load_file(path)
            for name, words in terms.items():
                _, _, kind = name.rpartition("/")
                own.vectorizers[name] = own._vectorizer(kind, {word: place for place, word in enumerate(words)})
                own.vectorizers[name].idf_ = tensors[f"idf.{name}"]
            own.weights, own.bias = tensors["weights"], tensors["bias"]
            size = sum(len(words) for words in terms.values())
            if own.weights.shape != (len(own.labels), size) or own.bias.shape != (len(own.labels),):
                raise ValueError(f"{own.weights.shape[1]} weights for {size} n-grams")
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; what the run trained was not saved.") from None
        except (OSError, SafetensorError, KeyError, ValueError, AttributeError) as error:
            raise UserError(f"{path} is damaged, or does not belong to vocabulary.json beside it: {error}.") from None
        return own

    def _choose(self, train: Split) -> float:
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
        outer = self.vectorizers
        for seen, held in folds.split(targets, targets):
            self.vectorizers = self._vectorizers([train.rows[i] for i in seen])
            known, unknown = (self._features([train.rows[i] for i in part]) for part in (seen, held))
            for place, strength in enumerate(strengths):
                weights, bias = self._linear(known, targets[seen], strength)
                scores = unknown @ weights.T + bias
                top = scores.max(axis=1)
                gold = scores[np.arange(len(held)), targets[held]]
                losses[place] += float((top + np.log(np.exp(scores - top[:, None]).sum(axis=1)) - gold).sum())
        self.vectorizers = outer
        return float(strengths[int(losses.argmin())])

    def _vectorizers(self, rows: Sequence[Mapping[str, str]]) -> dict[str, TfidfVectorizer]:
        """Fitted to the rows, for each field and kind of n-gram; without those that find none."""
        found = {}
        for field in self.config.task.fields:
            for kind in ("words", "characters"):
                if getattr(self.settings, kind) is None:
                    continue
                own = self._vectorizer(kind)
                try:
                    found[f"{field}/{kind}"] = own.fit([row[field] for row in rows])
                except ValueError:  # no text holds any
                    continue
        if not found:
            raise UserError("method=tfidf: the training texts hold no n-gram; see method.words and method.characters.")
        return found

    def _vectorizer(self, kind: str, vocabulary: Mapping[str, int] | None = None) -> TfidfVectorizer:
        from sklearn.feature_extraction.text import TfidfVectorizer

        # A word is any run of letters and digits, a single one too: "I" and "5" tell something in a short text.
        how: dict[str, Any] = {"analyzer": "char_wb"} if kind == "characters" else {"token_pattern": r"(?u)\b\w+\b"}
        lengths = getattr(self.settings, kind)
        return TfidfVectorizer(
            ngram_range=(lengths[0], lengths[1]), sublinear_tf=True, vocabulary=vocabulary, dtype=np.float64, **how
        )

    def _features(self, rows: Sequence[Mapping[str, str]]) -> csr_matrix:
        """`[rows, features]`, each kind of n-gram of each field of unit length."""
        from scipy.sparse import hstack

        parts = []
        for name, own in self.vectorizers.items():
            field = name.rpartition("/")[0]
            parts.append(own.transform([row[field] for row in rows]))
        return hstack(parts, format="csr")

    def _linear(self, features: csr_matrix, targets: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
        """Weights `[labels, features]` and bias `[labels]` of logistic regression, for all labels of the task."""
        from sklearn.linear_model import LogisticRegression

        weights = np.zeros((len(self.labels), features.shape[1]))
        bias = np.full(len(self.labels), _ABSENT)
        there = np.unique(targets)
        bias[there] = 0.0
        if len(there) < 2:
            return weights, bias
        balanced = "balanced" if self.config.trainer.class_weights == "balanced" else None
        model = LogisticRegression(C=strength, max_iter=1000, class_weight=balanced)
        model.fit(features, targets)
        if len(there) == 2:  # one score, for the second label against the first
            weights[there[1]], bias[there[1]] = model.coef_[0], model.intercept_[0]
        else:
            weights[there], bias[there] = model.coef_, model.intercept_
        return weights, bias
