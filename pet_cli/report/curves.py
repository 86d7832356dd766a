"""Learning curves, and paired comparisons of configurations."""

from __future__ import annotations

from collections.abc import Sequence

from pet_cli.report import compare, plots, wording
from pet_cli.report.document import Block, Bullets, Figures, Picture, Section, Table, Text
from pet_cli.report.runs import Run, Study, grouped, levels
from pet_cli.report.statistics import estimate
from pet_cli.tasks.targets import TARGETS

MOST_PANELS = 4
MOST_SENTENCES = 8


# --- learning curves -------------------------------------------------------------------------------------------------


def _shots(run: Run) -> float:
    """Training examples of each label, or as the target draws them; all of them where none were drawn, on the mean."""
    own = run.values.get("data.shots")
    return float(own) if isinstance(own, (int, float)) else run.metrics.get("n_train", 0) / max(1, len(run.labels))


def _axis(run: Run) -> str:
    """What a number of shots counts, for the run's target."""
    return f"training examples {TARGETS[run.kind].shots} (shots)"


def curve_section(study: Study) -> Section | None:
    """The score against shots."""
    pictures: list[Picture] = []
    keys = study.series_keys()
    left = 0
    for dataset, title in study.datasets.items():
        runs = [run for run in study.runs if run.dataset == dataset]
        own_keys = [key for key in keys if len(levels(runs, key)) > 1]
        lines, flat = [], []
        ticks = {_shots(run): f"{_shots(run):g}" for run in sorted(runs, key=_shots)}
        for series in grouped(runs, own_keys).values():
            by_shots: dict[float, list[float]] = {}
            for run in sorted(series, key=_shots):
                by_shots.setdefault(_shots(run), []).append(run.score)
            points = {shots: estimate(values) for shots, values in by_shots.items()}
            line = plots.Line(
                study.label(series[0].values, own_keys) or "all runs",
                list(points),
                [point.mean for point in points.values()],
                [point.std or 0.0 for point in points.values()],
            )
            if len(points) > 1:
                lines.append(line)
            elif (mode := series[0].kind_of("tuning")) is not None and not mode.trains:
                flat.append(line)
        ticks = {x: text for x, text in ticks.items() if any(x in line.x for line in (*lines, *flat))}
        left += max(0, len(lines) + len(flat) - plots.MOST_SERIES)
        lines = lines[: plots.MOST_SERIES]
        if not lines or len(pictures) == MOST_PANELS:
            continue
        caption = (f"{title}. " if len(study.datasets) > 1 else "") + (
            f"Mean {study.score_title} over patterns, verbalizers and seeds; the band is one standard deviation over "
            "the runs."
        )
        flat = flat[: plots.MOST_SERIES - len(lines)]
        name = f"learning-curve-{len(pictures) + 1}"
        pictures.append(plots.curves(name, caption, lines, ticks, flat, _axis(runs[0]), study.score_title))
    if not pictures:
        return None
    blocks: list[Block] = [Figures(tuple(pictures))]
    if left:
        blocks.append(Text(f"{wording.count(left, 'more line')} not drawn.", note=True))
    return Section("curves", "Learning curves", blocks)


# --- comparisons -----------------------------------------------------------------------------------------------------


def comparison_section(
    by_setting: Sequence[compare.Verdict], by_configuration: Sequence[compare.Verdict]
) -> Section | None:
    if not by_setting and not by_configuration:
        return None
    blocks: list[Block] = []
    if by_setting:
        spoken = by_setting if len(by_setting) <= MOST_SENTENCES else [one for one in by_setting if one.clear]
        if spoken:
            blocks.append(Bullets(tuple(verdict.sentence() for verdict in spoken[:MOST_SENTENCES])))
        blocks.append(_verdict_table("Settings, all else being equal", by_setting))
    if by_configuration:
        blocks.append(_verdict_table("The best configuration and the next ones", by_configuration))
    note = (
        "Both sides answered the same test examples under the same seeds. A bootstrap draws examples and seeds anew "
        "2,000 times, alike for both sides: the interval holds the middle 95 % of the differences, and p says how "
        "easily the difference would turn round, corrected for the number of comparisons in a table (Holm). The best "
        "of many is a little lucky: what it leads by is likely to shrink on new data."
    )
    if any(verdict.comparison.seeds == 1 for verdict in (*by_setting, *by_configuration)):
        note += " Where there is one seed, only test examples are drawn: it speaks of these trained models alone."
    elif any(verdict.comparison.seeds < 5 for verdict in (*by_setting, *by_configuration)):
        note += " With so few seeds, take p as a rough guide."
    blocks.append(Text(note, note=True))
    return Section("comparisons", "Comparisons", blocks)


def _verdict_table(title: str, verdicts: Sequence[compare.Verdict]) -> Table:
    rows = []
    for verdict in verdicts:
        own = verdict.comparison
        rows.append(
            (
                verdict.first,
                verdict.second,
                compare.signed(100 * own.difference),
                f"{compare.signed(100 * own.low)} to {compare.signed(100 * own.high)}",
                compare.p_text(own.p).removeprefix("= "),
                f"{own.seeds}",
                f"{own.examples}",
                "clear" if verdict.clear else "may be chance",
            )
        )
    columns = ("first", "second", "points", "95 % interval", "p", "seeds", "examples", "difference")
    return Table(title, columns, tuple(rows), numeric=frozenset({2, 3, 4, 5, 6}))
