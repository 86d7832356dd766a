"""What a run found: its metrics, what a reader should know before believing them, and a row for each prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.runs import store
from pet_cli.tasks.metrics import evaluate


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
    metrics = evaluate(splits["test"].targets, store.softmax(scores), labels)
    metrics |= about(config, splits, labels) | dict(facts or {})
    return Outcome(metrics, scores, splits["test"], warnings(metrics, splits))


def about(config: PetConfig, splits: Mapping[str, Split], labels: list[str]) -> dict[str, Any]:
    """What a result is about: labels, numbers of examples, seeds, versions."""
    return {
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
    if metrics["max_test"] is not None:
        found.append(f"scored on {metrics['n_test']} test examples (data.max_test={metrics['max_test']})")
    found += dict.fromkeys(note for name in splits for note in splits[name].notes)
    for name in ("train", "test"):
        targets = splits[name].targets if name in splits else []
        share = max((targets.count(label) / len(targets) for label in set(targets)), default=0.0)
        if share > 0.8:
            found.append(f"one label holds {share:.0%} of the {name} examples: read macro-F1")
    return found


def predictions(test: Split, scores: np.ndarray, labels: list[str]) -> list[dict[str, Any]]:
    """One row for each test example: its row in the source, gold and predicted label, probabilities by label."""
    return [
        {
            "row": example.row,
            "gold": labels[example.label] if example.label is not None else None,
            **store.answer(labels, line),
        }
        for example, line in zip(test.examples, store.softmax(scores), strict=True)
    ]
