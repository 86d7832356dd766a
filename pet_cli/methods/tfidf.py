"""TF-IDF of word and character n-grams with logistic regression: what a prompt has to beat.

The features are scikit-learn's; nothing is pickled. Torch-free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pet_cli.base.files import read_json, write_json
from pet_cli.config.method import TfidfSettings
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.data.words import LETTERS
from pet_cli.errors import UserError
from pet_cli.methods.base import Context
from pet_cli.methods.linear import ValidatedMethod

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer


class TfidfMethod(ValidatedMethod):
    """N-grams of each field, weighted by TF-IDF, and one weight of each for each label.

    Attributes:
        vectorizers: one for each field and kind of n-gram, fitted.
    """

    settings: TfidfSettings

    def __init__(self, config: PetConfig, context: Context) -> None:
        super().__init__(config, context)
        self.vectorizers: dict[str, TfidfVectorizer] = {}

    @classmethod
    def build(cls, config: PetConfig, context: Context) -> TfidfMethod:
        return cls(config, context)

    def learned(self, train: Split) -> csr_matrix:
        self.vectorizers = self._vectorizers(train.rows)
        if not self.vectorizers:
            raise UserError("method=tfidf: the training texts hold no n-gram; see method.words and method.characters.")
        return self._features(train.rows, self.vectorizers)

    def held_out(self, train: Split, seen: np.ndarray, unseen: np.ndarray) -> tuple[csr_matrix, csr_matrix]:
        rows, others = ([train.rows[i] for i in part] for part in (seen, unseen))
        own = self._vectorizers(rows)
        return self._features(rows, own), self._features(others, own)

    def features(self, split: Split) -> csr_matrix:
        return self._features(split.rows, self.vectorizers)

    def save(self, folder: Path, whole: bool = True) -> None:
        terms = {name: list(one.get_feature_names_out()) for name, one in self.vectorizers.items()}
        write_json(folder / "vocabulary.json", terms)
        self.write(folder, {f"idf.{name}": np.asarray(one.idf_) for name, one in self.vectorizers.items()})

    @classmethod
    def load(cls, folder: Path, config: PetConfig, context: Context) -> TfidfMethod:
        own = cls(config, context)
        arrays, _ = own.read(folder)
        terms = read_json(folder / "vocabulary.json")
        try:
            for name, words in terms.items():
                _, _, kind = name.rpartition("/")
                own.vectorizers[name] = own._vectorizer(kind, {word: place for place, word in enumerate(words)})
                own.vectorizers[name].idf_ = arrays[f"idf.{name}"]
            size = sum(len(words) for words in terms.values())
            if own.weights.shape[1] != size:
                raise ValueError(f"{own.weights.shape[1]} weights for {size} n-grams")
        except (KeyError, ValueError, AttributeError) as error:
            path = folder / "trained.safetensors"
            raise UserError(f"{path} is damaged, or does not belong to vocabulary.json beside it: {error}.") from None
        return own

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
        return found

    def _vectorizer(self, kind: str, vocabulary: Mapping[str, int] | None = None) -> TfidfVectorizer:
        from sklearn.feature_extraction.text import TfidfVectorizer

        # A word is any run of letters and digits, a single one too: "I" and "5" tell something in a short text.
        words = {"token_pattern": f"(?u){LETTERS}"}
        how: dict[str, Any] = {"analyzer": "char_wb"} if kind == "characters" else words
        lengths = getattr(self.settings, kind)
        return TfidfVectorizer(
            ngram_range=(lengths[0], lengths[1]), sublinear_tf=True, vocabulary=vocabulary, dtype=np.float64, **how
        )

    @staticmethod
    def _features(rows: Sequence[Mapping[str, str]], vectorizers: Mapping[str, TfidfVectorizer]) -> csr_matrix:
        """`[rows, features]`, each kind of n-gram of each field of unit length."""
        from scipy.sparse import csr_matrix, hstack

        parts = [csr_matrix((len(rows), 0))]
        for name, own in vectorizers.items():
            field = name.rpartition("/")[0]
            parts.append(own.transform([row[field] for row in rows]))
        return hstack(parts, format="csr")
