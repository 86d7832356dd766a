"""The settings of the verbalizers (`scoring=`), one dataclass each. The defaults stand in `conf/scoring`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pet_cli.config.bounds import Settings, bounded, one_of, rate
from pet_cli.verbalizers.words import COMBINATIONS


@dataclass(kw_only=True)
class Scoring(Settings):
    """What every verbalizer says."""

    name: str
    scores_words: ClassVar[bool] = False
    """Whether it is words that score, so that an example's own candidates can take their place."""

    @property
    def trains(self) -> bool:
        """Whether the verbalizer has something to train, even where the tuning mode has nothing."""
        return False


@dataclass(kw_only=True)
class WordsScoring(Scoring):
    """The model's own scores of words, several of a label combined."""

    scores_words = True

    combine: str = one_of(*COMBINATIONS)
    learned_rate: float = rate()
    learned_penalty: float = bounded(0, 1e6)
    length_normalise: bool

    @property
    def trains(self) -> bool:
        return self.combine == "learned"


@dataclass(kw_only=True)
class SoftScoring(Scoring):
    """A trained vector for each label."""

    init: str = one_of("words", "random")
    learning_rate: float = rate()
    anchor: float = bounded(0, 1e6)

    @property
    def trains(self) -> bool:
        return True
