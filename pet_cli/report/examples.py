"""Example by example: confusion, the most confident mistakes, the label words' probabilities."""

from __future__ import annotations

import numpy as np

from pet_cli.report import answers, plots, wording
from pet_cli.report.document import Block, Figures, Section, Table, Text
from pet_cli.report.runs import Study
from pet_cli.report.values import short

MOST_PANELS = 4
MOST_MISTAKES = 10


def confusion_section(study: Study) -> Section | None:
    configurations, left = answers.chosen(study, MOST_PANELS)
    pictures = []
    for number, one in enumerate(configurations, start=1):
        if len({tuple(run.labels) for run in one.runs}) > 1 or any(run.kind != "label" for run in one.runs):
            continue
        title = answers.describe(study, one)
        caption = f"{wording.count(len(one.runs), 'run')}."
        labels = [short(label, 24) for label in one.runs[0].labels]
        pictures.append(plots.confusion(f"confusion-{number}", caption, title, labels, answers.confusion(one)))
    if not pictures:
        return None
    blocks: list[Block] = [Figures(tuple(pictures))]
    note = "The answers of all runs are counted; the colour is a cell's share of its gold label."
    if len(study.configurations) > len(configurations):
        note += " " + _which(study, left)
    blocks.append(Text(note, note=True))
    return Section("confusion", "Confusion matrices", blocks)


def _which(study: Study, left: int) -> str:
    keys = study.series_keys()
    more = f" {left} more are left out." if left else ""
    return f"Shown: the best configuration{f' of each {wording.together(keys)}' if keys else ''}.{more}"


def mistake_section(study: Study) -> Section | None:
    """The wrong answers given with most confidence, with their texts."""
    blocks: list[Block] = []
    for one in answers.best_of_each_dataset(study)[:MOST_PANELS]:
        found = answers.mistakes(one, MOST_MISTAKES)
        if not found:
            continue
        texts, problem = answers.texts(one, found)
        cells = [
            (
                texts.get(mistake.row, "–"),
                mistake.gold,
                mistake.predicted,
                f"{mistake.confidence:.3f}",
                f"{mistake.wrong} of {mistake.runs}",
                str(mistake.row),
            )
            for mistake in found
        ]
        columns = ("text", "gold", "predicted", "confidence", "wrong in", "row")
        title = answers.describe(study, one)
        if texts:
            blocks.append(
                Table(title, columns, tuple(cells), numeric=frozenset({3, 4, 5}), wide=frozenset({0})),
            )
        else:
            own = tuple(row[1:] for row in cells)
            blocks.append(Table(title, columns[1:], own, numeric=frozenset({2, 3, 4})))
        if problem:
            blocks.append(Text(problem))
    if not blocks:
        return None
    note = (
        "Of the best configuration: test examples whose wrong label has the highest mean probability over its runs, "
        "and in how many runs they are wrong. Some will be labels that are wrong themselves. Row: the example's place "
        "in the test data, from 0."
    )
    return Section("mistakes", "Most confident mistakes", [*blocks, Text(note, note=True)])


def probability_section(study: Study) -> Section | None:
    """Mean probability of every label by gold label."""
    configurations, left = answers.chosen(study, MOST_PANELS)
    blocks: list[Block] = []
    for one in configurations:
        means = answers.label_probabilities(one)
        if means is None:
            continue
        names = answers.words(one)
        rows = tuple(
            (label, *("–" if np.isnan(value) else f"{value:.3f}" for value in line))
            for label, line in zip(one.runs[0].labels, means, strict=True)
        )
        shade = {(i, j + 1): float(v) for (i, j), v in np.ndenumerate(means) if not np.isnan(v)}
        columns = ("gold", *names)
        title = answers.describe(study, one)
        blocks.append(Table(title, columns, rows, numeric=frozenset(range(1, len(columns))), shade=shade))
    if not blocks:
        return None
    note = (
        "The mean probability of each label (its words in brackets) over the examples of a gold label and all runs. A "
        "column that is high in every row is a label whose words the model prefers whatever the text says."
    )
    if len(study.configurations) > len(configurations):
        note += " " + _which(study, left)
    return Section("probabilities", "Probabilities of the label words", [*blocks, Text(note, note=True)])
