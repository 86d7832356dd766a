"""What the runs answered, example by example: confusions, confident mistakes, probabilities of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pet_cli.config.resolve import verbalizer_words
from pet_cli.data.examples import Example
from pet_cli.data.load import load
from pet_cli.errors import UserError
from pet_cli.report.runs import Configuration, Study
from pet_cli.report.values import PVP
from pet_cli.tasks.metrics import is_right

MOST_TEXT = 400


@dataclass(frozen=True)
class Mistake:
    """A test example that a configuration gets wrong on the mean of its runs' probabilities.

    Attributes:
        confidence: the mean probability of the wrong label.
        wrong, runs: in how many of the runs that scored it the example is wrong.
    """

    row: int
    gold: str
    predicted: str
    confidence: float
    wrong: int
    runs: int


def chosen(study: Study, most: int) -> tuple[list[Configuration], int]:
    """The best configuration of each task, tuning mode, ensemble and so on, and how many more there are."""
    keys = study.series_keys()
    best: dict[tuple[str, ...], Configuration] = {}
    for one in study.configurations:
        mark = (*one.runs[0].dataset, *(str(one.values.get(key)) for key in keys))
        if mark not in best or one.score.mean > best[mark].score.mean:
            best[mark] = one
    ranked = sorted(best.values(), key=lambda one: -one.score.mean)
    kept = ranked[:most]
    return [one for one in best.values() if one in kept], len(best) - len(kept)


def best_of_each_dataset(study: Study) -> list[Configuration]:
    """The configuration with the highest mean score on each data set."""
    found = []
    for dataset in study.datasets:
        own = [one for one in study.configurations if one.runs[0].dataset == dataset]
        found.append(max(own, key=lambda one: one.score.mean))
    return found


def confusion(configuration: Configuration) -> np.ndarray:
    """Counts `[gold, predicted]`, summed over the runs."""
    return np.sum([np.asarray(run.metrics["confusion"], dtype=float) for run in configuration.runs], axis=0)


def label_probabilities(configuration: Configuration) -> np.ndarray | None:
    """Mean probability `[gold, label]` over runs and examples; NaN for a label without examples."""
    labels = configuration.runs[0].labels
    total, count = np.zeros((len(labels), len(labels))), np.zeros(len(labels))
    for run in configuration.runs:
        said = run.predictions
        if said is None or run.labels != labels or run.kind != "label":
            return None
        np.add.at(total, list(said.answers.gold), said.answers.probabilities)
        np.add.at(count, list(said.answers.gold), 1)
    return np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], np.nan)


def mistakes(configuration: Configuration, most: int) -> list[Mistake]:
    """The wrong answers given with the highest probability, where one answer of several is chosen."""
    labels = configuration.runs[0].labels
    probabilities: dict[int, list[np.ndarray]] = {}
    wrong: dict[int, int] = {}
    gold: dict[int, Any] = {}
    names: dict[int, Sequence[str]] = {}
    for run in configuration.runs:
        said = run.predictions
        if said is None or run.labels != labels or run.kind not in ("label", "choice"):
            return []
        own = said.answers
        for row, truth, answer, line, columns in zip(
            said.rows.tolist(), own.gold, own.predicted, own.probabilities, said.columns, strict=True
        ):
            probabilities.setdefault(row, []).append(line[: len(columns)])  # others may have more candidates
            wrong[row] = wrong.get(row, 0) + (not is_right(truth, answer))
            gold[row], names[row] = truth, columns
    found = []
    for row, lines in probabilities.items():
        mean = np.mean(lines, axis=0)
        top = int(mean.argmax())
        if not is_right(gold[row], top):
            right = gold[row] if isinstance(gold[row], tuple) else (gold[row],)
            shown = " or ".join(names[row][index] for index in right)
            found.append(Mistake(row, shown, names[row][top], float(mean[top]), wrong[row], len(lines)))
    return sorted(found, key=lambda one: (-one.confidence, one.row))[:most]


def texts(configuration: Configuration, wanted: Sequence[Mistake]) -> tuple[dict[int, str], str | None]:
    """The texts of test examples by row, from the data once more, and why some are missing, where they are."""
    from pet_cli.config.resolve import labels
    from pet_cli.runs.saved import saved_config

    found: dict[int, str] = {}
    seen = set()
    for run in configuration.runs:
        if all(one.row in found for one in wanted) or run.seeds[0] in seen:
            continue  # one file divided into train and test differs by seed; nothing else does
        seen.add(run.seeds[0])
        try:
            config = saved_config(run.folder)
            names = labels(config)
            test = {example.row: example for example in load(config.task, config.data, names)["test"].examples}
        except (UserError, OSError) as error:
            return {}, f"The texts are not shown, since the data are not to be had any more: {error}"
        for one in wanted:
            example = test.get(one.row)
            if example is None:
                continue
            if example.gold is None or _shown(example, names) != one.gold:
                return {}, "The texts are not shown, since the data have changed since the runs."
            found.setdefault(one.row, text_of(example))
    if len(found) < len({one.row for one in wanted}):
        return found, "The texts of some are not shown, since the data have changed since the runs."
    return found, None


def _shown(example: Example, labels: Sequence[str]) -> str:
    right = example.gold if isinstance(example.gold, tuple) else (example.gold,)
    names = example.candidates or labels
    return " or ".join(names[int(index)] for index in right if index is not None)


def text_of(example: Example) -> str:
    """An example's texts on one line, with the fields' names where there are several."""
    fields = example.fields
    parts = [f"{name}: {text}" if len(fields) > 1 else text for name, text in fields.items()]
    text = " ".join(" / ".join(parts).split())
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1].rstrip() + "…"


def words(configuration: Configuration) -> list[str]:
    """The labels, each with its words where one verbalizer gives them: `negative (terrible, bad)`."""
    from pet_cli.runs.saved import saved_config

    run = configuration.runs[0]
    if not run.has_prompt:
        return run.labels
    try:
        table = verbalizer_words(saved_config(run.folder))
    except UserError:
        return run.labels
    return [f"{label} ({', '.join(table[label])})" if label in table else label for label in run.labels]


def describe(study: Study, configuration: Configuration) -> str:
    """A configuration by the settings that vary, or by its mode and template where none does."""
    keys = [key for key in study.keys if key not in PVP or not configuration.runs[0].is_ensemble]
    return study.name(configuration.values, keys or ("tuning", "pattern", "verbalizer"))
