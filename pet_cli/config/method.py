"""The settings of the methods, one dataclass each. The defaults stand in `conf/method`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pet_cli.config.bounds import Settings, bounded, one_of, rate
from pet_cli.errors import Unfit, UserError, choices, nearest

POLARITIES = ("negative", "positive")
"""The labels that the shipped list of words knows."""


@dataclass(kw_only=True)
class MethodSettings(Settings):
    """What every method says, and what it is."""

    tunes: ClassVar[bool] = False
    """Whether tuning, ensemble, template, label words and their scoring mean something to it."""
    reads_template: ClassVar[bool] = False
    """Whether template and label words mean something to it."""
    trains: ClassVar[bool] = True
    """Whether anything is learned from labeled examples; where it tunes, tuning and scoring say so."""
    changes_model: ClassVar[bool] = False
    """Whether training changes the language model itself; where it tunes, tuning says so."""
    asks_pairs: ClassVar[bool] = False
    """Whether its model is one with a head over pairs of texts."""
    uses_torch: ClassVar[bool] = True
    """Whether it computes on the device that `device` names."""
    targets: ClassVar[tuple[str, ...]] = ("label",)
    """What it can predict, as `task.target` names it."""
    file_key: ClassVar[str] = ""
    """Its key that may name a file of the user's own."""
    from_nothing: ClassVar[bool] = False
    """Whether it answers without a labeled example too."""
    era: ClassVar[str | None]
    """Which of `eras.ERAS` it belongs to; None where that goes by what is done with the language model."""

    name: str

    @property
    def file(self) -> str | None:
        """The file of the user's own that it reads, or None."""
        return None

    @property
    def uses_model(self) -> bool:
        """Whether it reads a pretrained language model, so that the group model means something to it."""
        return True

    def check_labels(self, key: str, labels: Sequence[str]) -> None:
        """Raises `UserError` for labels that it cannot know."""

    @property
    def reads_unlabeled(self) -> bool:
        """Whether it asks for texts without labels, those of the training split where there are no others."""
        return False


@dataclass(kw_only=True)
class PromptSettings(MethodSettings):
    """A language model, as the groups model, tuning and ensemble say."""

    tunes = True
    reads_template = True
    targets = ("label", "labels", "number", "choice")
    era = None


@dataclass(kw_only=True)
class LinearSettings(MethodSettings):
    """A linear model on features, its regularisation chosen by cross-validation."""

    strengths: Any
    strength: float = bounded(0, above=True)
    folds: int = bounded(2)

    def check(self, key: str = "") -> None:
        super().check(key)
        strengths = self.strengths if isinstance(self.strengths, (list, tuple)) else [self.strengths]
        if not strengths or any(type(v) not in (int, float) or not 0 < v < float("inf") for v in strengths):
            raise UserError(f"{key}.strengths={self.strengths}: must be above 0.")


@dataclass(kw_only=True)
class TfidfSettings(LinearSettings):
    """N-grams of words and characters with a linear model."""

    uses_torch = False
    era = "features"
    words: Any
    characters: Any

    @property
    def uses_model(self) -> bool:
        return False

    def check(self, key: str = "") -> None:
        super().check(key)
        for name, lengths in (("words", self.words), ("characters", self.characters)):
            if lengths is None:
                continue
            whole = isinstance(lengths, (list, tuple)) and len(lengths) == 2
            if not whole or not all(type(n) is int for n in lengths) or not 1 <= lengths[0] <= lengths[1] <= 10:
                raise UserError(
                    f"{key}.{name}={lengths}: the least and the most, such as [1,2], from 1 to 10; or null."
                )
        if self.words is None and self.characters is None:
            raise UserError(f"{key}.words=null, {key}.characters=null: one of them is needed, such as [1,2].")


@dataclass(kw_only=True)
class SentenceLrSettings(LinearSettings):
    """One vector for each text, of a frozen encoder, with a linear model."""

    era = "pretraining"
    pooling: str = one_of("mean", "cls")
    normalise: bool


@dataclass(kw_only=True)
class SetfitSettings(MethodSettings):
    """An encoder trained on pairs of texts, with a linear model on its vectors."""

    era = "pretraining"
    changes_model = True
    pooling: str = one_of("mean", "cls")
    normalise: bool
    pairs: int = bounded(1)
    most_steps: int | None = bounded(1, null="sets no such limit")
    learning_rate: float | None = rate("takes the model's")
    dropout: bool
    strength: float = bounded(0, above=True)

    def steps(self, pairs: int, batch_size: int) -> int:
        """How many steps of training so many pairs take: one pass, at most `most_steps`."""
        one_pass = math.ceil(pairs / batch_size)
        return one_pass if self.most_steps is None else min(one_pass, self.most_steps)


@dataclass(kw_only=True)
class LexiconSettings(MethodSettings):
    """A count of words that a list gives to labels."""

    uses_torch = False
    era = "features"
    file_key = "words"
    from_nothing = True
    words: str | None
    anchor: float = bounded(0, 1e6, above=True)

    @property
    def uses_model(self) -> bool:
        return False

    @property
    def file(self) -> str | None:
        return self.words

    def check(self, key: str = "") -> None:
        super().check(key)
        if self.words is not None and not Path(self.words).expanduser().is_file():
            raise UserError(f"{key}.words={self.words}: no such file; null takes the list that comes along.")

    def check_labels(self, key: str, labels: Sequence[str]) -> None:
        if self.words is None and not set(labels) <= set(POLARITIES):
            others = choices(label for label in labels if label not in POLARITIES)
            raise Unfit(
                f"{key}={self.name}: the list that comes along knows the labels {choices(POLARITIES)}, not {others}; "
                f"give one of your own, {key}.words=FILE."
            )


@dataclass(kw_only=True)
class NetworkSettings(MethodSettings):
    """A network from scratch over word vectors.

    Steps are `epochs` passes over the training examples, at least `min_steps`.
    """

    era = "architecture"
    targets = ("label", "labels", "number")
    file_key = "vectors"
    vectors: str  # random, model, or a file
    limit: int | None = bounded(1, null="takes all words of the file")
    width: int = bounded(1, 2**16)
    static: bool
    dropout: float = bounded(0, 1, below=True)
    learning_rate: float = rate()
    epochs: int = bounded(1)
    min_steps: int = bounded(1)

    @property
    def uses_model(self) -> bool:
        return self.vectors == "model"

    @property
    def file(self) -> str | None:
        return None if self.vectors in ("random", "model") else self.vectors

    def steps(self, examples: int, batch_size: int) -> int:
        """How many steps of training so many examples take."""
        return max(self.min_steps, self.epochs * math.ceil(examples / batch_size))

    def check(self, key: str = "") -> None:
        super().check(key)
        if self.file is not None and not Path(self.file).expanduser().is_file():
            raise UserError(
                f"{key}.vectors={self.vectors}: neither random, model nor a file of word vectors."
                f"{nearest(self.vectors, ('random', 'model'))}"
            )


@dataclass(kw_only=True)
class CnnSettings(NetworkSettings):
    """Convolutions over word vectors, the strongest answer of each filter."""

    filters: int = bounded(1, 2**16)
    windows: Any

    def check(self, key: str = "") -> None:
        super().check(key)
        given = self.windows
        listed = isinstance(given, (list, tuple)) and len(given) > 0
        if not listed or any(type(n) is not int or not 1 <= n <= 50 for n in given):
            raise UserError(f"{key}.windows={given}: a list of numbers of words from 1 to 50, such as [3,4,5].")


@dataclass(kw_only=True)
class BilstmSettings(NetworkSettings):
    """A bidirectional LSTM over word vectors, its states pooled."""

    hidden: int = bounded(1, 2**16)
    pooling: str = one_of("max", "mean")


NEXT = "entailment"
RELATIONS = (NEXT, "contradiction", "neutral")
"""In which relation a second text stands to a first; that of a next sentence comes first, and BERT's isNext and notNext
are the first two."""


@dataclass(kw_only=True)
class NspSettings(MethodSettings):
    """A next-sentence head, asked as it is."""

    era = "prompts"
    reads_template = True
    trains = False
    asks_pairs = True
    second: str | None = one_of("labels", "field", null="is field where all labels are relations")
    relations: Any
    prior: Any

    @property
    def reads_unlabeled(self) -> bool:
        return self.prior is not None
