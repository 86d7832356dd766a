"""The settings of the methods, one dataclass each. The defaults stand in `conf/method`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pet_cli.config.bounds import Settings, bounded
from pet_cli.errors import UserError


@dataclass(kw_only=True)
class MethodSettings(Settings):
    """What every method says."""

    uses_model: ClassVar[bool] = True
    """Whether it asks a pretrained language model, so that model, tuning, ensemble, template, label words and their
    scoring mean something to it."""
    era: ClassVar[str | None]
    """Which of `eras.ERAS` it belongs to; None where that goes by what is done with the language model."""

    name: str


@dataclass(kw_only=True)
class PromptSettings(MethodSettings):
    """A language model, as the groups model, tuning and ensemble say."""

    era = None


@dataclass(kw_only=True)
class TfidfSettings(MethodSettings):
    """N-grams of words and characters with a linear model."""

    uses_model = False
    era = "features"
    words: Any
    characters: Any
    strengths: Any
    strength: float = bounded(0, above=True)
    folds: int = bounded(2)

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
        strengths = self.strengths if isinstance(self.strengths, (list, tuple)) else [self.strengths]
        if not strengths or any(type(v) not in (int, float) or not 0 < v < float("inf") for v in strengths):
            raise UserError(f"{key}.strengths={self.strengths}: must be above 0.")
