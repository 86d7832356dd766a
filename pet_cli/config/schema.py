"""The typed schema of a run: the root of `conf/train.yaml` and its groups.

Plain dataclasses of types and bounds: Hydra composes into them. They have no defaults, which stand in `conf` alone;
`config.build` makes them of those. Importing this costs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pet_cli.config.bounds import SEEDS, Settings, bounded, one_of, rate
from pet_cli.config.choice import ChoiceConfig
from pet_cli.config.demonstrations import DemonstrationsConfig
from pet_cli.errors import not_allowed

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
"""What may divide the columns of a csv, by the name that `data.separator` also takes."""


@dataclass(kw_only=True)
class SourceConfig(Settings):
    """Where a task's data come from unless `data.path` says otherwise."""

    hub: str | None
    config: str | None
    revision: str | None
    label: str | None
    splits: dict[str, str]
    path: str | None


@dataclass(kw_only=True)
class TaskConfig(Settings):
    """What is classified."""

    name: str
    language: str
    fields: dict[str, Any]  # our field: the source's column (columns.py)
    label: str
    labels: list[Any]  # names; resolve.labels has them as text
    values: dict[Any, Any]  # the source's label value: our label
    target: str  # what is predicted: tasks/targets.py
    range: Any  # of a number: [low, high]
    threshold: Any  # of several labels: the probability above which one is predicted
    candidates: Any  # of a choice: its columns, or the one column that holds a list
    group: str | None  # the column (or path) that says which question a row's answer belongs to
    reader: str | None  # of nested rows: tasks/readers.py
    metrics: Any  # names of tasks/metrics.py, or a single one; the first is the score
    source: SourceConfig
    patterns: list[str]
    verbalizers: list[Any]
    pvps: list[Any]


@dataclass(kw_only=True)
class ModelConfig(Settings):
    """The pretrained language model."""

    name: str
    revision: str | None
    learning_rate: float | None = rate("goes by the model's width")
    trust_remote_code: bool


@dataclass(kw_only=True)
class DataConfig(Settings):
    """Which examples are read and drawn."""

    path: str | None
    shots: int | None = bounded(0, null="takes all")
    fewer: str = one_of("error", "take")
    dev_shots: int = bounded(0)
    dev: str | None = one_of("validation", null="draws data.dev_shots")
    unlabeled: str = one_of("auto", "file", "train")
    separator: str | None = one_of(*SEPARATORS, *SEPARATORS.values(), null="finds it")
    fields: Any  # a mapping, our field: their column; Hydra cannot set new keys of a typed one
    label: str | None
    labels: Any  # a mapping, their label value: our label
    max_test: int | None = bounded(1, null="takes all")
    max_unlabeled: int | None = bounded(1, null="takes all")
    test_fraction: float = bounded(0, 1, above=True, below=True)
    seed: int = bounded(0, SEEDS)


@dataclass(kw_only=True)
class TrainerConfig(Settings):
    """How the training loop runs."""

    max_steps: int | None = bounded(1, null="goes by tuning.epochs")
    learning_rate: float | None = rate("takes the tuning mode's or the model's")
    batch_size: int = bounded(1)
    eval_batch_size: int = bounded(1)
    max_length: int | None = bounded(8, null="is 256, or what the model takes")
    weight_decay: float = bounded(0, 100)
    warmup: float = bounded(0, 1, below=True)
    grad_clip: float | None = bounded(0, 1e6, null="does not clip, as 0")
    class_weights: str = one_of("none", "balanced")
    eval_every: int = bounded(1)
    mlm_alpha: float = bounded(0, 1, below=True)
    mlm_batch_size: int = bounded(1)
    mlm_window: int | None = bounded(3, null="masks 15 % of the tokens")
    seed: int = bounded(0, SEEDS)


DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")


@dataclass(kw_only=True)
class PetConfig(Settings):
    """The whole of a run's settings: the root of `conf/train.yaml`."""

    task: TaskConfig
    model: ModelConfig
    method: Any  # a `MethodSettings`, by its name
    tuning: Any  # a `Tuning`, by its name
    ensemble: Any  # an `Ensemble`, by its name
    scoring: Any  # a `Scoring`, by its name
    data: DataConfig
    trainer: TrainerConfig
    demonstrations: DemonstrationsConfig
    select: Any  # names of rules, config/choice.py
    choice: ChoiceConfig
    pattern: Any
    verbalizer: Any
    template: str | None
    found: Any  # null, or the folder of a search: what it found, once composed (`Found`)
    seed: int = bounded(0, SEEDS)
    device: str
    precision: str = one_of("auto", "fp32", "bf16")
    save_model: str = one_of("auto", "always", "never")
    resume: bool
    baseline: bool

    def check(self, key: str = "") -> None:
        super().check(key)
        kind, colon, index = self.device.partition(":")
        if kind not in ("auto", "cpu", "cuda", "mps") or (colon and (kind != "cuda" or not index.isdecimal())):
            raise not_allowed("device", self.device, DEVICES)
