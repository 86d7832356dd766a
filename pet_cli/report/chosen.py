"""What honest choice leaves: the run that each rule chose beside the best, the mean and the worst on the test texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pet_cli.choice import winners
from pet_cli.report import wording
from pet_cli.report.document import Block, Section, Table, Text
from pet_cli.report.runs import Run, Study
from pet_cli.report.statistics import estimate
from pet_cli.report.values import brief

_SEEDS = ("seed", "data.seed", "trainer.seed")


@dataclass(frozen=True)
class Election:
    """Runs among which each rule chose one.

    Attributes:
        setting: what they have in common but the seeds.
        scores: theirs on the test examples.
        picked: rule -> the score of the run that it chose; a rule that named no winner is missing.
        seconds: rule -> what it took, of each run that says so.
    """

    setting: str
    scores: tuple[float, ...]
    picked: Mapping[str, float]
    seconds: Mapping[str, Sequence[float]]

    @property
    def oracle(self) -> float:
        return max(self.scores)

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores))


def elections(study: Study) -> list[Election]:
    """What `choice.json` of the sweeps says, with the scores of the runs; of groups with two runs or more."""
    runs = {run.folder.resolve(): run for run in study.runs}
    found = []
    for path in dict.fromkeys(
        path.resolve() for folder in study.folders for path in sorted(folder.rglob(winners.FILE))
    ):
        told = winners.read(path.parent)
        for group in told["groups"]:
            own = {name: runs[place] for name in group["scores"] if (place := (path.parent / name).resolve()) in runs}
            if len(own) > 1:
                found.append(_election(group, own))
    return found


def _election(group: Mapping[str, Any], runs: Mapping[str, Run]) -> Election:
    given = {key: value for key, value in group["given"].items() if key not in _SEEDS}
    won = {rule: one["run"] for rule, one in group["winners"].items() if one is not None and one["run"] in runs}
    seconds: dict[str, list[float]] = {}
    for run in runs.values():
        told = run.timing.get("choice", {})
        for rule, value in told.items() if isinstance(told, Mapping) else ():
            seconds.setdefault(str(rule), []).append(float(value))
    return Election(
        setting="\u00a0· ".join(brief(key, value) for key, value in given.items()),
        scores=tuple(run.score for run in runs.values()),
        picked={rule: runs[name].score for rule, name in won.items()},
        seconds=seconds,
    )


def kept(found: Sequence[Election], rule: str) -> float | None:
    """The share of the oracle's lead over the mean of the runs that a rule's choices have, over all elections in which
    it chose: 1 is the best run always, 0 no better than drawing one. None where nothing leads."""
    own = [one for one in found if rule in one.picked]
    lead = sum(one.oracle - one.mean for one in own)
    return None if lead < 1e-9 else sum(one.picked[rule] - one.mean for one in own) / lead


def choice_section(study: Study) -> Section | None:
    """A row for each rule in each setting, between the oracle and the worst run."""
    found = elections(study)
    if not found:
        return None
    settings = {setting: [one for one in found if one.setting == setting] for setting in (e.setting for e in found)}
    rows: list[tuple[str, ...]] = []
    for setting, own in settings.items():
        rows += [(setting, *row) for row in _rows(own, study.range)]
    if len(settings) > 1:
        rows += [("all of these", *row) for row in _rows(found, None)]
    columns: tuple[str, ...] = (
        *("settings", "chosen by", study.score_title, "95 % interval", "points behind the oracle", "95 % interval"),
        *("of the oracle's lead", "seconds"),
    )
    if len(settings) == 1:
        columns, rows = columns[1:], [row[1:] for row in rows]
    table = Table("", columns, tuple(rows), numeric=frozenset(range(len(columns) - 6, len(columns))))
    blocks: list[Block] = [Text(finding(found)), table]
    blocks.append(
        Text(
            f"{wording.count(len(found), 'choice')}, each among the runs of one sample. The oracle is the run that "
            "does best on the test examples, which nobody could have chosen; of many runs part of its lead is the "
            "luck of the test examples. The share is of its lead over the mean of the runs: 0 is no better than to "
            "draw one, and below 0 is worse. Seconds are the median that a rule takes for a run.",
            note=True,
        )
    )
    return Section("choice", "Choosing without the test labels", blocks)


def finding(found: Sequence[Election]) -> str:
    """How much each rule keeps, in a sentence."""
    rules = list(dict.fromkeys(rule for one in found for rule in one.picked))
    lead = 100 * float(np.mean([one.oracle - one.mean for one in found]))
    shares = [(share, rule) for rule in rules if (share := kept(found, rule)) is not None]
    if not shares:
        return "No run leads the others, so there was nothing to choose."
    (share, rule), *rest = sorted(shares, key=lambda one: -one[0])
    told = [f"{rule} keeps {wording.percent(share)}", *(f"{rule} {wording.percent(share)}" for share, rule in rest)]
    return f"Of the oracle's lead of {lead:.1f} points over the mean of the runs, {wording.together(told)}."


def _rows(found: Sequence[Election], bounds: tuple[float, float] | None) -> list[tuple[str, ...]]:
    rules = list(dict.fromkeys(rule for one in found for rule in one.picked))
    rows = [_row("oracle", [(one.oracle, one) for one in found], bounds)]
    for rule in rules:
        seconds = [value for one in found for value in one.seconds.get(rule, ())]
        own = [(one.picked[rule], one) for one in found if rule in one.picked]
        rows.append(_row(rule, own, bounds, kept(found, rule), seconds))
    rows.append(_row("mean", [(one.mean, one) for one in found], bounds))
    return [*rows, _row("worst", [(min(one.scores), one) for one in found], bounds)]


def _row(
    name: str,
    values: Sequence[tuple[float, Election]],
    bounds: tuple[float, float] | None,
    share: float | None = None,
    seconds: Sequence[float] = (),
) -> tuple[str, ...]:
    """Args: bounds: of a score; None where scores of several settings would be mixed, which are left out."""
    own = estimate([value for value, _ in values])
    behind = estimate([100 * (one.oracle - value) for value, one in values])
    spread = "–" if behind.low is None or behind.high is None else f"{max(0.0, behind.low):.1f}–{behind.high:.1f}"
    return (
        name,
        wording.mean_std(own) if bounds else "–",
        wording.interval(own, *bounds) if bounds else "–",
        "–" if name == "oracle" else f"{behind.mean:.1f}",
        "–" if name == "oracle" else spread,
        "–" if share is None else wording.percent(share),
        f"{np.median(seconds):.2f}" if seconds else "–",
    )
