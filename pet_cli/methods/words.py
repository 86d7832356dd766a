"""Where the word vectors of a network come from: drawn at random, a file, a language model's word embeddings.

One rule for a word that a source does not know: its vector is zero. It takes its place and says nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pet_cli.config.method import NetworkSettings
from pet_cli.config.schema import PetConfig
from pet_cli.data.vectors import Vectors, read_vectors
from pet_cli.data.words import split_words
from pet_cli.methods.base import Context

SIZE = 0.25 / 3**0.5
"""The size (root mean square) that all vectors have: that of Kim's (2014) random ones, uniform from -0.25 to 0.25."""


class WordSource(ABC):
    """Divides texts into words and has vectors of them.

    Attributes:
        width: of a vector.
        identity: tells apart sources whose vectors are not the same.
    """

    width: int
    identity: str

    def words(self, texts: Sequence[str]) -> list[list[str]]:
        """The words of each text, in their order."""
        return [split_words(text) for text in texts]

    @abstractmethod
    def vectors(self, words: Sequence[str]) -> Tensor:
        """`[words, width]`, float32; zeros for a word that is not known."""

    def start(self, words: Sequence[str]) -> Tensor:
        """What the vectors of training words start as, `[words, width]`; may draw from torch's global generator."""
        return self.vectors(words)


class RandomVectors(WordSource):
    """Each training word, in small letters, begins at random; no other is known."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.identity = "random"

    def words(self, texts: Sequence[str]) -> list[list[str]]:
        return super().words([text.lower() for text in texts])

    def vectors(self, words: Sequence[str]) -> Tensor:
        return torch.zeros(len(words), self.width)

    def start(self, words: Sequence[str]) -> Tensor:
        return torch.empty(len(words), self.width).uniform_(-0.25, 0.25)


class FileVectors(WordSource):
    """The vectors of a file. A word is looked up as it is written, then in small letters."""

    def __init__(self, found: Vectors) -> None:
        self.width = found.matrix.shape[1]
        self.identity = found.digest
        self._places = found.places
        self._matrix = found.matrix
        self._factor = SIZE / max(float(np.sqrt(np.square(found.matrix).mean())), 1e-12)

    def vectors(self, words: Sequence[str]) -> Tensor:
        out = torch.zeros(len(words), self.width)
        places = [self._places.get(word, self._places.get(word.lower(), -1)) for word in words]
        there = [i for i, place in enumerate(places) if place >= 0]
        out[there] = torch.from_numpy(self._matrix[[places[i] for i in there]]) * self._factor
        return out


class ModelVectors(WordSource):
    """The word embeddings of a language model; words are its tokens."""

    def __init__(self, config: PetConfig, context: Context) -> None:
        lm = context.session.language_model(config)
        self.tokenizer = lm.tokenizer
        self._matrix: Tensor = lm.model.get_input_embeddings().weight.detach().float().cpu()
        self.width = self._matrix.shape[1]
        self.identity = lm.fingerprint()
        self._factor = SIZE / max(float(self._matrix.square().mean().sqrt()), 1e-12)

    def words(self, texts: Sequence[str]) -> list[list[str]]:
        if not texts:
            return []
        found = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return [self.tokenizer.convert_ids_to_tokens(ids) for ids in found]

    def vectors(self, words: Sequence[str]) -> Tensor:
        ids = torch.tensor(self.tokenizer.convert_tokens_to_ids(list(words)), dtype=torch.long)
        out = self._matrix[ids] * self._factor
        if self.tokenizer.unk_token_id is not None:
            out[ids == self.tokenizer.unk_token_id] = 0
        return out


def word_source(config: PetConfig, context: Context) -> WordSource:
    """The source that `method.vectors` names. Raises `UserError` for a file that is missing or broken."""
    settings: NetworkSettings = config.method
    with context.clock.phase("model"):
        if settings.uses_model:
            return ModelVectors(config, context)
        if settings.file is None:
            return RandomVectors(settings.width)
        path = Path(settings.file).expanduser()
        stat = path.stat() if path.is_file() else None
        stamp = stat and (stat.st_size, stat.st_mtime_ns)
        found = context.session.memo.get(
            ("vectors", str(path), stamp, settings.limit), lambda: read_vectors(path, settings.limit)
        )
        return FileVectors(found)
