"""The ladder of the four eras: which serves best at the number of labels that one has, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pet_cli.config import eras
from pet_cli.config.eras import ERAS
from pet_cli.report import wording
from pet_cli.report.document import Block, Bullets, Figures, Section, Table, Text
from pet_cli.report.envelope import Stretch, labels_of, stretches, whole
from pet_cli.report.ladder_plot import ALL, Series, ladder
from pet_cli.report.runs import Run, Study, levels
from pet_cli.report.statistics import Estimate, estimate
from pet_cli.report.values import PVP, brief
from pet_cli.tasks.targets import TARGETS

_WORDS = {
    "features": "features",
    "architecture": "architectures",
    "pretraining": "pretrain-and-fine-tune",
    "prompts": "prompts",
}
"""era -> how a sentence calls it."""


@dataclass(frozen=True)
class Rung:
    """What a rung reached: size (training examples of each label) -> the score over its runs, seconds of training."""

    name: str
    era: str
    scores: Mapping[float, Estimate]
    seconds: Mapping[float, float]

    @property
    def flat(self) -> bool:
        """Whether it was asked without labels alone, so that its score holds for any number of them."""
        return list(self.scores) == [0]


Best = Mapping[float, tuple[str, Estimate]]
"""Of an era: size -> its best rung there, and what it reached."""


@dataclass(frozen=True)
class Climb:
    """A ladder on one data set.

    Attributes:
        prefix: the data set's name, where there are several.
        over: what its means are over, in words.
        shots: of what so many training examples are drawn, in words behind "examples".
        sizes: training examples of each label, ascending; `ALL` for all, of which `everything` is the number.
        best: the eras' best rungs.
    """

    prefix: str
    over: str
    shots: str
    rungs: Sequence[Rung]
    sizes: Sequence[float]
    everything: float
    best: Mapping[str, Best]


def climbs(study: Study) -> list[Climb]:
    """The ladders among the runs: data sets with rungs of two eras at two numbers of labels."""
    found = []
    for dataset, title in study.datasets.items():
        runs = [run for run in study.runs if run.dataset == dataset]
        rungs = rungs_of(study, runs)
        sizes = sorted({size for rung in rungs for size in rung.scores})
        here = [era for era in ERAS if any(rung.era == era for rung in rungs)]
        if len(here) > 1 and len(sizes) > 1:
            everything = float(np.mean([_labeled(run) for run in runs if _size(run) == ALL] or [0]))
            prefix = f"{title}. " if len(study.datasets) > 1 else ""
            prompts = [run for run in runs if run.has_prompt]
            over = wording.together([*(f"{key}s" for key in PVP if len(levels(prompts, key)) > 1), "seeds"])
            best = {era: era_line(rungs, era) for era in here}
            shots = TARGETS[runs[0].kind].shots.partition(",")[0]
            found.append(Climb(prefix, over, shots, rungs, sizes, everything, best))
    return found


def leads(study: Study) -> list[str]:
    """Who leads at which number of labels, a sentence for each data set with a ladder whose eras meet anywhere."""
    said = [(one.prefix, sentences(one.best, one.everything, one.shots)) for one in climbs(study)]
    return [prefix + own[0] for prefix, own in said if own]


def ladder_section(study: Study) -> Section | None:
    """A plot for each data set, where lines cross in words, and tables; None where there is no ladder."""
    blocks: list[Block] = []
    for number, one in enumerate(climbs(study), start=1):
        caption = (
            f"{one.prefix}Mean {study.score_title} over {one.over}, the band is one standard deviation; beside it "
            "seconds of training, a mark for each number of labels."
        )
        picture = ladder(f"ladder-{number}", caption, _series(one.rungs), one.everything, study.score_title, one.shots)
        said = sentences(one.best, one.everything, one.shots)
        blocks.append(Figures((picture,)))
        blocks += [Bullets(tuple(one.prefix + sentence for sentence in said))] if said else []
        blocks += [_era_table(one), _rung_table(one)]
    if not blocks:
        return None
    note = (
        "Of each era the best rung at each number of labels counts, which is a little lucky where an era has many. "
        "Points of crossing are interpolated between the means, on the logarithm of the number of labels; within "
        "noise is where the bands of one standard deviation overlap; a number without one is of a single run. What "
        "learns nothing holds at any number of labels. Seconds are those of encoding and training; a frozen model's "
        "states that an earlier run of the sweep has computed cost nothing. The plot's files lie beside this page; "
        "those with -dark in their names are for dark slides."
    )
    return Section("ladder", "The ladder", [*blocks, Text(note, note=True)])


# --- rungs -----------------------------------------------------------------------------------------------------------


def _labeled(run: Run) -> float:
    """Training examples of each label, on the mean."""
    return float(run.metrics.get("n_train", 0)) / max(1, len(run.labels))


def _size(run: Run) -> float:
    shots = run.values.get("data.shots")
    return float(shots) if isinstance(shots, (int, float)) else ALL


def rungs_of(study: Study, runs: Sequence[Run]) -> list[Rung]:
    """The rungs among runs on one data set, those of an era beside each other, in the order of `ERAS`.

    A run that names no rung stands on that of its method, tuning or ensemble; what else sets runs apart, but patterns
    and label words, divides a rung.
    """
    several = [key for key in study.series_keys() if len(set(map(str, levels(runs, key))) - {"none"}) > 1]
    apart = [key for key in several if key not in _OF_RUNGS]
    names = {run: _name(run, apart) for run in runs}
    found = []
    for era in ERAS:
        own = [run for run in runs if eras.era(run.config) == era]
        for name in dict.fromkeys(names[run] for run in own):
            by_size: dict[float, list[Run]] = {}
            for run in sorted((run for run in own if names[run] == name), key=_size):
                by_size.setdefault(_size(run), []).append(run)
            scores = {size: estimate([run.score for run in group]) for size, group in by_size.items()}
            seconds = {size: float(np.median([_seconds(run) for run in group])) for size, group in by_size.items()}
            found.append(Rung(name, era, scores, seconds))
    return found


_OF_RUNGS = ("rung", "task", "method", "tuning", "ensemble")


def _name(run: Run, apart: Iterable[str]) -> str:
    """`soft prompt`, and what sets it apart from others of that rung."""
    rung = run.values.get("rung")
    if rung is None:
        group = "method" if run.values.get("tuning") == "none" else "ensemble" if run.is_ensemble else "tuning"
        rung = run.values.get(group)
    return " · ".join([str(rung).replace("_", " "), *(brief(key, run.values.get(key)) for key in apart)])


def _seconds(run: Run) -> float:
    """What training took, encoding included; 0 where nothing trained."""
    own = run.timing.get("seconds", {})
    train = own.get("train")
    return float(train) + float(own.get("encode", 0.0)) if isinstance(train, (int, float)) else 0.0


def _series(rungs: Sequence[Rung]) -> list[Series]:
    return [
        Series(
            rung.name,
            rung.era,
            list(rung.scores),
            [one.mean for one in rung.scores.values()],
            [one.std or 0.0 for one in rung.scores.values()],
            list(rung.seconds.values()),
        )
        for rung in rungs
    ]


# --- eras, and where they cross --------------------------------------------------------------------------------------


def era_line(rungs: Sequence[Rung], era: str) -> Best:
    """The best rung of an era at each size; one that learns nothing counts at every size."""
    sizes = sorted({size for rung in rungs for size in rung.scores})
    found: dict[float, tuple[str, Estimate]] = {}
    for size in sizes:
        own = [
            (rung.name, rung.scores[0 if rung.flat else size])
            for rung in rungs
            if rung.era == era and (rung.flat or size in rung.scores)
        ]
        if own:
            found[size] = max(own, key=lambda one: one[1].mean)
    return found


def sentences(best: Mapping[str, Best], everything: float, shots: str = "of each label") -> list[str]:
    """Who leads at which number of labels, and each two eras against each other; `shots` as `Climb` has it."""
    means = {era: {size: one.mean for size, (_, one) in line.items()} for era, line in best.items()}
    own = stretches(means, everything)
    found = [_lead(own, best, everything, _apart(own, means, everything), shots)]
    eras = list(best)
    for place, first in enumerate(eras):
        found += [_against(first, second, best, everything) for second in eras[place + 1 :]]
    return [sentence for sentence in found if sentence]


def _apart(own: Sequence[Stretch], lines: Mapping[str, Mapping[float, float]], everything: float) -> dict[float, str]:
    """size -> the era that is the highest there, though it leads on no stretch around it: where it was measured at one
    size, no line of it runs anywhere."""
    sizes = sorted({size for line in lines.values() for size in line})
    found = {}
    for size in sizes:
        place, there = labels_of(size, everything), {era: line[size] for era, line in lines.items() if size in line}
        around = {one.era for one in own if one.start <= place <= one.end}
        highest = max(there, key=there.__getitem__)
        if all(whole(lines[era], sizes, everything).get(size, -math.inf) < there[highest] for era in around):
            found[size] = highest
    return found


def _lead(
    own: Sequence[Stretch], best: Mapping[str, Best], everything: float, others: Mapping[float, str], shots: str
) -> str:
    """`Prompts (full) lead up to 51 examples of each label, features (tfidf) from there on.`

    Args:
        others: size -> the era that leads there alone.
    """
    parts = []
    but = [f"at {_shown(size)} {_WORDS[era]} ({best[era][size][0]}) do" for size, era in others.items()]
    end = f", but {wording.together(but)}." if but else "."
    for place, one in enumerate(own):
        names = dict.fromkeys(
            name
            for size, (name, mean) in best[one.era].items()
            if one.start <= labels_of(size, everything) <= one.end
            and all(mean.mean >= line[size][1].mean for line in best.values() if size in line)
        )
        who = _WORDS[one.era] + (f" ({', then '.join(names)})" if names else "")
        if len(own) == 1:
            return wording.sentence(
                f"{who} lead at every number of labels, {_plain(one.start)} to {_plain(one.end)}{end}"
            )
        first, last = place == 0, place == len(own) - 1
        unit = f" examples {shots}" if first else ""
        where = f"up to {_plain(one.end)}{unit}" if first else f"from {_plain(one.start)}"
        where += " on" if last else "" if first else f" to {_plain(one.end)}"
        parts.append(f"{who}{' lead' if first else ''} {where}")
    return wording.sentence(f"{', '.join(parts)}{end}") if parts else ""


def _against(first: str, second: str, best: Mapping[str, Best], everything: float) -> str:
    """Two eras: where the one is ahead, and where that is within noise."""
    shared = [size for size in best[first] if size in best[second]]
    if not shared:
        return ""
    lines = {era: {size: best[era][size][1].mean for size in shared} for era in (first, second)}
    own = stretches(lines, everything)
    where = f"from {_shown(shared[0])} to {_shown(shared[-1])}" if len(shared) > 1 else f"at {_shown(shared[0])}"
    if lines[first] == lines[second]:
        return f"{wording.sentence(_WORDS[first])} and {_WORDS[second]}: level {where}."
    if len(own) > 1:
        parts = [f"below {_plain(own[0].end)} {_WORDS[own[0].era]} win"]
        parts += [f"from {_plain(one.start)} to {_plain(one.end)} {_WORDS[one.era]}" for one in own[1:-1]]
        said = ", ".join([*parts, f"above {_plain(own[-1].start)} {_WORDS[own[-1].era]}"])
    else:
        ahead = own[0].era if own else max(lines, key=lambda era: lines[era][shared[0]])
        said = f"{_WORDS[ahead]} win {where}"
    noisy, known = [], []
    for size in shared:
        one, other = best[first][size][1], best[second][size][1]
        if one.std is None or other.std is None:
            continue
        known.append(size)
        if abs(one.mean - other.mean) <= one.std + other.std:
            noisy.append(size)
    if known and len(noisy) == len(shared):
        noise = "; within noise everywhere" if len(shared) > 1 else "; within noise"
    elif noisy:
        noise = f"; within noise at {wording.together([_shown(size) for size in noisy])}"
    else:
        noise = "; beyond noise" if len(known) == len(shared) else ""
    return f"{wording.sentence(_WORDS[first])} and {_WORDS[second]}: {said}{noise}."


def _shown(size: float) -> str:
    return "all" if size == ALL else f"{size:g}"


def _plain(number: float) -> str:
    """A number of labels with two digits that count; of less than one the first."""
    if number < 1:
        return f"{number:.1g}"
    if number < 10:
        return f"{number:.0f}"
    digits = 1 - math.floor(math.log10(number))
    return f"{number:,.0f}" if float(number).is_integer() and number < 1000 else f"{round(number, digits):,.0f}"


# --- tables ----------------------------------------------------------------------------------------------------------


def _era_table(climb: Climb) -> Table:
    """The best rung of each era at each number of labels; the best of all is shaded."""
    best, sizes = climb.best, climb.sizes
    rows, shade = [], {}
    for column, size in enumerate(sizes, start=1):
        there = {era: line[size][1].mean for era, line in best.items() if size in line}
        shade[list(best).index(max(there, key=there.__getitem__)), column] = 0.4
    for era, line in best.items():
        cells = [f"{wording.mean_std(line[size][1])} {line[size][0]}" if size in line else "–" for size in sizes]
        rows.append((ERAS[era], *cells))
    columns = ("era", *(_shown(size) for size in sizes))
    return Table(f"{climb.prefix}The best of each era by the number of labels", columns, tuple(rows), shade=shade)


def _rung_table(climb: Climb) -> Table:
    rows, sizes = [], climb.sizes
    for rung in climb.rungs:
        cells = [wording.mean_std(rung.scores[size]) if size in rung.scores else "–" for size in sizes]
        seconds = [value for value in rung.seconds.values() if value > 0]
        spent = " to ".join(dict.fromkeys(_spent(one) for one in (min(seconds), max(seconds)))) if seconds else "0"
        rows.append((rung.name, ERAS[rung.era], *cells, spent))
    columns = ("rung", "era", *(_shown(size) for size in sizes), "seconds of training")
    numeric = frozenset(range(2, len(columns)))
    return Table(f"{climb.prefix}Every rung by the number of labels", columns, tuple(rows), numeric=numeric)


def _spent(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds >= 0.05 else f"{seconds:.3f}"
