"""The settings of the ensembles, one dataclass each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class NoEnsemble:
    name: str = "none"


@dataclass
class PatternsEnsemble:
    """Several templates, one verbalizer."""

    name: str = "patterns"
    patterns: Any = None  # ids or templates; null: all of the task's
    models: str = "separate"
    seeds: int = 1
    average: str = "predictions"
    combine: str = "probabilities"
    weights: Any = "uniform"


@dataclass
class PvpsEnsemble(PatternsEnsemble):
    """Several pairs of template and verbalizer: those listed, or every pattern with every verbalizer."""

    name: str = "pvps"
    pvps: Any = None
    verbalizers: Any = None


@dataclass
class PetEnsemble(PvpsEnsemble):
    """PET: members distilled into one classifier over unlabeled text."""

    name: str = "pet"
    seeds: int = 3
    combine: str = "logits"
    weights: Any = "score"
    alpha: float = 1e-4
    unlabeled_batch_size: int = 12
    temperature: float = 2.0
    student: Any = "classifier"
    student_steps: int | None = None
    student_batch_size: int = 8
    student_learning_rate: float | None = None


@dataclass
class IpetEnsemble(PetEnsemble):
    """iPET: generations of members, each labeling the next one's training sets."""

    name: str = "ipet"
    generations: int = 3
    subset: float = 0.25
    growth: float = 5.0
    first: int = 10


ENSEMBLES: dict[str, type] = {
    "none": NoEnsemble,
    "patterns": PatternsEnsemble,
    "pvps": PvpsEnsemble,
    "pet": PetEnsemble,
    "ipet": IpetEnsemble,
}
