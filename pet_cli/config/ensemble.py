"""The settings of the ensembles, one dataclass each, and what each is. The defaults stand in `conf/ensemble`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from pet_cli.config.bounds import Settings, bounded, one_of, rate
from pet_cli.errors import UserError

WEIGHTS = ("uniform", "score", "dev", "confidence")


@dataclass(kw_only=True)
class Ensemble(Settings):
    """What every ensemble is."""

    several: ClassVar[bool] = True
    """Whether there are members."""
    distils: ClassVar[bool] = False
    """Whether a student learns from the members' answers to unlabeled text."""

    name: str

    @property
    def weighing(self) -> Any:
        """What its members' weights come from, as `ensemble.weights` says; None where there are none."""
        return None


@dataclass(kw_only=True)
class NoEnsemble(Ensemble):
    several = False


@dataclass(kw_only=True)
class PatternsEnsemble(Ensemble):
    """Several templates, one verbalizer."""

    patterns: Any  # ids or templates; null: all of the task's
    models: str = one_of("separate", "shared")
    seeds: int = bounded(1, 10_000)
    average: str = one_of("predictions", "weights")
    combine: str = one_of("probabilities", "logits", "vote")
    weights: Any  # one of WEIGHTS, a metric, or numbers

    @property
    def weighing(self) -> Any:
        return self.weights

    def check(self, key: str = "") -> None:
        super().check(key)
        if self.average == "weights" and self.models == "shared":
            raise UserError(f"{key}.average=weights goes with {key}.models=separate.")
        if not isinstance(self.weights, str):
            numbers = self.weights if isinstance(self.weights, (list, tuple)) else []
            if not any(numbers) or not all(map(_is_weight, numbers)):
                raise UserError(f"{key}.weights={self.weights}: must be numbers >= 0 in a list, not all 0.")


@dataclass(kw_only=True)
class PvpsEnsemble(PatternsEnsemble):
    """Several pairs of template and verbalizer: those listed, or every pattern with every verbalizer."""

    own_verbalizer: ClassVar[bool] = False
    """Whether without a list of verbalizers it takes the run's own; else all of the task's."""

    pvps: Any
    verbalizers: Any


@dataclass(kw_only=True)
class PetEnsemble(PvpsEnsemble):
    """PET: members distilled into one classifier over unlabeled text."""

    distils = True
    own_verbalizer = True
    alpha: float = bounded(0, 1, below=True)
    unlabeled_batch_size: int = bounded(1)
    temperature: float = bounded(0, 100, above=True)
    student: Any  # classifier, or a pair of template and verbalizer
    student_tuning: Any  # a mode by its name, or its settings; null: see `config.build`
    student_steps: int | None = bounded(1, null="goes by the student's tuning")
    student_batch_size: int = bounded(1)
    student_learning_rate: float | None = rate("goes by the student's tuning")

    def check(self, key: str = "") -> None:
        super().check(key)
        if self.models == "shared":
            raise UserError(f"ensemble={self.name} trains separate models; {key}.models=shared goes with patterns.")
        if self.student != "classifier" and (not isinstance(self.student, (list, tuple)) or len(self.student) != 2):
            raise UserError(f"{key}.student={self.student}: write classifier, or a pair such as [p0,v0].")


@dataclass(kw_only=True)
class IpetEnsemble(PetEnsemble):
    """iPET: generations of members, each labeling the next one's training sets."""

    generations: int = bounded(1, 10_000)
    subset: float = bounded(0, 1, above=True)
    growth: float = bounded(1, 1e6, above=True)
    first: int = bounded(1)


def _is_weight(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
