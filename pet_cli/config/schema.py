"""The typed schema of a run: the root of `conf/train.yaml` and its groups.

Plain dataclasses: Hydra composes into them, a notebook may build them. Importing this costs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pet_cli.config.method import PromptSettings

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
"""What may divide the columns of a csv, by the name that `data.separator` also takes."""


@dataclass
class SourceConfig:
    """Where a task's data come from unless `data.path` says otherwise."""

    hub: str | None = None
    config: str | None = None
    revision: str | None = None
    label: str | None = None  # the hub's label column, where it is not the task's
    splits: dict[str, str] = field(default_factory=dict)  # ours: the hub's
    path: str | None = None  # a folder inside the package


@dataclass
class TaskConfig:
    name: str = "???"
    fields: dict[str, Any] = field(default_factory=dict)  # our field: the source's column (columns.py)
    label: str = "label"
    labels: list[Any] = field(default_factory=list)  # names; resolve.labels has them as text
    values: dict[Any, Any] = field(default_factory=dict)  # the source's label value: our label
    target: str = "label"  # what is predicted: tasks/targets.py
    range: Any = None  # of a number: [low, high]
    threshold: Any = None  # of several labels: the probability above which one is predicted
    metrics: Any = None  # names of tasks/metrics.py, or a single one; the first is the score
    source: SourceConfig = field(default_factory=SourceConfig)
    patterns: list[str] = field(default_factory=list)
    verbalizers: list[Any] = field(default_factory=list)
    pvps: list[Any] = field(default_factory=list)


@dataclass
class ModelConfig:
    name: str = "embedded"
    revision: str | None = None
    learning_rate: float | None = None
    trust_remote_code: bool = False


@dataclass
class DataConfig:
    path: str | None = None
    shots: int | None = 16
    fewer: str = "error"
    dev_shots: int = 0
    dev: str | None = None
    unlabeled: str = "auto"
    separator: str | None = None
    fields: Any = None  # a mapping; typed in checks.py, since Hydra cannot set new keys of a typed one
    label: str | None = None
    labels: Any = None
    max_test: int | None = None
    max_unlabeled: int | None = None
    test_fraction: float = 0.5
    seed: int = 13


@dataclass
class TrainerConfig:
    max_steps: int | None = None
    learning_rate: float | None = None
    batch_size: int = 8
    eval_batch_size: int = 32
    max_length: int | None = None
    weight_decay: float = 0.01
    warmup: float = 0.0
    grad_clip: float = 1.0
    class_weights: str = "none"
    eval_every: int = 20
    seed: int = 13


@dataclass
class PetConfig:
    """The whole of a run's settings: the root of `conf/train.yaml`."""

    task: TaskConfig = field(default_factory=TaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    method: Any = None  # null: a prompt
    tuning: Any = None
    ensemble: Any = None
    scoring: Any = None
    data: DataConfig = field(default_factory=DataConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    pattern: Any = "p0"
    verbalizer: Any = "v0"
    template: str | None = None
    seed: int = 13
    device: str = "auto"
    precision: str = "auto"
    save_model: str = "auto"
    resume: bool = False

    def __post_init__(self) -> None:
        if self.method is None:
            self.method = PromptSettings()
