"""What follows from the settings of a run: labels, templates, label words, members."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pet_cli.base.values import spelled
from pet_cli.config.ensemble import NoEnsemble, PatternsEnsemble, PvpsEnsemble
from pet_cli.config.schema import PetConfig
from pet_cli.errors import UserError, not_allowed
from pet_cli.prompts.template import Template, parse_plain, plain_template
from pet_cli.tasks import metrics as task_metrics
from pet_cli.tasks import targets
from pet_cli.verbalizers.words import all_words, parse_words


def pvps(config: PetConfig) -> list[tuple[Any, Any]]:
    """The (pattern, verbalizer) pairs of an ensemble's members."""
    ensemble: PatternsEnsemble = config.ensemble
    if isinstance(ensemble, PvpsEnsemble) and ensemble.pvps is not None:
        listed = ensemble.pvps
        if not isinstance(listed, (list, tuple)) or not all(
            isinstance(p, (list, tuple)) and len(p) == 2 for p in listed
        ):
            raise UserError(f"ensemble.pvps={listed}: write pairs, such as [[p0,v0],[p1,v1]].")
        pairs = [(pattern, verbalizer) for pattern, verbalizer in listed]
    else:
        words = ensemble.verbalizers if isinstance(ensemble, PvpsEnsemble) else None
        own = not isinstance(ensemble, PvpsEnsemble) or ensemble.own_verbalizer
        if words is None and not own and config.task.pvps and ensemble.patterns is None:
            return [(pattern, verbalizer) for pattern, verbalizer in config.task.pvps]
        patterns = _ids("ensemble.patterns", ensemble.patterns, "p", len(config.task.patterns))
        if words is None and own:
            words = [config.verbalizer]
        verbalizers = _ids("ensemble.verbalizers", words, "v", len(config.task.verbalizers))
        pairs = [(pattern, verbalizer) for pattern in patterns for verbalizer in verbalizers]
    if not pairs:
        given = [key for key in ("pvps", "patterns", "verbalizers") if getattr(ensemble, key, None) in ([], ())]
        raise UserError(f"ensemble.{given[0] if given else 'patterns'}: no members; null takes all that the task has.")
    return pairs


def _ids(key: str, given: Any, letter: str, n: int) -> list[Any]:
    if given is None:
        return [f"{letter}{index}" for index in range(n)]
    if not isinstance(given, (list, tuple)):
        raise UserError(f"{key}={given}: write a list, such as [{letter}0,{letter}1].")
    return list(given)


def member_config(config: PetConfig, pattern: Any, verbalizer: Any, seed: int | None = None) -> PetConfig:
    """The settings of one member: a run of its own, with one template and one verbalizer."""
    by_id = isinstance(pattern, str) and pattern[:1] in ("p", "f") and pattern[1:].isdigit()
    return replace(
        config,
        pattern=pattern if by_id else "p0",
        template=None if by_id else pattern,
        verbalizer=verbalizer,
        ensemble=NoEnsemble(name="none"),
        trainer=replace(config.trainer, seed=config.trainer.seed if seed is None else seed),
    )


def trains(config: PetConfig) -> bool:
    """Whether a run has anything to train: of the model, or of the verbalizer alone; features always."""
    if not config.method.tunes:
        return bool(config.method.trains)
    return bool(config.tuning.trains or config.scoring.trains)


def learns(config: PetConfig) -> bool:
    """Whether a run's answers depend on its labeled examples: it trains on them, or shows them."""
    return trains(config) or bool(config.demonstrations.per_label)


def uses_prompt(config: PetConfig) -> bool:
    """Whether a run reads a template and label words, and not the plain text."""
    return bool(config.method.tunes and config.tuning.uses_prompt)


def labels(config: PetConfig) -> list[str]:
    """The label names in their order; those of a custom task are the keys of its verbalizer, a choice has none."""
    if config.task.labels:
        return _names("task.labels", config.task.labels)
    if isinstance(config.verbalizer, dict):
        return _names("verbalizer", config.verbalizer, typed=True)
    if config.found is not None:
        return _names("found.labels", config.found.labels, typed=True)
    if isinstance(config.data.labels, dict) and config.data.labels:
        return list(dict.fromkeys(spelled(label) for label in config.data.labels.values()))
    if config.task.target == "choice":
        return []
    raise UserError(
        f"task={config.task.name} names no labels: give them with their words, "
        "such as verbalizer='{1: terrible, 5: great}'."
    )


def _names(key: str, written: Iterable[Any], typed: bool = False) -> list[str]:
    """Label names as text, each one value: 1, 1.0 and "1.0" are "1".

    Args:
        typed: whether null, true and false are names as they stand.

    Raises:
        UserError: a name that YAML has read as something else, or two names of one value.
    """
    names: list[str] = []
    for name in written:
        if not typed and (name is None or isinstance(name, bool)):
            read = {None: "null", True: "true, yes or on", False: "false, no or off"}[name]
            raise UserError(f'{key}: YAML reads a bare {read} as {name}; write it in quotes, such as ["no", "yes"].')
        if isinstance(name, (dict, list)) or not spelled(name):
            raise UserError(f"{key}={written}: the label {name!r} is no name.")
        if spelled(name) in names:
            raise UserError(f"{key}: the label {spelled(name)} stands there twice.")
        names.append(spelled(name))
    return names


def target(config: PetConfig) -> targets.Target:
    """What the task asks for. Raises `UserError` for keys that do not make sense together."""
    task = config.task
    return targets.make(task.target, labels(config), task.range, task.threshold)


def metrics(config: PetConfig) -> tuple[task_metrics.Metric, ...]:
    """The task's metrics, the score first. Raises `UserError` for one unknown or unfit."""
    own = target(config)
    return task_metrics.named(config.task.metrics, own.kind, own.labels)


def weighing(config: PetConfig) -> task_metrics.Metric | None:
    """The metric by which an ensemble's members weigh, on the training examples before training: the task's score, or
    one that `ensemble.weights` names. None where they weigh otherwise. Raises `UserError` for one that does not fit."""
    rule = config.ensemble.weighing
    if rule == "score":
        return metrics(config)[0]
    if not isinstance(rule, str) or not task_metrics.is_metric(rule):
        return None
    own = target(config)
    return task_metrics.named(rule, own.kind, own.labels, key="ensemble.weights")[0]


def _by_id(
    key: str,
    given: Any,
    letter: str,
    items: list[Any],
    found: list[Any] | None,
    task: str,
    others: tuple[str, ...] = (),
) -> Any:
    """One of the task's own by its place in the list (p0, v0), or one of those that a search found (f0)."""
    known = {f"{letter}{index}": one for index, one in enumerate(items)}
    known |= {f"f{index}": one for index, one in enumerate(found or [])}
    if str(given) not in known:
        if not found and re.fullmatch(r"f\d+", str(given)):
            what = "template" if key == "pattern" else key
            why = "name its folder, found=FOLDER" if found is None else f"found= has none, pet search {what} finds some"
            raise UserError(f"{key}={given}: f0, f1, … are what a search found; {why}.")
        if not known:
            raise UserError(f"{key}={given}: task '{task}' has none of its own; give one in full.")
        raise not_allowed(key, given, [*known, *others])
    return known[str(given)]


def template_source(config: PetConfig) -> str:
    """The template's line: `template=` in full, else the task's by its id in `pattern=`."""
    if config.template is not None:
        return config.template
    found = None if config.found is None else config.found.templates
    source: str = _by_id("pattern", config.pattern, "p", config.task.patterns, found, config.task.name)
    return source


def found_notes(config: PetConfig, model: str) -> list[str]:
    """What a reader should know of a result with a template or label words that a search found.

    Args:
        model: the run's, a folder in full, as a search writes it.
    """
    asked = [config.verbalizer, *([] if config.template is not None else [config.pattern])]
    if config.found is None or not any(re.fullmatch(r"f\d+", str(one)) for one in asked):
        return []
    return config.found.notes(model)


def prompt_template(config: PetConfig) -> Template:
    return Template.parse(template_source(config), list(config.task.fields))


def input_template(config: PetConfig) -> Template:
    """The plain input of a classifier: the task's fields, no cloze."""
    return parse_plain(plain_template(list(config.task.fields)))


def verbalizer_words(config: PetConfig) -> dict[str, dict[str, float]]:
    """label -> word -> weight: the mapping in `verbalizer=`, the task's by its id, or all words of all the task's.

    None where the examples bring their own candidates.
    """
    if config.task.target == "choice":
        return {}
    verbalizer = config.verbalizer
    if verbalizer == "all" and config.task.verbalizers:
        return all_words([parse_words(one, labels(config)) for one in config.task.verbalizers])
    if not isinstance(verbalizer, dict):
        found = None if config.found is None else config.found.verbalizers
        verbalizer = _by_id("verbalizer", verbalizer, "v", config.task.verbalizers, found, config.task.name, ("all",))
    return parse_words(verbalizer, labels(config))
