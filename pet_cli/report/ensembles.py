"""Ensembles beside their members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pet_cli.report import answers, plots, wording
from pet_cli.report.document import Figures, Section, Table
from pet_cli.report.runs import Study
from pet_cli.report.statistics import estimate
from pet_cli.report.values import PVP, natural, short
from pet_cli.tasks.metrics import score

MOST_ROWS = 12


def member_section(study: Study) -> Section | None:
    """An ensemble's members beside it."""
    ensembles = [one for one in study.configurations if any(run.metrics.get("members") for run in one.runs)]
    if not ensembles:
        return None
    kept = sorted(ensembles, key=lambda one: -one.score.mean)[:MOST_ROWS]
    ensembles = [one for one in ensembles if one in kept]
    points, rows = [], []
    cells: list[tuple[str, ...]] = []
    for number, one in enumerate(ensembles):
        title = answers.describe(study, one)
        runs = [run for run in one.runs if run.metrics.get("members")]
        rows.append(short(study.label(one.values, [k for k in study.keys if k not in PVP]) or "ensemble", 44))
        numbers: dict[str, dict[str, list[float]]] = {}
        weights: dict[str, list[float]] = {}
        for run in runs:
            for member in run.metrics["members"]:
                name = str(member["name"])
                own_numbers = numbers.setdefault(name, {metric: [] for metric in study.metrics})
                for metric, listed in own_numbers.items():
                    listed.append(_number(member, metric))
                if isinstance(member.get("weight"), (int, float)):
                    weights.setdefault(name, []).append(float(member["weight"]))
        for name in sorted(numbers, key=natural):
            points += [(number, 0, value) for value in numbers[name]["score"]]
            weight = f"{np.mean(weights[name]):.2f}" if name in weights else "–"
            own = (wording.mean_std(estimate(numbers[name][metric])) for metric in study.metrics)
            cells.append((title, name, *own, weight))
        everyone = estimate([value for own in numbers.values() for value in own["score"]])
        cells.append((title, "mean of members", f"{everyone.mean:.3f}", *[""] * len(study.metrics)))
        teachers = [run.metrics["ensemble"] for run in runs if isinstance(run.metrics.get("ensemble"), Mapping)]
        if teachers:
            points += [(number, 1, _number(teacher, "score")) for teacher in teachers]
            said = (estimate([_number(teacher, metric) for teacher in teachers]) for metric in study.metrics)
            cells.append((title, "ensemble", *map(wording.mean_std, said), ""))
        points += [(number, 2 if teachers else 1, run.score) for run in runs]
        own_name = "student" if teachers else "ensemble"
        cells.append((title, own_name, *(wording.mean_std(one.metric(name)) for name in study.metrics), ""))
    series = ["a member", "the ensemble"]
    if any(which == 2 for _, which, _ in points):
        series.append("the student distilled from it")
    caption = "Each mark is a run; the ticks are means."
    picture = plots.strip("members", caption, rows, points, series, study.score_title)
    strong = frozenset(i for i, row in enumerate(cells) if row[1] in ("ensemble", "student"))
    columns = ("configuration", "member", *study.metrics.values(), "weight")
    if len(ensembles) == 1:
        columns, cells = columns[1:], [row[1:] for row in cells]
    numeric = frozenset(range(len(columns) - len(study.metrics) - 1, len(columns)))
    table = Table("", columns, tuple(cells), numeric=numeric, strong=strong)
    return Section("members", "Ensembles and their members", [Figures((picture,), (table,))])


def _number(said: Mapping[str, Any], metric: str) -> float:
    """A member's or an ensemble's score, or a metric by its name."""
    return score(said)[1] if metric == "score" else float(said[metric])
