"""The settings of the methods, one dataclass each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from pet_cli.errors import UserError


@dataclass
class MethodSettings:
    """What every method says.

    Attributes:
        uses_model: whether it asks a pretrained language model, so that model, tuning, ensemble, template, label words
            and their scoring mean something to it.
    """

    name: str = "???"
    uses_model: ClassVar[bool] = True

    def check(self) -> None:
        """Raises `UserError` for values that no run could use."""


@dataclass
class PromptSettings(MethodSettings):
    """A language model, as the groups model, tuning and ensemble say."""

    name: str = "prompt"


@dataclass
class TfidfSettings(MethodSettings):
    """N-grams of words and characters with a linear model."""

    name: str = "tfidf"
    words: Any = field(default_factory=lambda: [1, 2])
    characters: Any = field(default_factory=lambda: [2, 5])
    strengths: Any = field(default_factory=lambda: [0.1, 1.0, 10.0, 100.0, 1000.0])
    strength: float = 10.0
    folds: int = 5
    uses_model: ClassVar[bool] = False

    def check(self) -> None:
        for key in ("words", "characters"):
            lengths = getattr(self, key)
            if lengths is None:
                continue
            whole = isinstance(lengths, (list, tuple)) and len(lengths) == 2
            if not whole or not all(type(n) is int for n in lengths) or not 1 <= lengths[0] <= lengths[1] <= 10:
                raise UserError(
                    f"method.{key}={lengths}: the least and the most, such as [1,2], from 1 to 10; or null."
                )
        if self.words is None and self.characters is None:
            raise UserError("method.words=null, method.characters=null: one of them is needed, such as [1,2].")
        strengths = self.strengths if isinstance(self.strengths, (list, tuple)) else [self.strengths]
        for key, values in (("strengths", strengths), ("strength", [self.strength])):
            if not values or any(type(v) not in (int, float) or not 0 < v < float("inf") for v in values):
                raise UserError(f"method.{key}={getattr(self, key)}: must be above 0.")
        if self.folds < 2:
            raise UserError(f"method.folds={self.folds}: must be at least 2.")


METHODS: dict[str, type[MethodSettings]] = {
    "prompt": PromptSettings,
    "tfidf": TfidfSettings,
}
