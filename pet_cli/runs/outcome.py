"""What a run found: its metrics, what a reader should know before believing them, and a row for each prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pet_cli.config import resolve
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.runs import store
from pet_cli.tasks.evaluation import evaluate
from pet_cli.tasks.metrics import Answers, Metric
from pet_cli.tasks.targets import Target

_MANY_UNKNOWN = 0.25
"""The share of unknown tokens above which a result may mean nothing."""


@dataclass
class Outcome:
    """What a run found.

    Attributes:
        metrics: what `metrics.json` holds.
        scores: label scores of the test examples `[examples, labels]`.
        test: the examples scored.
        warnings: what a reader of the table should know.
    """

    metrics: dict[str, Any]
    scores: np.ndarray
    test: Split
    warnings: list[str]


def outcome_of(
    config: PetConfig,
    splits: Mapping[str, Split],
    scores: np.ndarray,
    labels: list[str],
    facts: Mapping[str, Any] | None = None,
) -> Outcome:
    """The metrics of label scores `[examples, labels]` of the test split.

    Args:
        facts: what the method says of itself, `Method.facts`.
    """
    metrics = judged(config, splits["test"], scores)
    metrics |= about(config, splits, labels) | dict(facts or {})
    return Outcome(metrics, scores, splits["test"], warnings(metrics, splits))


def judged(config: PetConfig, split: Split, scores: np.ndarray) -> dict[str, Any]:
    """All metrics of label scores `[examples, labels]` of a labeled split."""
    return evaluate(answers(config, split, scores), resolve.metrics(config))


def score(config: PetConfig, split: Split, scores: np.ndarray, metric: Metric | None = None) -> float:
    """How good label scores `[examples, labels]` of a labeled split are, by the task's score or another metric."""
    own = metric or resolve.metrics(config)[0]
    return float(own.of(answers(config, split, scores)))


def answers(config: PetConfig, split: Split, scores: np.ndarray) -> Answers:
    """What label scores `[examples, labels]` say of a labeled split, beside what is right."""
    target, probabilities = resolve.target(config), store.softmax(scores)
    return Answers(
        kind=target.kind,
        gold=split.gold,
        predicted=target.predicted(probabilities),
        probabilities=probabilities,
        labels=target.labels,
        groups=split.groups,
        candidates=[example.candidates for example in split.examples] if target.kind == "choice" else (),
    )


def about(config: PetConfig, splits: Mapping[str, Split], labels: list[str]) -> dict[str, Any]:
    """What a result is about: labels, numbers of examples, seeds, versions."""
    return {
        "target": config.task.target,
        "labels": labels,
        "n_train": len(splits["train"]) if "train" in splits else 0,
        "n_dev": len(splits["dev"]) if "dev" in splits else 0,
        "n_test": len(splits["test"]),
        "max_test": config.data.max_test,
        "seed": {"data": config.data.seed, "trainer": config.trainer.seed},
        "versions": store.versions(),
    }


def warnings(metrics: Mapping[str, Any], splits: Mapping[str, Split]) -> list[str]:
    """What a reader of the table should know before believing it."""
    found = []
    if metrics["one_label"] is not None:
        found.append(f"every prediction is '{metrics['one_label']}'")
    if metrics.get("shortened"):
        found.append(f"{metrics['shortened']} of {metrics['n_test']} test examples were shortened")
    if (unknown := metrics.get("unknown_tokens") or 0.0) > _MANY_UNKNOWN:
        found.append(
            f"the model's vocabulary lacks {unknown:.0%} of the tokens of the test texts: it reads [UNK] there"
        )
    if metrics["max_test"] is not None:
        found.append(f"scored on {metrics['n_test']} test examples (data.max_test={metrics['max_test']})")
    found += dict.fromkeys(note for name in splits for note in splits[name].notes)
    for name in ("train", "test"):
        targets: list[Any] = splits[name].gold if name in splits and "confusion" in metrics else []
        share = max((targets.count(label) / len(targets) for label in set(targets)), default=0.0)
        if share > 0.8:
            found.append(f"one label holds {share:.0%} of the {name} examples: read macro-F1")
    return found


def predictions(test: Split, scores: np.ndarray, target: Target) -> list[dict[str, Any]]:
    """One row for each test example: its row in the source, what is right and what is predicted, probabilities."""
    candidates = [example.candidates for example in test.examples]
    told = store.answers(target, store.softmax(scores), candidates)
    return [
        {
            "row": example.row,
            **({} if example.group is None else {"group": example.group}),
            "gold": target.shown(gold, example.candidates),
            **own,
        }
        for example, gold, own in zip(test.examples, test.gold, told, strict=True)
    ]
