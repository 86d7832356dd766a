"""Every check of a configuration that needs neither a model nor data, made before either is loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pet_cli.config.columns import columns
from pet_cli.config.ensemble import IpetEnsemble, PatternsEnsemble, PetEnsemble
from pet_cli.config.resolve import (
    labels,
    member_config,
    metrics,
    prompt_template,
    pvps,
    template_source,
    verbalizer_words,
    weighing,
)
from pet_cli.config.schema import SEPARATORS, PetConfig
from pet_cli.errors import UserError, not_allowed

_WEIGHTS = ("uniform", "score", "dev", "confidence")
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
    if config.data.fewer not in ("error", "take"):
        raise not_allowed("data.fewer", config.data.fewer, ("error", "take"))
    if config.data.dev not in (None, "validation"):
        raise not_allowed("data.dev", config.data.dev, ("null", "validation"))
    if config.data.unlabeled not in ("auto", "file", "train"):
        raise not_allowed("data.unlabeled", config.data.unlabeled, ("auto", "file", "train"))
    if config.data.separator not in (None, *SEPARATORS, *SEPARATORS.values()):
        raise not_allowed("data.separator", config.data.separator, SEPARATORS)
    if config.trainer.class_weights not in ("none", "balanced"):
        raise not_allowed("trainer.class_weights", config.trainer.class_weights, ("none", "balanced"))
    config.scoring.check()
    if getattr(config.tuning, "pooling", "cls") not in ("cls", "mean"):
        raise not_allowed("tuning.pooling", config.tuning.pooling, ("cls", "mean"))
    from_nothing = isinstance(config.ensemble, PetEnsemble)  # the untrained models can label texts
    _at_least("data.shots", config.data.shots, 0 if from_nothing else 1)
    _at_least("data.dev_shots", config.data.dev_shots, 0)
    _at_least("data.max_test", config.data.max_test, 1)
    _at_least("data.max_unlabeled", config.data.max_unlabeled, 1)
    for key in ("max_steps", "batch_size", "eval_batch_size", "eval_every"):
        _at_least(f"trainer.{key}", getattr(config.trainer, key), 1)
    _at_least("trainer.max_length", config.trainer.max_length, 8)
    for key in ("epochs", "min_steps", "most_epochs", "anchor_until"):
        _at_least(f"tuning.{key}", getattr(config.tuning, key, None), 1)
    _at_least("tuning.anchor", getattr(config.tuning, "anchor", None), 0)
    for key, rate in (
        ("trainer.learning_rate", config.trainer.learning_rate),
        ("model.learning_rate", config.model.learning_rate),
        *((f"tuning.{key}", rate) for key, rate in vars(config.tuning).items() if key.endswith("learning_rate")),
    ):
        if rate is not None and not 0 < rate < 100:
            raise UserError(f"{key}={rate}: must be above 0.")
    if not 0 <= config.trainer.warmup < 1:
        raise UserError(f"trainer.warmup={config.trainer.warmup}: the share of steps with a rising rate, 0 to below 1.")
    if not 0 < config.data.test_fraction < 1:
        raise UserError(f"data.test_fraction={config.data.test_fraction}: must lie between 0 and 1.")
    for ours, written in config.task.fields.items():
        columns(f"task.fields.{ours}", written)
    if config.data.fields is not None and not isinstance(config.data.fields, dict):
        raise UserError("data.fields: write our field: their column, such as data.fields='{text: review}'.")
    for name, written in (config.data.fields or {}).items():
        if name not in config.task.fields:
            raise not_allowed("data.fields", name, config.task.fields)
        columns(f"data.fields.{name}", written)
    metrics(config)
    if config.trainer.class_weights != "none" and config.task.target != "label":
        raise UserError(f"trainer.class_weights={config.trainer.class_weights}: only for task.target=label.")
    config.method.check()
    if not config.method.uses_model:
        _check_features(config)
    elif isinstance(config.ensemble, PatternsEnsemble):
        _check_ensemble(config, config.ensemble)
    elif config.tuning.name != "classifier":
        verbalizer_words(config)
        template = prompt_template(config)
        if template.masks > 1:
            raise UserError(f"template '{template.source}' has {template.masks} masks; one is what is supported.")
    else:
        _check_labels(config)


def _check_labels(config: PetConfig) -> None:
    if len(labels(config)) < 2:
        raise UserError("task.labels: a task needs at least two labels; name them by verbalizer= or data.labels=.")


def _check_features(config: PetConfig) -> None:
    """A method without a language model has no members to combine, and always learns from examples."""
    if config.ensemble.name != "none":
        raise UserError(
            f"ensemble={config.ensemble.name} varies prompts, and method={config.method.name} has none; "
            "leave one of them out."
        )
    _check_labels(config)


def _check_ensemble(config: PetConfig, ensemble: PatternsEnsemble) -> None:
    """Every member's template and words, and the values of the ensemble's own keys."""
    if config.tuning.name == "classifier":
        raise UserError(f"ensemble={ensemble.name}: tuning=classifier has no prompts to vary; choose another tuning.")
    allowed: dict[str, tuple[str, ...]] = {
        "models": ("separate", "shared"),
        "average": ("predictions", "weights"),
        "combine": ("probabilities", "logits", "vote"),
    }
    for key, values in allowed.items():
        if getattr(ensemble, key) not in values:
            raise not_allowed(f"ensemble.{key}", getattr(ensemble, key), values)
    _at_least("ensemble.seeds", ensemble.seeds, 1)
    pairs = pvps(config)
    for pattern, verbalizer in pairs:
        member = member_config(config, pattern, verbalizer)
        with _named("ensemble"):
            verbalizer_words(member)
            if prompt_template(member).masks > 1:
                raise UserError(f"template '{template_source(member)}' has several masks; one is supported.")
    if ensemble.models == "shared" and config.tuning.name not in ("full", "zero_shot"):
        raise UserError(f"ensemble.models=shared goes with tuning=full, not tuning={config.tuning.name}.")
    if ensemble.average == "weights" and ensemble.models == "shared":
        raise UserError("ensemble.average=weights goes with ensemble.models=separate.")
    _check_weights(config, ensemble, len(pairs))
    if isinstance(ensemble, PetEnsemble):
        _check_pet(config, ensemble)


def _check_weights(config: PetConfig, ensemble: PatternsEnsemble, pairs: int) -> None:
    weights = ensemble.weights
    if isinstance(weights, (list, tuple)):
        n = pairs * (ensemble.seeds if ensemble.average == "predictions" else 1)
        if len(weights) not in (pairs, n):
            raise UserError(f"ensemble.weights={weights}: {len(weights)} weights for {pairs} templates with words.")
        if any(isinstance(w, bool) or not isinstance(w, (int, float)) or w < 0 for w in weights) or not any(weights):
            raise UserError(f"ensemble.weights={weights}: must be numbers >= 0, not all 0.")
    elif weights not in _WEIGHTS and weighing(config) is None:
        raise not_allowed("ensemble.weights", weights, (*_WEIGHTS, "a metric", "a list of numbers"))
    elif weights == "dev" and not (config.data.dev_shots or config.data.dev):
        raise UserError("ensemble.weights=dev needs a development set: give data.dev_shots or data.dev=validation.")


def _check_pet(config: PetConfig, ensemble: PetEnsemble) -> None:
    if not 0 <= ensemble.alpha < 1:
        raise UserError(f"ensemble.alpha={ensemble.alpha}: the share of the MLM loss, 0 to below 1.")
    if not 0 < ensemble.temperature <= 100:
        raise UserError(f"ensemble.temperature={ensemble.temperature}: must be above 0 and at most 100.")
    if ensemble.models == "shared":
        raise UserError(f"ensemble={ensemble.name} trains separate models; ensemble.models=shared goes with patterns.")
    for key in ("unlabeled_batch_size", "student_steps", "student_batch_size"):
        _at_least(f"ensemble.{key}", getattr(ensemble, key), 1)
    if ensemble.student != "classifier":
        if not isinstance(ensemble.student, (list, tuple)) or len(ensemble.student) != 2:
            raise UserError(f"ensemble.student={ensemble.student}: write classifier, or a pair such as [p0,v0].")
        with _named("ensemble.student"):
            verbalizer_words(member_config(config, *ensemble.student))
            prompt_template(member_config(config, *ensemble.student))
    if isinstance(ensemble, IpetEnsemble):
        _at_least("ensemble.generations", ensemble.generations, 1)
        _at_least("ensemble.first", ensemble.first, 1)
        if not 0 < ensemble.subset <= 1:
            raise UserError(f"ensemble.subset={ensemble.subset}: a share of the other models, above 0 to 1.")
        if ensemble.growth <= 1:
            raise UserError(f"ensemble.growth={ensemble.growth}: must be above 1.")
        if len(pvps(config)) * ensemble.seeds < 2:
            raise UserError("ensemble=ipet needs at least two models to label for each other.")


@contextlib.contextmanager
def _named(key: str) -> Iterator[None]:
    """Errors inside, which name a pattern or a verbalizer, name also the key that asked for it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{key}: {error}") from None


def _at_least(key: str, value: float | None, least: int) -> None:
    if value is not None and value < least:
        raise UserError(f"{key}={value}: must be at least {least}.")
