"""Paired comparisons of settings and configurations, from the predictions of their runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pet_cli.report.runs import DATASET, Configuration, Run, Study
from pet_cli.report.statistics import Comparison, holm, paired_bootstrap
from pet_cli.report.values import PVP, natural
from pet_cli.results import summary
from pet_cli.tasks.targets import TARGETS

Seeds = tuple[Any, Any]
MOST_VALUES = 6


@dataclass(frozen=True)
class Verdict:
    """A comparison of `first` with `second`, which is not above it; its p corrected for the comparisons beside it."""

    first: str
    second: str
    comparison: Comparison

    @property
    def clear(self) -> bool:
        return self.comparison.p < 0.05

    def sentence(self) -> str:
        """What the comparison says, in words."""
        own = self.comparison
        points, low, high = 100 * own.difference, 100 * own.low, 100 * own.high
        interval = f"95\u00a0% interval {signed(low)} to {signed(high)}, p {p_text(own.p)}"
        if self.clear:
            return (
                f"{self.first} is better than {self.second} by {points:.1f} points ({interval}): more than other "
                "seeds or other test examples would explain."
            )
        return (
            f"{self.first} and {self.second} cannot be told apart: a difference of {signed(points)} points "
            f"({interval}) is within what other seeds or other test examples would change."
        )


def signed(points: float) -> str:
    """Points with their sign; one that rounds to nothing has none."""
    return f"{points:+.1f}".replace("-", "−") if abs(points) >= 0.05 else "0.0"


def p_text(p: float) -> str:
    return "< 0.002" if p < 0.002 else f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"


def differences(pairs: Sequence[tuple[Seeds, Sequence[Run], Sequence[Run]]]) -> np.ndarray | None:
    """What examples contribute to the score of the first runs minus of the second, `[seeds, examples]`, aligned by
    row, or by what the rows belong to (questions) where the score is about that.

    Pairs under equal seeds are averaged, so a seed counts once however many settings were paired under it.

    Args:
        pairs: the seeds, and the runs under them on either side.

    Returns:
        None where predictions are missing, share no example, or disagree about what an example's label is.
    """
    gold: dict[int, Any] = {}
    units: dict[Any, None] = {}
    for _, first, second in pairs:
        for run in (*first, *second):
            said = run.predictions
            if said is None:
                return None
            target = TARGETS[run.kind](tuple(run.labels))
            for row, answer, columns in zip(said.rows.tolist(), said.answers.gold, said.columns, strict=True):
                shown = target.shown(answer, columns)
                if gold.setdefault(row, shown) != shown:
                    return None
            units.update(dict.fromkeys(said.units))
    place = {unit: number for number, unit in enumerate(sorted(units, key=natural))}

    def contributed(runs: Sequence[Run]) -> np.ndarray:
        table = np.full((len(runs), len(place)), np.nan)
        for line, run in zip(table, runs, strict=True):
            assert run.predictions is not None
            line[[place[unit] for unit in run.predictions.units]] = run.predictions.contributions
        return table.mean(axis=0)  # NaN where one of the runs did not score the example

    by_seed: dict[Seeds, list[np.ndarray]] = {}
    for seeds, first, second in pairs:
        by_seed.setdefault(seeds, []).append(contributed(first) - contributed(second))
    lines = []
    for own in by_seed.values():
        stacked = np.stack(own)
        there = ~np.isnan(stacked)
        total = np.where(there, stacked, 0).sum(axis=0)
        lines.append(np.where(there.any(axis=0), total / np.maximum(there.sum(axis=0), 1), np.nan))
    # Rounded so that equal sums of thirds are equal numbers: the bootstrap groups examples by them.
    table = np.round(np.stack(lines), 12)
    table = table[:, ~np.isnan(table).all(axis=0)]
    table = table[~np.isnan(table).all(axis=1)]
    return table if table.size else None


def by_setting(study: Study) -> list[Verdict]:
    """For each setting with a few values: the best value against each other one, all else being equal."""
    found = []
    for dataset, title in study.datasets.items():
        runs = [run for run in study.runs if run.dataset == dataset]
        prefix = f"{title}: " if len(study.datasets) > 1 else ""
        for key in study.keys:
            values = sorted({str(run.values.get(key)): run.values.get(key) for run in runs}.values(), key=natural)
            if key in DATASET or not 2 <= len(values) <= MOST_VALUES:
                continue
            found += _one_setting(study, runs, key, values, prefix)
    return _corrected(found)


def _one_setting(study: Study, runs: Sequence[Run], key: str, values: Sequence[Any], prefix: str) -> list[Verdict]:
    # What belongs to the setting follows it (tuning.rank to tuning); an ensemble takes the place of one pattern.
    ignored = {key, *(own for own in study.varied if own.startswith(f"{key}.")), *(PVP if key == "ensemble" else ())}
    if key == "rung":
        ignored |= {own for own in study.varied if summary.settled([run.values for run in runs], own)}
    others = [own for own in study.varied if own not in ignored]

    def by_match(value: Any) -> dict[tuple[Any, ...], list[Run]]:
        groups: dict[tuple[Any, ...], list[Run]] = {}
        for run in runs:
            if str(run.values.get(key)) == str(value):
                mark = (run.seeds, *(str(run.values.get(own)) for own in others))
                groups.setdefault(mark, []).append(run)
        return groups

    sides = {str(value): by_match(value) for value in values}
    everywhere = set.intersection(*(set(side) for side in sides.values()))

    def mean(value: Any) -> float:
        """Over what all values have a run for, so that no value gains by easier company; else over all."""
        side = sides[str(value)]
        return float(np.mean([run.score for mark in everywhere or side for run in side[mark]]))

    best = max(values, key=mean)
    found = []
    for value in values:
        first, second = sides[str(best)], sides[str(value)]
        marks = [mark for mark in first if mark in second]
        if value == best or not marks:
            continue
        table = differences([(mark[0], first[mark], second[mark]) for mark in marks])
        if table is not None:
            names = study.name({key: best}, [key]), study.name({key: value}, [key])
            found.append(_verdict(*names, prefix, table))
    return found


def _verdict(first: str, second: str, prefix: str, difference: np.ndarray) -> Verdict:
    """The comparison, turned so that the better one comes first."""
    own = paired_bootstrap(difference)
    if own.difference < 0:
        first, second = second, first
        own = replace(own, difference=-own.difference, low=-own.high, high=-own.low)
    return Verdict(prefix + first, second, own)


def by_configuration(study: Study, most: int = 5) -> list[Verdict]:
    """The best configuration of each data set against the next ones."""
    found = []
    for dataset, title in study.datasets.items():
        own = [one for one in study.configurations if one.runs[0].dataset == dataset]
        ranked = sorted(own, key=lambda one: -one.score.mean)
        prefix = f"{title}: " if len(study.datasets) > 1 else ""
        keys = [key for key in study.keys if len({str(one.values.get(key)) for one in own}) > 1]
        if len(keys) < 2:
            continue  # the comparison of settings says it already
        for other in ranked[1 : most + 1]:
            pairs = list(_shared_seeds(ranked[0], other))
            table = differences(pairs) if pairs else None
            if table is not None:
                names = study.name(ranked[0].values, keys), study.name(other.values, keys)
                found.append(_verdict(*names, prefix, table))
    return _corrected(found)


def _shared_seeds(first: Configuration, second: Configuration) -> Iterable[tuple[Seeds, Sequence[Run], Sequence[Run]]]:
    own: Mapping[Seeds, Run] = {run.seeds: run for run in first.runs}
    for run in second.runs:
        if run.seeds in own:
            yield run.seeds, [own[run.seeds]], [run]


def _corrected(found: Sequence[Verdict]) -> list[Verdict]:
    p_values = holm([verdict.comparison.p for verdict in found])
    return [
        replace(verdict, comparison=replace(verdict.comparison, p=p))
        for verdict, p in zip(found, p_values, strict=True)
    ]
