"""The typed schema of a run, and what follows from it: labels, templates, words, members.

Plain dataclasses: Hydra composes into them, a notebook may build them. Importing this costs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pet_cli.errors import UserError, not_allowed
from pet_cli.template import Template, parse_plain, plain_template
from pet_cli.verbalizer_words import all_words, parse_words


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
    fewer: str = "error"
    dev_shots: int = 0
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
class ScoringConfig:
    combine: str = "mean"
    learned_rate: float = 0.05
    learned_penalty: float = 0.01
    length_normalise: bool = True


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
    weights: Any = "accuracy"
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
ENSEMBLES: dict[str, type] = {
    "none": NoEnsemble,
    "patterns": PatternsEnsemble,
    "pvps": PvpsEnsemble,
    "pet": PetEnsemble,
    "ipet": IpetEnsemble,
}


def pvps(config: PetConfig) -> list[tuple[Any, Any]]:
    """The (pattern, verbalizer) pairs of an ensemble's members."""
    ensemble = config.ensemble
    listed = getattr(ensemble, "pvps", None)
    if listed is not None:
        if not isinstance(listed, (list, tuple)) or not all(
            isinstance(p, (list, tuple)) and len(p) == 2 for p in listed
        ):
            raise UserError(f"ensemble.pvps={listed}: write pairs, such as [[p0,v0],[p1,v1]].")
        pairs = [(pattern, verbalizer) for pattern, verbalizer in listed]
    else:
        patterns = _ids("ensemble.patterns", ensemble.patterns, "p", len(config.task.patterns))
        words = getattr(ensemble, "verbalizers", None)
        if words is None and type(ensemble) is PvpsEnsemble and config.task.pvps and ensemble.patterns is None:
            return [(pattern, verbalizer) for pattern, verbalizer in config.task.pvps]
        if words is None:
            words = [config.verbalizer] if type(ensemble) is not PvpsEnsemble else None
        verbalizers = _ids("ensemble.verbalizers", words, "v", len(config.task.verbalizers))
        pairs = [(pattern, verbalizer) for pattern in patterns for verbalizer in verbalizers]
    if not pairs:
        raise UserError("ensemble: no members.")
    return pairs


def _ids(key: str, given: Any, letter: str, n: int) -> list[Any]:
    if given is None:
        return [f"{letter}{index}" for index in range(n)]
    if not isinstance(given, (list, tuple)):
        raise UserError(f"{key}={given}: write a list, such as [{letter}0,{letter}1].")
    return list(given)


def member_config(config: PetConfig, pattern: Any, verbalizer: Any, seed: int | None = None) -> PetConfig:
    """The settings of one member: a run of its own, with one template and one verbalizer."""
    by_id = isinstance(pattern, str) and pattern[:1] == "p" and pattern[1:].isdigit()
    return replace(
        config,
        pattern=pattern if by_id else "p0",
        template=None if by_id else pattern,
        verbalizer=verbalizer,
        ensemble=NoEnsemble(),
        trainer=replace(config.trainer, seed=config.trainer.seed if seed is None else seed),
    )


def trains(config: PetConfig) -> bool:
    """Whether a run has anything to train: its tuning mode, or the weights of label words alone."""
    return config.tuning.name != "zero_shot" or config.scoring.combine == "learned"


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


def _by_id(key: str, given: Any, letter: str, items: list[Any], task: str, others: tuple[str, ...] = ()) -> Any:
    ids = [f"{letter}{index}" for index in range(len(items))]
    if str(given) not in ids:
        if not ids:
            raise UserError(f"{key}={given}: task '{task}' has none of its own; give one in full.")
        raise not_allowed(key, given, [*ids, *others])
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
    """label -> word -> weight: the mapping in `verbalizer=`, the task's by its id, or all words of all the task's."""
    verbalizer = config.verbalizer
    if verbalizer == "all" and config.task.verbalizers:
        return all_words([parse_words(one, labels(config)) for one in config.task.verbalizers])
    if not isinstance(verbalizer, dict):
        verbalizer = _by_id("verbalizer", verbalizer, "v", config.task.verbalizers, config.task.name, ("all",))
    return parse_words(verbalizer, labels(config))
