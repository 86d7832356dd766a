"""The settings of the verbalizers (`scoring=`), one dataclass each."""

from __future__ import annotations

from dataclasses import dataclass

from pet_cli.errors import UserError, not_allowed
from pet_cli.verbalizers.words import COMBINATIONS

INITS = ("words", "random")


@dataclass
class WordsScoring:
    name: str = "words"
    combine: str = "mean"
    learned_rate: float = 0.05
    learned_penalty: float = 0.01
    length_normalise: bool = True

    @property
    def trains(self) -> bool:
        """Whether the verbalizer has something to train, even where the tuning mode has nothing."""
        return self.combine == "learned"

    def check(self) -> None:
        """Raises `UserError` for a value that is not allowed."""
        if self.combine not in COMBINATIONS:
            raise not_allowed("scoring.combine", self.combine, COMBINATIONS)


@dataclass
class SoftScoring:
    name: str = "soft"
    init: str = "words"
    learning_rate: float = 0.1
    anchor: float = 0.0

    @property
    def trains(self) -> bool:
        return True

    def check(self) -> None:
        if self.init not in INITS:
            raise not_allowed("scoring.init", self.init, INITS)
        if not 0 < self.learning_rate < 100:
            raise UserError(f"scoring.learning_rate={self.learning_rate}: must be above 0.")
        if self.anchor < 0:
            raise UserError(f"scoring.anchor={self.anchor}: must be at least 0.")


SCORINGS: dict[str, type] = {"words": WordsScoring, "soft": SoftScoring}
