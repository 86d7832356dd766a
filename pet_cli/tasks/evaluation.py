"""All that a run's metrics file says of its predictions, and how far its numbers would move on other test examples."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from pet_cli.tasks.metrics import ALWAYS, METRICS, Answers, Metric, counts_of, is_right, of_label

if TYPE_CHECKING:
    import numpy as np


def calibration_error(gold: Sequence[int], probabilities: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error (Guo et al. 2017): |share right - confidence| over equal bins of confidence."""
    import numpy as np

    confidence = probabilities.max(axis=1)
    best = probabilities.argmax(axis=1).tolist()
    right = np.array([is_right(g, p) for g, p in zip(gold, best, strict=True)])
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for b in range(bins):
        inside = bin_of == b
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return float(error)


def evaluate(answers: Answers, metrics: Sequence[Metric]) -> dict[str, Any]:
    """What `metrics.json` says of predictions: the score, the task's metrics, and by kind what always is of use.

    `per_label` and `confusion` (`[gold, predicted]`) are there where examples have labels, the calibration error where
    one answer is chosen, `one_label` (or None) where every prediction is the same.
    """
    always = tuple(METRICS[name] for name in ALWAYS[answers.kind])
    values = {metric.name: metric.of(answers) for metric in (*always, *metrics)}
    found: dict[str, Any] = {"metric": metrics[0].name, "score": values[metrics[0].name], **values}
    if answers.kind in ("label", "choice"):
        found["calibration_error"] = calibration_error(answers.gold, answers.probabilities)
    if answers.kind in ("label", "labels"):
        found["per_label"] = _per_label(answers)
    if answers.kind == "label":
        import numpy as np

        table = np.zeros((len(answers.labels), len(answers.labels)), dtype=int)
        np.add.at(table, (list(answers.gold), list(answers.predicted)), 1)
        found["confusion"] = table.tolist()
    found["one_label"] = _one_answer(answers)
    return found


def _per_label(answers: Answers) -> dict[str, dict[str, Any]]:
    counts = counts_of(answers)
    precision, recall, f1 = of_label(counts)
    return {
        label: {
            "precision": float(precision[i]),
            "recall": float(recall[i]),
            "f1": float(f1[i]),
            "n": int(counts[2, i]),
            "predicted": int(counts[1, i]),
        }
        for i, label in enumerate(answers.labels)
    }


def _one_answer(answers: Answers) -> str | None:
    """What every prediction is, where all are the same."""
    if len(set(answers.predicted)) != 1:
        return None
    only = answers.predicted[0]
    if answers.kind == "number":
        return f"{only:g}"
    if answers.kind == "choice":
        return f"candidate {only + 1}"
    names = [answers.labels[index] for index in (only if isinstance(only, tuple) else (only,))]
    return ", ".join(names) or "no label"


# --- how sure one can be -------------------------------------------------------------------------------------------


def contributions(answers: Answers, metric: Metric) -> tuple[list[Hashable], np.ndarray]:
    """A metric as a mean: what each unit (an example by its place, or a group) contributes, `[units]`.

    Of a share, whether the unit is right. Of any other metric m the jackknife's pseudo-values about m,
    m + (n - 1) (mean of all m without a unit - m without this unit), whose mean is m and whose spread over n is m's
    variance (Efron & Tibshirani 1993, chapter 11). So a paired bootstrap of means serves every metric.
    """
    import numpy as np

    units: dict[Hashable, list[int]] = {}
    for place, group in enumerate(answers.groups if answers.groups is not None else range(len(answers.gold))):
        units.setdefault(group, []).append(place)
    if metric.right is not None:
        right = metric.right(answers)
        if len(right) == len(units):
            return list(units), right
        return list(range(len(right))), right
    every = range(len(answers.gold))
    known: dict[Any, float] = {}
    without = []
    for places in units.values():
        # Two examples with the same gold label and the same prediction are alike to a metric of labels.
        alike = tuple((answers.gold[i], answers.predicted[i]) for i in places)
        if alike not in known or answers.kind == "choice":
            out = set(places)
            kept = [place for place in every if place not in out]
            known[alike] = metric.of(answers.take(kept)) if kept else 0.0
        without.append(known[alike])
    jackknife = np.array(without)
    return list(units), metric.of(answers) + (len(units) - 1) * (jackknife.mean() - jackknife)


def interval(
    answers: Answers, metric: Metric, level: float = 0.95, draws: int = 500, seed: int = 0
) -> tuple[float, float]:
    """Where a metric would lie on other test examples: Wilson's interval for a share (Wilson 1927), else the
    percentiles of a bootstrap over examples, or over groups where there are any."""
    import numpy as np

    if metric.right is not None:
        right = metric.right(answers)
        n, share, z = len(right), float(right.mean()), NormalDist().inv_cdf((1 + level) / 2)
        middle, half = share + z**2 / (2 * n), z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
        return max(0.0, (middle - half) / (1 + z**2 / n)), min(1.0, (middle + half) / (1 + z**2 / n))
    units: dict[Hashable, list[int]] = {}
    for row, group in enumerate(answers.groups if answers.groups is not None else range(len(answers.gold))):
        units.setdefault(group, []).append(row)
    rows = list(units.values())
    rng = np.random.default_rng(seed)
    drawn = [
        metric.of(answers.take([row for unit in rng.integers(len(rows), size=len(rows)) for row in rows[unit]]))
        for _ in range(draws)
    ]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
