"""A finished run's predictions, read again: what was right, what was said, and what each example adds to the score."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pet_cli.errors import UserError
from pet_cli.tasks.evaluation import contributions
from pet_cli.tasks.metrics import Answers, named
from pet_cli.tasks.targets import TARGETS


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a run said of its test examples.

    Attributes:
        rows: the examples' rows in the source, `[examples]`.
        answers: what was right and what was predicted, with the probabilities.
        columns: of each example what its probabilities are of: the labels, or its own candidates.
        units, contributions: what each unit (a row, or a group of rows) contributes to the score, `[units]`.
    """

    rows: np.ndarray
    answers: Answers
    columns: Sequence[Sequence[str]]
    units: Sequence[Any]
    contributions: np.ndarray


def read_predictions(path: Path, kind: str, labels: Sequence[str], metric: str) -> Predictions:
    """Reads a run's file of predictions.

    Args:
        kind: of the task's target.
        metric: the name of the score, whose contributions are looked for.

    Raises:
        UserError: a damaged line, by its number, or none at all.
    """
    target = TARGETS[kind](tuple(labels))
    rows, gold, predicted, shares, columns, groups = [], [], [], [], [], []
    try:
        for line in path.read_text(encoding="utf-8").split("\n"):
            if not line:
                continue
            one = json.loads(line)
            own = list(target.columns(list(one["probabilities"])))
            shares.append([float(one["probabilities"][name]) for name in own])
            gold.append(target.read(one["gold"], own))
            predicted.append(target.read(one["predicted"], own))
            columns.append(own)
            groups.append(one.get("group"))
            rows.append(int(one["row"]))
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(f"{path}, line {len(rows) + 1}: damaged ({type(error).__name__}).") from None
    if not rows:
        raise UserError(f"{path} is empty.")
    most = max(map(len, shares))
    table = np.array([line + [0.0] * (most - len(line)) for line in shares])
    grouped = None if None in groups else groups
    answers = Answers(kind, gold, predicted, table, tuple(labels), grouped, columns if kind == "choice" else ())
    units, parts = contributions(answers, named(metric, kind, labels)[0])
    if grouped is None:
        units = [rows[int(str(place))] for place in units]
    return Predictions(np.array(rows), answers, columns, units, parts)
