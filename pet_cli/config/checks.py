"""Every check of a configuration that needs neither a model nor data, made before either is loaded.

The bounds of single keys stand beside their types; here is what goes together and what does not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pet_cli.config import nsp, registry
from pet_cli.config.choice import check_choice
from pet_cli.config.columns import columns
from pet_cli.config.demonstrations import check_demonstrations
from pet_cli.config.ensemble import WEIGHTS, IpetEnsemble, PatternsEnsemble, PetEnsemble
from pet_cli.config.method import NspSettings
from pet_cli.config.resolve import (
    labels,
    member_config,
    metrics,
    prompt_template,
    pvps,
    trains,
    verbalizer_words,
    weighing,
)
from pet_cli.config.schema import PetConfig
from pet_cli.errors import Unfit, UserError, choices, not_allowed
from pet_cli.tasks.readers import check as check_reader
from pet_cli.tasks.targets import TARGETS


def check(config: PetConfig, *, learns: bool = True, asks: bool = True) -> None:
    """Raises `UserError` for anything wrong that can be seen without data or a model.

    Args:
        learns: whether examples are needed to learn from; a search for prompts can do without.
        asks: whether label words are needed; a search for them can do without.
    """
    config.check()
    for group in registry.KINDS:
        getattr(config, group).check(group)
    if learns:
        _check_shots(config)
    _check_fields(config)
    if config.found is not None:
        config.found.check_task(config.task.name, labels(config), list(config.task.fields))
    metrics(config)
    check_reader(config.task.reader)
    if config.task.target not in config.method.targets and config.task.target in TARGETS:
        raise Unfit(
            f"method={config.method.name} is only for task.target={choices(config.method.targets)}, not "
            f"{config.task.target}."
        )
    if config.task.target != "label" and isinstance(config.ensemble, IpetEnsemble):
        raise Unfit(
            f"ensemble: iPET, which labels texts for its members, is only for task.target=label, not "
            f"{config.task.target}."
        )
    if config.task.target == "choice" and config.ensemble.distils:
        raise Unfit(
            f"ensemble={config.ensemble.name}: a student learns how likely labels are, and the examples of task "
            f"'{config.task.name}' bring their own candidates; choose another ensemble."
        )
    if (config.task.candidates is None) == (config.task.target == "choice"):
        raise UserError(
            f"task.candidates={config.task.candidates} with task.target={config.task.target}: a choice names the "
            "columns of its candidates, and nothing else has any."
        )
    if config.trainer.class_weights != "none" and config.task.target != "label":
        raise UserError(f"trainer.class_weights={config.trainer.class_weights}: only for task.target=label.")
    if config.trainer.mlm_alpha > 0 and (config.ensemble.several or not config.tuning.uses_prompt):
        raise Unfit(
            "trainer.mlm_alpha: only for a single prompt; PET's members have ensemble.alpha, a classifier has no masks."
        )
    if not config.method.tunes:
        _check_untuned(config)
    elif config.ensemble.several:
        _check_ensemble(config, config.ensemble)
    elif config.tuning.uses_prompt:
        _check_prompt(config, asks)
    else:
        _check_labels(config)
    check_demonstrations(config, trains(config))
    check_choice(config)


def _check_shots(config: PetConfig) -> None:
    """Without labeled examples there is what learns nothing from any, and PET, whose members may be untrained."""
    if config.data.shots != 0 or config.ensemble.distils or config.method.from_nothing:
        return
    if trains(config) or weighing(config) is not None:
        raise Unfit("data.shots=0: must be at least 1, or null, which takes all; none at all is tuning=zero_shot.")


def _check_labels(config: PetConfig) -> None:
    if config.task.target == "choice":
        raise Unfit(
            f"tuning={config.tuning.name} has no mask, and the examples of task '{config.task.name}' bring their own "
            "candidates; choose another tuning."
        )
    if len(labels(config)) < 2:
        raise UserError("task.labels: a task needs at least two labels; name them by verbalizer= or data.labels=.")


def _check_untuned(config: PetConfig) -> None:
    """A method without prompts has no members to combine."""
    if config.ensemble.several:
        raise Unfit(
            f"ensemble={config.ensemble.name} varies prompts, and method={config.method.name} has none; "
            "leave one of them out."
        )
    if config.trainer.mlm_alpha > 0:
        raise Unfit(f"trainer.mlm_alpha: method={config.method.name} has no masks to fill; leave it at 0.")
    _check_labels(config)
    config.method.check_labels("method", labels(config))
    if isinstance(config.method, NspSettings):
        nsp.check(config)


def _check_fields(config: PetConfig) -> None:
    for ours, written in config.task.fields.items():
        columns(f"task.fields.{ours}", written)
    if config.data.fields is not None and not isinstance(config.data.fields, dict):
        raise UserError("data.fields: write our field: their column, such as data.fields='{text: review}'.")
    for name, written in (config.data.fields or {}).items():
        if name not in config.task.fields:
            raise not_allowed("data.fields", name, config.task.fields)
        columns(f"data.fields.{name}", written)


def _check_prompt(config: PetConfig, asks: bool = True) -> None:
    """The template and the label words of a run or of an ensemble's member."""
    if asks or isinstance(config.verbalizer, dict):
        verbalizer_words(config)
    if config.task.target == "choice" and not config.scoring.scores_words:
        raise Unfit(
            f"scoring={config.scoring.name} trains a vector for each label, and the examples of task "
            f"'{config.task.name}' bring their own candidates; leave it at scoring=words."
        )
    if config.task.target == "choice" and config.scoring.trains:
        raise Unfit(
            f"scoring.combine={config.scoring.combine} trains what words of a label count, and the examples of task "
            f"'{config.task.name}' bring their own candidates; choose another."
        )
    template = prompt_template(config)
    if template.masks > 1:
        raise UserError(f"template '{template.source}' has {template.masks} masks; one is what is supported.")


def _check_ensemble(config: PetConfig, ensemble: PatternsEnsemble) -> None:
    """Every member's template and words, and how the ensemble's keys go with the run's others."""
    if not config.tuning.uses_prompt:
        raise Unfit(
            f"ensemble={ensemble.name}: tuning={config.tuning.name} has no prompts to vary; choose another tuning."
        )
    pairs = pvps(config)
    for pattern, verbalizer in pairs:
        with _named("ensemble"):
            _check_prompt(member_config(config, pattern, verbalizer))
    if ensemble.models == "shared" and not config.tuning.one_for_several:
        raise UserError(f"ensemble.models=shared goes with tuning=full, not tuning={config.tuning.name}.")
    _check_weights(config, ensemble, len(pairs))
    if isinstance(ensemble, PetEnsemble) and ensemble.student_tuning.uses_prompt == (ensemble.student == "classifier"):
        raise UserError(
            f"ensemble.student_tuning={ensemble.student_tuning.name} does not go with ensemble.student="
            f"{ensemble.student}: classifier reads the plain text, a pair of template and verbalizer a prompt."
        )
    if isinstance(ensemble, PetEnsemble) and ensemble.student != "classifier":
        with _named("ensemble.student"):
            _check_prompt(member_config(config, *ensemble.student))
    if isinstance(ensemble, IpetEnsemble) and len(pairs) * ensemble.seeds < 2:
        raise UserError("ensemble=ipet needs at least two models to label for each other.")


def _check_weights(config: PetConfig, ensemble: PatternsEnsemble, pairs: int) -> None:
    if isinstance(ensemble.weights, str) and ensemble.weights not in WEIGHTS and weighing(config) is None:
        raise not_allowed("ensemble.weights", ensemble.weights, (*WEIGHTS, "a metric", "a list of numbers"))
    if ensemble.weights == "dev" and not (config.data.dev_shots or config.data.dev):
        raise UserError("ensemble.weights=dev needs a development set: give data.dev_shots or data.dev=validation.")
    if isinstance(ensemble.weights, (list, tuple)):
        n = pairs * (ensemble.seeds if ensemble.average == "predictions" else 1)
        if len(ensemble.weights) not in (pairs, n):
            given = len(ensemble.weights)
            raise UserError(f"ensemble.weights={ensemble.weights}: {given} weights for {pairs} templates with words.")


@contextlib.contextmanager
def _named(key: str) -> Iterator[None]:
    """Errors inside, which name a pattern or a verbalizer, name also the key that asked for it."""
    try:
        yield
    except UserError as error:
        raise Unfit(f"{key}: {error}") from None
