"""The settings of the tuning modes, one dataclass each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class ZeroShotTuning:
    name: str = "zero_shot"


@dataclass
class TrainedTuning:
    """What every mode with training says: its learning rate (null: the model's) and how long it trains.

    Steps are `epochs` passes over the training examples, at least `min_steps`.
    """

    name: str = "full"
    learning_rate: float | None = None
    epochs: int = 3
    min_steps: int = 100


@dataclass
class FullTuning(TrainedTuning):
    most_epochs: int | None = 10
    dropout: bool = True


@dataclass
class HeadTuning(TrainedTuning):
    name: str = "head"
    anchor: float = 10.0
    decoder: bool = False


@dataclass
class ClassifierTuning(TrainedTuning):
    name: str = "classifier"
    head_learning_rate: float = 1e-3
    pooling: str = "cls"
    dropout: bool = True


@dataclass
class FrozenTuning(TrainedTuning):
    """What every mode with a frozen model says."""

    learning_rate: float = 1e-2
    epochs: int = 5
    min_steps: int = 200
    dropout: bool = False


@dataclass
class SoftPromptTuning(FrozenTuning):
    name: str = "soft_prompt"
    learning_rate: float = 0.15
    min_steps: int = 100
    length: int | None = 20
    anchor: float = 2.0
    anchor_until: int = 80
    init: str = "random"
    text: str | None = None
    conditioned: bool = False
    bottleneck: int = 32
    network_learning_rate: float = 1e-3


@dataclass
class WordEmbeddingTuning(FrozenTuning):
    name: str = "word_embedding"
    learning_rate: float = 0.3
    epochs: int = 10
    anchor: float = 0.033
    anchor_until: int = 400
    init: str = "vocab"
    text: str | None = None
    freeze_model: bool = True
    model_learning_rate: float | None = None


@dataclass
class PTuningTuning(FrozenTuning):
    name: str = "p_tuning"
    learning_rate: float = 0.15
    network_learning_rate: float = 1e-3
    length: int | None = 20
    anchor: float = 2.0
    anchor_until: int = 80
    init: str = "random"
    text: str | None = None
    encoder: str = "lstm"
    hidden: int | None = None


@dataclass
class PrefixTuning(FrozenTuning):
    name: str = "prefix"
    length: int = 20
    anchor: float = 3.0
    anchor_until: int = 80
    init: str = "random"
    text: str | None = None
    projection: bool = False
    bottleneck: int = 128


@dataclass
class LoraTuning(FrozenTuning):
    name: str = "lora"
    rank: int = 8
    alpha: float = 16.0
    targets: Any = None  # null, linear, or ends of module names


@dataclass
class BitfitTuning(FrozenTuning):
    name: str = "bitfit"


TUNINGS: dict[str, type] = {
    "zero_shot": ZeroShotTuning,
    "head": HeadTuning,
    "full": FullTuning,
    "classifier": ClassifierTuning,
    "soft_prompt": SoftPromptTuning,
    "word_embedding": WordEmbeddingTuning,
    "p_tuning": PTuningTuning,
    "prefix": PrefixTuning,
    "lora": LoraTuning,
    "bitfit": BitfitTuning,
}
