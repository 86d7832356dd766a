"""Rules that choose among the runs of a sweep without a look at the test labels, and their settings.

A new rule is a function in `pet_cli/choice` and its line in `RULES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pet_cli.config.bounds import Settings, bounded
from pet_cli.errors import UserError, not_allowed

if TYPE_CHECKING:
    from pet_cli.config.schema import PetConfig


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        by: `module:function` of what scores a run by it.
        says: what the score is, in words.
        lowest: whether the lowest score wins, not the highest.
        folds: whether it trains on parts of the labeled examples, of which each label then needs two.
        targets: the kinds of target that it means something for; empty: all.
        prompts: whether it is of a single prompt of a language model.
        keys: keys of `choice` that it goes by.
        among: `module:function` of what scores the runs of a group together, from what each of them answered.
    """

    by: str
    says: str
    lowest: bool = False
    folds: bool = False
    targets: tuple[str, ...] = ()
    prompts: bool = False
    keys: tuple[str, ...] = ()
    among: str | None = None


# Those that ask the method as it was fitted come first: the others train the language model anew.
RULES: dict[str, Rule] = {
    "dev": Rule("pet_cli.choice.labeled:dev", "the task's score on the development examples"),
    "mi": Rule(
        "pet_cli.choice.unlabeled:mutual_information",
        "mutual information of texts and predicted labels, nats",
        targets=("label",),
        keys=("texts",),
    ),
    "agreement": Rule(
        "pet_cli.choice.unlabeled:answers",
        "share of texts answered as all runs together do",
        targets=("label", "labels"),
        keys=("texts",),
        among="pet_cli.choice.unlabeled:agreement",
    ),
    "perplexity": Rule(
        "pet_cli.choice.perplexity:perplexity",
        "perplexity of the filled template",
        lowest=True,
        prompts=True,
        keys=("texts",),
    ),
    "cv": Rule(
        "pet_cli.choice.labeled:cross_validation",
        "loss of an example held out by cross-validation, nats",
        lowest=True,
        folds=True,
        keys=("folds",),
    ),
    "splits": Rule(
        "pet_cli.choice.labeled:halves",
        "the task's score on the other half, mean over random halves",
        folds=True,
        keys=("splits",),
    ),
    "mdl": Rule(
        "pet_cli.choice.labeled:description_length",
        "nats to write down the labels, each block by what was learned of those before",
        lowest=True,
        folds=True,
        keys=("folds",),
    ),
}
"""name in `select` -> the rule, in the order in which a run is scored by them."""


@dataclass(kw_only=True)
class ChoiceConfig(Settings):
    """How the rules that `select` names go about it."""

    folds: int = bounded(2)
    splits: int = bounded(1)
    texts: int = bounded(1)
    within: Any  # keys of settings that are no part of what is chosen


def selected(config: PetConfig) -> list[str]:
    """The rules that `select` names, each once, in the order of `RULES`. Raises `UserError` for one unknown."""
    given = _listed("select", config.select, "select=[cv,mdl]")
    for name in given:
        if name not in RULES:
            raise not_allowed("select", name, RULES)
    return [name for name in RULES if name in given]


def within(config: PetConfig) -> list[str]:
    """The further keys that `choice.within` names. Raises `UserError` for what is no list of names."""
    return _listed("choice.within", config.choice.within, "choice.within=[tuning]")


def _listed(key: str, given: Any, example: str) -> list[str]:
    names: Sequence[Any] = [given] if isinstance(given, str) else given if isinstance(given, (list, tuple)) else [None]
    if not all(isinstance(name, str) for name in names):
        raise UserError(f"{key}={given}: write a list, such as {example}.")
    return list(names)


def check_choice(config: PetConfig) -> None:
    """Raises `UserError` for a rule that means nothing for such a run, as far as can be seen without data."""
    within(config)
    for name in selected(config):
        rule, data, target = RULES[name], config.data, config.task.target
        if rule.targets and target not in rule.targets:
            allowed = " or ".join(rule.targets)
            raise UserError(f"select: {name} means nothing for task.target={target}; it is for {allowed}.")
        if rule.prompts and (not config.method.tunes or config.ensemble.several or not config.tuning.uses_prompt):
            raise UserError(f"select: {name} is of a single template that a language model reads; this run has none.")
        if name == "dev" and not (data.dev_shots or data.dev):
            raise UserError("select: dev needs development examples; give data.dev_shots=N or data.dev=validation.")
        if rule.folds and data.shots is not None and data.shots < 2:
            raise UserError(
                f"select: {name} learns from some labeled examples and looks at others, and data.shots={data.shots} "
                "leaves it too few: 2 of each label are the least."
            )
