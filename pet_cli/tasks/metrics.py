"""What a run's predictions are worth: accuracy, F1, confusion, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def confusion(gold: Sequence[int], predicted: Sequence[int], n: int) -> np.ndarray:
    """Counts `[gold, predicted]`."""
    table = np.zeros((n, n), dtype=int)
    np.add.at(table, (np.asarray(gold), np.asarray(predicted)), 1)
    return table


def calibration_error(gold: Sequence[int], probabilities: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error (Guo et al. 2017): |accuracy - confidence| over equal bins of confidence."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == np.asarray(gold)
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for b in range(bins):
        inside = bin_of == b
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return float(error)


def evaluate(gold: Sequence[int], probabilities: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """All metrics of `probabilities` `[examples, labels]` against gold indices.

    A label that neither occurs nor is predicted is left out of the macro mean.
    """
    predicted = probabilities.argmax(axis=1)
    table = confusion(gold, predicted.tolist(), len(labels))
    per_label = {}
    f1s = []
    for i, label in enumerate(labels):
        hit, said, there = int(table[i, i]), int(table[:, i].sum()), int(table[i].sum())
        precision, recall = hit / said if said else 0.0, hit / there if there else 0.0
        f1 = 2 * hit / (said + there) if said + there else 0.0
        if said + there:
            f1s.append(f1)
        per_label[label] = {"precision": precision, "recall": recall, "f1": f1, "n": there, "predicted": said}
    return {
        "accuracy": float((predicted == np.asarray(gold)).mean()),
        "macro_f1": float(np.mean(f1s)),
        "calibration_error": calibration_error(gold, probabilities),
        "per_label": per_label,
        "confusion": table.tolist(),
        "one_label": labels[int(predicted[0])] if len(set(predicted.tolist())) == 1 else None,
    }
