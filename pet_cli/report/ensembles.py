"""Ensembles beside their members."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pet_cli.report import answers, plots, wording
from pet_cli.report.document import Figures, Section, Table
from pet_cli.report.runs import Study
from pet_cli.report.statistics import estimate
from pet_cli.report.values import PVP, natural, short

MOST_ROWS = 12


def member_section(study: Study) -> Section | None:
    """An ensemble's members beside it."""
    ensembles = [one for one in study.configurations if any(run.metrics.get("members") for run in one.runs)]
    if not ensembles:
        return None
    kept = sorted(ensembles, key=lambda one: -one.accuracy.mean)[:MOST_ROWS]
    ensembles = [one for one in ensembles if one in kept]
    points, rows, cells = [], [], []
    for number, one in enumerate(ensembles):
        title = answers.describe(study, one)
        runs = [run for run in one.runs if run.metrics.get("members")]
        rows.append(short(study.label(one.values, [k for k in study.keys if k not in PVP]) or "ensemble", 44))
        accuracies: dict[str, list[float]] = {}
        f1s: dict[str, list[float]] = {}
        weights: dict[str, list[float]] = {}
        for run in runs:
            for member in run.metrics["members"]:
                name = str(member["name"])
                accuracies.setdefault(name, []).append(float(member["accuracy"]))
                f1s.setdefault(name, []).append(float(member["macro_f1"]))
                if isinstance(member.get("weight"), (int, float)):
                    weights.setdefault(name, []).append(float(member["weight"]))
        for name in sorted(accuracies, key=natural):
            points += [(number, 0, value) for value in accuracies[name]]
            weight = f"{np.mean(weights[name]):.2f}" if name in weights else "–"
            own = estimate(accuracies[name])
            cells.append((title, name, wording.mean_std(own), wording.mean_std(estimate(f1s[name])), weight))
        everyone = estimate([value for values in accuracies.values() for value in values])
        cells.append((title, "mean of members", f"{everyone.mean:.3f}", "", ""))
        teachers = [run.metrics["ensemble"] for run in runs if isinstance(run.metrics.get("ensemble"), Mapping)]
        if teachers:
            teacher = [float(own["accuracy"]) for own in teachers]
            points += [(number, 1, value) for value in teacher]
            f1 = [float(own["macro_f1"]) for own in teachers]
            cells.append((title, "ensemble", wording.mean_std(estimate(teacher)), wording.mean_std(estimate(f1)), ""))
        points += [(number, 2 if teachers else 1, run.accuracy) for run in runs]
        own_name = "student" if teachers else "ensemble"
        cells.append((title, own_name, wording.mean_std(one.accuracy), wording.mean_std(one.macro_f1), ""))
    series = ["a member", "the ensemble"]
    if any(which == 2 for _, which, _ in points):
        series.append("the student distilled from it")
    picture = plots.strip("members", "Each mark is a run; the ticks are means.", rows, points, series)
    strong = frozenset(i for i, row in enumerate(cells) if row[1] in ("ensemble", "student"))
    columns = ("configuration", "member", "accuracy", "macro-F1", "weight")
    if len(ensembles) == 1:
        table = Table("", columns[1:], tuple(row[1:] for row in cells), numeric=frozenset({1, 2, 3}), strong=strong)
    else:
        table = Table("", columns, tuple(cells), numeric=frozenset({2, 3, 4}), strong=strong)
    return Section("members", "Ensembles and their members", [Figures((picture,), (table,))])
