"""The typed schema of a run, and every check that needs neither a model nor data.

Plain dataclasses: Hydra composes into them, a notebook may build them. Importing this costs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pet_cli.errors import UserError, not_allowed
from pet_cli.template import Template, parse_plain, plain_template
from pet_cli.verbalizer_words import COMBINATIONS, parse_words


@dataclass
class SourceConfig:
    """Where a task's data come from unless `data.path` says otherwise."""

    hub: str | None = None
    config: str | None = None
    revision: str | None = None
    splits: dict[str, str] = field(default_factory=dict)  # ours: the hub's
    path: str | None = None  # a folder inside the package


@dataclass
class TaskConfig:
    name: str = "???"
    fields: dict[str, str] = field(default_factory=dict)  # our field: the source's column
    label: str = "label"
    labels: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)  # the source's label value: our label
    metric: str = "accuracy"
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
    dev_shots: int = 0
    fields: dict[str, str] = field(default_factory=dict)
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
class ScoringConfig:
    combine: str = "mean"
    learned_rate: float = 0.05
    learned_penalty: float = 0.01


@dataclass
class PetConfig:
    """The whole of a run's settings: the root of `conf/train.yaml`."""

    task: TaskConfig = field(default_factory=TaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    tuning: Any = None
    ensemble: Any = None
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
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
    dropout: bool = True


@dataclass
class HeadTuning(TrainedTuning):
    name: str = "head"
    decoder: bool = False


@dataclass
class ClassifierTuning(TrainedTuning):
    name: str = "classifier"
    head_learning_rate: float = 1e-3
    pooling: str = "cls"
    dropout: bool = True


@dataclass
class NoEnsemble:
    name: str = "none"


TUNINGS: dict[str, type] = {
    "zero_shot": ZeroShotTuning,
    "head": HeadTuning,
    "full": FullTuning,
    "classifier": ClassifierTuning,
}
ENSEMBLES: dict[str, type] = {"none": NoEnsemble}

_DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")


def check(config: PetConfig) -> None:
    """Raises `UserError` for anything wrong that can be seen without data or a model."""
    if config.precision not in ("auto", "fp32", "bf16"):
        raise not_allowed("precision", config.precision, ("auto", "fp32", "bf16"))
    kind, _, index = config.device.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (index and (kind != "cuda" or not index.isdigit())):
        raise not_allowed("device", config.device, _DEVICES)
    if config.save_model not in ("auto", "always", "never"):
        raise not_allowed("save_model", config.save_model, ("auto", "always", "never"))
    if config.trainer.class_weights not in ("none", "balanced"):
        raise not_allowed("trainer.class_weights", config.trainer.class_weights, ("none", "balanced"))
    if config.scoring.combine not in COMBINATIONS:
        raise not_allowed("scoring.combine", config.scoring.combine, COMBINATIONS)
    if getattr(config.tuning, "pooling", "cls") not in ("cls", "mean"):
        raise not_allowed("tuning.pooling", config.tuning.pooling, ("cls", "mean"))
    _at_least("data.shots", config.data.shots, 1)
    _at_least("data.dev_shots", config.data.dev_shots, 0)
    _at_least("data.max_test", config.data.max_test, 1)
    _at_least("data.max_unlabeled", config.data.max_unlabeled, 1)
    for key in ("max_steps", "batch_size", "eval_batch_size", "eval_every"):
        _at_least(f"trainer.{key}", getattr(config.trainer, key), 1)
    _at_least("trainer.max_length", config.trainer.max_length, 8)
    for key in ("epochs", "min_steps"):
        _at_least(f"tuning.{key}", getattr(config.tuning, key, None), 1)
    for key, rate in (
        ("trainer.learning_rate", config.trainer.learning_rate),
        ("model.learning_rate", config.model.learning_rate),
        ("tuning.learning_rate", getattr(config.tuning, "learning_rate", None)),
    ):
        if rate is not None and not 0 < rate < 100:
            raise UserError(f"{key}={rate}: must be above 0.")
    if not 0 <= config.trainer.warmup < 1:
        raise UserError(f"trainer.warmup={config.trainer.warmup}: the share of steps with a rising rate, 0 to below 1.")
    if not 0 < config.data.test_fraction < 1:
        raise UserError(f"data.test_fraction={config.data.test_fraction}: must lie between 0 and 1.")
    if len(set(config.task.labels)) != len(config.task.labels):
        raise UserError(f"task.labels={config.task.labels}: a label stands there twice.")
    for name in config.data.fields:
        if name not in config.task.fields:
            raise not_allowed("data.fields", name, config.task.fields)
    if config.tuning.name != "classifier":
        verbalizer_words(config)
        template = prompt_template(config)
        if template.masks > 1:
            raise UserError(f"template '{template.source}' has {template.masks} masks; one is what is supported.")
    elif len(labels(config)) < 2:
        raise UserError("task.labels: a task needs at least two labels; name them by verbalizer= or data.labels=.")


def _at_least(key: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise UserError(f"{key}={value}: must be at least {least}.")


def labels(config: PetConfig) -> list[str]:
    """The label names in their order; those of a custom task are the keys of its verbalizer."""
    if config.task.labels:
        return list(config.task.labels)
    if isinstance(config.verbalizer, dict):
        return [str(label) for label in config.verbalizer]
    if config.data.labels:
        return list(dict.fromkeys(str(label) for label in config.data.labels.values()))
    raise UserError(
        f"task={config.task.name} names no labels: give them with their words, "
        "such as verbalizer='{1: terrible, 5: great}'."
    )


def _by_id(key: str, given: Any, letter: str, items: list[Any], task: str) -> Any:
    ids = [f"{letter}{index}" for index in range(len(items))]
    if str(given) not in ids:
        if not ids:
            raise UserError(f"{key}={given}: task '{task}' has none of its own; give one in full.")
        raise not_allowed(key, given, ids)
    return items[ids.index(str(given))]


def template_source(config: PetConfig) -> str:
    """The template's line: `template=` in full, else the task's by its id in `pattern=`."""
    if config.template is not None:
        return config.template
    source: str = _by_id("pattern", config.pattern, "p", config.task.patterns, config.task.name)
    return source


def prompt_template(config: PetConfig) -> Template:
    return Template.parse(template_source(config), list(config.task.fields))


def input_template(config: PetConfig) -> Template:
    """The plain input of a classifier: the task's fields, no cloze."""
    return parse_plain(plain_template(list(config.task.fields)))


def verbalizer_words(config: PetConfig) -> dict[str, dict[str, float]]:
    """label -> word -> weight, from the mapping in `verbalizer=` or the task's by its id."""
    verbalizer = config.verbalizer
    if not isinstance(verbalizer, dict):
        verbalizer = _by_id("verbalizer", verbalizer, "v", config.task.verbalizers, config.task.name)
    return parse_words(verbalizer, labels(config))
