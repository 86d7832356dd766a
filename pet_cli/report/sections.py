"""From runs to a document: one function for each section; a section without data is None and left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pet_cli import results
from pet_cli.report import answers, commands, compare, plots
from pet_cli.report.document import Block, Bullets, Code, Document, Figures, Picture, Section, Table, Text
from pet_cli.report.runs import PVP, Run, Study, brief, grouped, natural, short, shown
from pet_cli.report.statistics import Decomposition, Estimate, Source, decompose, estimate

MOST_PANELS = 4
MOST_ROWS = 12
MOST_MISTAKES = 10
MOST_COMMANDS = 20
MOST_SENTENCES = 8


def document(study: Study) -> Document:
    """The whole report."""
    sources = decompositions(study)
    by_setting, by_configuration = compare.by_setting(study), compare.by_configuration(study)
    found = [
        result_section(study),
        spread_section(study),
        source_section(study, sources),
        curve_section(study),
        comparison_section(by_setting, by_configuration),
        member_section(study),
        confusion_section(study),
        mistake_section(study),
        probability_section(study),
        cost_section(study),
        command_section(study),
    ]
    tasks = ", ".join(study.datasets.values())
    n, m = len(study.runs), len(study.configurations)
    lead = f"{_count(n, 'run')} of {_count(m, 'configuration')}" if m > 1 else f"{_count(n, 'run')}"
    shared = " ".join(
        f"{key}={short(shown(key, value), 60)}" for key, value in study.shared.items() if (key, value) not in _UNSAID
    )
    return Document(
        title=f"{tasks}: {_count(n, 'run')}",
        lead=f"{lead} from {', '.join(str(folder) for folder in study.folders)}"
        + (f". All: {shared}" if shared else ""),
        short=tuple(in_short(study, sources, by_setting)),
        sections=tuple(section for section in found if section is not None),
    )


_UNSAID = (("ensemble", "none"),)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("s" if n != 1 else "")


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\u00a0%"


def _mean_std(one: Estimate) -> str:
    return f"{one.mean:.3f}" + (f" ± {one.std:.3f}" if one.std is not None else "")


def _interval(one: Estimate) -> str:
    if one.low is None or one.high is None:
        return "–"
    return f"{max(0.0, one.low):.3f}–{min(1.0, one.high):.3f}"


# --- what to know first --------------------------------------------------------------------------------------------


def in_short(
    study: Study, sources: Sequence[tuple[str, Decomposition]], verdicts: Sequence[compare.Verdict]
) -> list[str]:
    """The few sentences that most readers need."""
    items = []
    rows_of = {str(run.folder): run.dataset for run in study.runs}
    for dataset, title in study.datasets.items():
        prefix = f"{title}: " if len(study.datasets) > 1 else ""
        rows = [row for row in study.rows if rows_of.get(str(row["path"])) == dataset]
        sentence = results.spread(results.summarise(rows))
        own = [one for one in study.configurations if one.runs[0].dataset == dataset]
        if sentence is None:
            best = max(own, key=lambda one: one.accuracy.mean)
            sentence = f"Accuracy {_mean_std(best.accuracy)}, macro-F1 {_mean_std(best.macro_f1)}" + (
                f" ({_count(best.accuracy.n, 'seed')})." if best.accuracy.n > 1 else "."
            )
        items.append(prefix + sentence)
    if sources:
        title, own_sources = pooled(sources)
        prefix = f"{title}: " if title else ""
        items.append(f"{prefix}{finding(own_sources)} {advice(own_sources)}".strip())
    clear = [verdict.sentence() for verdict in verdicts if verdict.clear]
    items += clear[:2]
    if verdicts and not clear:
        items.append("None of the settings compared is clearly better than another: see the comparisons.")
    return items + notes(study)


def notes(study: Study) -> list[str]:
    """What a reader should know before believing the numbers."""
    items = []
    if study.unfinished:
        items.append(f"{_count(len(study.unfinished), 'run')} did not finish; see the end of the results.")
    if study.repeats:
        items.append(f"{_count(study.repeats, 'run')} with the settings and seeds of another counted once.")
    constant = sum(run.metrics.get("one_label") is not None for run in study.runs)
    if constant:
        items.append(f"In {constant} of {_count(len(study.runs), 'run')} every prediction is the same label.")
    capped = {int(run.metrics.get("n_test") or 0) for run in study.runs if run.metrics.get("max_test") is not None}
    if capped:
        sizes = "–".join(str(size) for size in sorted({min(capped), max(capped)}))
        items.append(f"Scored on {sizes} test examples only (data.max_test), which the sample's seed draws.")
    shortened = max((int(run.metrics.get("shortened") or 0) for run in study.runs), default=0)
    if shortened:
        items.append(f"In some runs, up to {_count(shortened, 'test example')} had to be shortened.")
    if len({str(run.metrics.get("versions")) for run in study.runs}) > 1:
        items.append("The runs were made with different versions; see the end.")
    return items


# --- results -------------------------------------------------------------------------------------------------------


def result_table(study: Study) -> Table:
    """One row for each configuration; the best of each data set stands out."""
    best = answers.best_of_each_dataset(study) if len(study.configurations) > 1 else []
    keys = study.keys or ("tuning",)
    rows = []
    for one in study.configurations:
        settings = [shown(key, one.values.get(key)) for key in keys]
        rows.append((*settings, _mean_std(one.accuracy), _interval(one.accuracy), _mean_std(one.macro_f1)))
    n = len(keys)
    return Table(
        title="",
        columns=(*keys, "accuracy", "95 % interval", "macro-F1", "runs"),
        rows=tuple((*row, str(one.accuracy.n)) for row, one in zip(rows, study.configurations, strict=True)),
        numeric=frozenset(range(n, n + 4)),
        strong=frozenset(i for i, one in enumerate(study.configurations) if one in best),
    )


def result_section(study: Study) -> Section:
    several = any(one.accuracy.n > 1 for one in study.configurations)
    note = (
        "Mean ± standard deviation over seeds; the interval is for the mean, by Student's t, so it takes for granted "
        "that the seeds are a fair draw. The best mean is set in bold; see the comparisons before calling it better. "
        "The same for a paper: table.tex."
        if several
        else "One run each, so nothing can be said of how far a number would move: give several seeds (seed=13,21,42). "
        "The same for a paper: table.tex."
    )
    also = [key for key in study.varied if key not in study.keys]
    if also:
        note += f" Not shown, since the columns settle it: {_and(also)}."
    blocks: list[Block] = [result_table(study), Text(note, note=True)]
    if study.unfinished:
        items = tuple(f"{name}: {what}" for name, what in study.unfinished.items())
        blocks += [Text("Not finished:"), Bullets(items[:MOST_ROWS])]
        if len(items) > MOST_ROWS:
            blocks.append(Text(f"… and {len(items) - MOST_ROWS} more."))
    return Section("results", "Results", blocks)


# --- patterns and verbalizers --------------------------------------------------------------------------------------


def _single(study: Study) -> list[Run]:
    """The runs with one pattern and one verbalizer that read them."""
    return [run for run in study.runs if not run.is_ensemble and run.tuning != "classifier"]


def _levels(runs: Sequence[Run], key: str) -> list[Any]:
    return sorted({str(run.values.get(key)): run.values.get(key) for run in runs}.values(), key=natural)


def spread_section(study: Study) -> Section | None:
    """A strip plot and heat maps over patterns × verbalizers."""
    runs = _single(study)
    keys = [key for key in PVP if len(_levels(runs, key)) > 1]
    if not keys:
        return None
    setting_keys = [key for key in study.keys if key not in PVP]
    settings = [
        group for group in grouped(runs, setting_keys).values() if any(len(_levels(group, k)) > 1 for k in keys)
    ]
    if not settings:
        return None
    strip, full = _strip(study, settings, setting_keys, keys), _levels_in_full(runs, keys)
    blocks: list[Block] = [Figures((strip,), (full,) if full else ())]
    maps, n_maps = _heat_maps(study, settings, setting_keys)
    if maps:
        blocks.append(Figures(tuple(maps)))
    if len(maps) < n_maps:
        blocks.append(Text(f"Heat maps of the {len(maps)} settings with the most runs, of {n_maps}.", note=True))
    return Section("spread", "Spread over patterns and verbalizers", blocks)


def _levels_in_full(runs: Sequence[Run], keys: Sequence[str]) -> Table | None:
    """What ids such as p0 and v1 stand for, where all runs agree on it."""
    rows: dict[tuple[str, str], str] = {}
    for run in runs:
        task = run.config.get("task")
        for key, items in (("pattern", "patterns"), ("verbalizer", "verbalizers")):
            value, listed = str(run.values.get(key)), task.get(items) if isinstance(task, Mapping) else None
            if key not in keys or not value[1:].isdigit() or value[0] != key[0] or not isinstance(listed, list):
                continue
            index = int(value[1:])
            text = shown(key, listed[index]) if index < len(listed) else "–"
            if isinstance(listed[index] if index < len(listed) else None, Mapping):
                text = "; ".join(
                    f"{label}: {', '.join(words) if isinstance(words, list) else words}"
                    for label, words in listed[index].items()
                )
            if rows.setdefault((key, value), text) != text:
                return None
    if not rows:
        return None
    ordered = sorted(rows.items(), key=lambda one: (one[0][0], natural(one[0][1])))
    return Table("", ("id", "in full"), tuple((name, text) for (_, name), text in ordered), wide=frozenset({1}))


def _strip(
    study: Study, settings: Sequence[Sequence[Run]], setting_keys: Sequence[str], keys: Sequence[str]
) -> Picture:
    pvps = list(grouped((run for group in settings for run in group), keys).values())
    names = [study.label(group[0].values, setting_keys) for group in settings]
    if len(settings) <= 3 and len(pvps) <= 30:
        row_of = {run: number for number, group in enumerate(pvps) for run in group}
        points = [(row_of[run], number, run.accuracy) for number, group in enumerate(settings) for run in group]
        rows = [study.label(group[0].values, keys) for group in pvps]
        caption = "Each dot is a run, each tick the mean of its row."
        return plots.strip("spread", caption, rows, points, names)
    most = sorted(settings, key=lambda group: -len(group))[:30]
    kept = [(group, name) for group, name in zip(settings, names, strict=True) if group in most]
    points = [
        (number, 0, float(np.mean([run.accuracy for run in own])))
        for number, (group, _) in enumerate(kept)
        for own in grouped(group, keys).values()
    ]
    what = " × ".join(keys)
    caption = f"Each dot is one {what}, the mean over its seeds; each tick the mean of its row."
    if len(kept) < len(settings):
        caption += f" The {len(kept)} settings with the most runs, of {len(settings)}."
    return plots.strip("spread", caption, [name for _, name in kept], points, [what])


def _heat_maps(
    study: Study, settings: Sequence[Sequence[Run]], setting_keys: Sequence[str]
) -> tuple[list[Picture], int]:
    """A map for each setting in which both vary, of those with the most runs; and how many there would be."""
    both = [group for group in settings if all(len(_levels(group, key)) > 1 for key in PVP)]
    most = sorted(both, key=lambda group: -len(group))[:MOST_PANELS]
    panels = []
    for group in both:
        if group not in most:
            continue
        rows, columns = _levels(group, "pattern"), _levels(group, "verbalizer")
        cells = grouped(group, PVP)
        table = np.full((len(rows), len(columns)), np.nan)
        for (pattern, verbalizer), own in cells.items():
            at = [str(row) for row in rows].index(pattern), [str(column) for column in columns].index(verbalizer)
            table[at] = np.mean([run.accuracy for run in own])
        panels.append((group, rows, columns, table))
    if not panels:
        return [], 0
    low = min(float(np.nanmin(table)) for *_, table in panels)
    high = max(float(np.nanmax(table)) for *_, table in panels)
    # Colours over at least ten points, so that noise does not look like a pattern.
    middle, half = (low + high) / 2, max(0.05, (high - low) / 2)
    pictures = [
        plots.heat_map(
            f"heat-map-{number}",
            "Mean accuracy over seeds.",
            study.label(group[0].values, setting_keys),
            [brief("pattern", row) for row in rows],
            [brief("verbalizer", column) for column in columns],
            table,
            (middle - half, middle + half),
        )
        for number, (group, rows, columns, table) in enumerate(panels, start=1)
    ]
    return pictures, len(both)


# --- where the spread comes from -----------------------------------------------------------------------------------


def decompositions(study: Study) -> list[tuple[str, Decomposition]]:
    """The variance by source, within runs that are alike in everything else: settings -> decomposition."""
    others = [key for key in study.varied if key not in PVP]
    found = []
    for group in grouped(study.runs, others).values():
        factors: dict[str, list[str]] = {}
        if group[0] in _single(study):
            factors |= {key: [str(run.values.get(key)) for run in group] for key in PVP}
        factors["sample"] = [str(run.seeds[0]) for run in group]
        factors["training seed"] = [str(run.seeds[1]) for run in group]
        own = decompose([run.accuracy for run in group], factors)
        # Seeds alone, one run each: all of the variance is theirs, which says nothing.
        if own is None or own.n < 3 or (own.saturated and not set(factors) & set(PVP) - set(own.fixed)):
            continue
        keys = [key for key in study.keys if key not in PVP]
        found.append((study.label(group[0].values, keys), own))
    return found


_ADVICE = {
    "pattern": "Another pattern, or an ensemble of them, is worth more here than anything else.",
    "verbalizer": "Other label words, or several for a label, are worth more here than anything else.",
    "sample": "More labeled examples are worth more here than another pattern.",
    "training seed": "Averaging over several training seeds is worth more here than another pattern.",
    "seed (sample and training together)": "It is the draw of examples or the training: vary data.seed and "
    "trainer.seed apart to see which. More labeled examples and averaging over seeds steady it; another pattern will "
    "not.",
}


def finding(own: Decomposition, over: str = "") -> str:
    """What a decomposition says, in a sentence."""
    most = max(own.sources, key=lambda source: source.share)
    spread = f"the spread of ± {100 * own.std:.1f} points over {over or f'{own.n} runs'}"
    if own.saturated:
        return (
            f"All of {spread} falls to the {_and([source.name for source in own.sources])}, but with no repetition "
            "noise is counted there too: give several seeds."
        )
    share = f"{_percent(most.share)} of the variance (chance alone gives it {_percent(most.chance)})"
    if not stands_out(own):
        return (
            f"No single source explains {spread}: the largest is the {most.name} with {share}, and "
            f"{_percent(own.rest)} is left to how they act together and to noise."
        )
    return f"The largest part of {spread} comes from the {most.name}: {share}."


def stands_out(own: Decomposition) -> bool:
    """Whether the largest source is worth acting upon: well above chance, and above what is left."""
    most = max(own.sources, key=lambda source: source.share)
    return not own.saturated and most.share >= max(0.15, 2 * most.chance, own.rest)


def advice(own: Decomposition) -> str:
    """What a decomposition means for what to do next; nothing where no source stands out."""
    most = max(own.sources, key=lambda source: source.share)
    return _ADVICE.get(most.name, "") if stands_out(own) else ""


def pooled(found: Sequence[tuple[str, Decomposition]]) -> tuple[str, Decomposition]:
    """The mean of several decompositions, of those with the sources that most have; one by itself as it is."""
    sets = [tuple(source.name for source in own.sources) for _, own in found]
    names = max(dict.fromkeys(sets), key=sets.count)
    alike = [one for one, own_names in zip(found, sets, strict=True) if own_names == names]
    if len(alike) == 1:
        return alike[0]
    decompositions = [own for _, own in alike]

    def mean(values: Sequence[float]) -> float:
        return float(np.mean(values))

    sources = tuple(
        Source(
            name,
            max(own.sources[i].levels for own in decompositions),
            mean([own.sources[i].share for own in decompositions]),
            mean([own.sources[i].chance for own in decompositions]),
        )
        for i, name in enumerate(names)
    )
    whole = Decomposition(
        n=sum(own.n for own in decompositions),
        mean=mean([own.mean for own in decompositions]),
        std=mean([own.std for own in decompositions]),
        sources=sources,
        rest=mean([own.rest for own in decompositions]),
        rest_chance=mean([own.rest_chance for own in decompositions]),
        fixed=decompositions[0].fixed,
    )
    return f"On the mean of {len(alike)} settings", whole


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _source_table(rows: Sequence[str], found: Sequence[Decomposition], names: Sequence[str], rest: str) -> Table:
    """Shares with what chance alone would give: a row for each source, or for each of several settings."""
    lines: list[tuple[str, ...]]
    if len(found) == 1:
        own = found[0]
        lines = [
            (source.name, str(source.levels), _percent(source.share), _percent(source.chance)) for source in own.sources
        ]
        lines.append((rest, "", _percent(own.rest), _percent(own.rest_chance)))
        heads = ("source", "levels", "share", "by chance alone")
        return Table("", heads, tuple(lines), numeric=frozenset({1, 2, 3}))

    def cell(own: Decomposition, name: str) -> str:
        source = next((source for source in own.sources if source.name == name), None)
        return "–" if source is None else f"{_percent(source.share)} ({_percent(source.chance)})"

    lines = [
        (
            title,
            str(own.n),
            f"{100 * own.std:.1f}",
            *(cell(own, name) for name in names),
            f"{_percent(own.rest)} ({_percent(own.rest_chance)})",
        )
        for title, own in zip(rows, found, strict=True)
    ]
    columns = ("settings", "runs", "±\u00a0points", *names, rest)
    numeric = frozenset(range(1, len(columns)))
    return Table("Share of the variance (by chance alone)", columns, tuple(lines), numeric=numeric)


def source_section(study: Study, found: Sequence[tuple[str, Decomposition]]) -> Section | None:
    if not found:
        return None
    largest = sorted(found, key=lambda one: -one[1].n)[:MOST_ROWS]
    kept = [one for one in found if one in largest]
    rest = "together and noise"
    names = list(dict.fromkeys(source.name for _, own in kept for source in own.sources))
    parts = {
        name: [sum(source.share for source in own.sources if source.name == name) for _, own in kept] for name in names
    } | {rest: [own.rest for _, own in kept]}
    rows = [title or "all runs" for title, _ in kept]
    picture = plots.shares("sources", "The variance of accuracy over runs, by what varied.", rows, parts, rest)
    title, whole = pooled(found)
    blocks: list[Block] = [
        Text(f"{title}: {finding(whole)} {advice(whole)}" if title else f"{finding(whole)} {advice(whole)}")
    ]
    if len(kept) <= MOST_PANELS and len(found) > 1:
        blocks.append(Bullets(tuple(f"{title}: {finding(own)}" for title, own in kept)))
    blocks.append(Figures((picture,), (_source_table(rows, [own for _, own in kept], names, rest),)))
    fixed = list(dict.fromkeys(name for _, own in kept for name in own.fixed))
    never = [name for name in fixed if all(name in own.fixed for _, own in kept)]
    if never:
        blocks.append(Text(f"Not varied in these runs, so nothing is known of it: {_and(never)}."))
    note = (
        "Each row of the plot holds runs that are alike in everything but pattern, verbalizer and seeds. A share is "
        "the sum of squares of a main effect over the total; where runs are missing from the grid it is the mean over "
        "the orders in which the effects may enter a least-squares fit. “By chance alone” is the share a source "
        "without any effect would have on average: read a share against it. What is left is how sources act together, "
        "and noise."
    )
    if any(run.metrics.get("max_test") is not None for run in study.runs):
        note += " The sample's seed also draws the test examples (data.max_test), so its share holds their luck too."
    if len(kept) < len(found):
        note += f" The {len(kept)} settings with the most runs, of {len(found)}."
    blocks.append(Text(note, note=True))
    return Section("sources", "Where the spread comes from", blocks)


# --- learning curves -----------------------------------------------------------------------------------------------


def _shots(run: Run) -> float:
    """Training examples of each label; all of them where none were drawn, on the mean."""
    own = run.values.get("data.shots")
    return float(own) if isinstance(own, (int, float)) else run.metrics.get("n_train", 0) / len(run.labels)


def curve_section(study: Study) -> Section | None:
    """Accuracy against shots."""
    pictures: list[Picture] = []
    keys = study.series_keys()
    left = 0
    for dataset, title in study.datasets.items():
        runs = [run for run in study.runs if run.dataset == dataset]
        own_keys = [key for key in keys if len(_levels(runs, key)) > 1]
        lines, flat = [], []
        ticks = {_shots(run): f"{_shots(run):g}" for run in sorted(runs, key=_shots)}
        for series in grouped(runs, own_keys).values():
            by_shots: dict[float, list[float]] = {}
            for run in sorted(series, key=_shots):
                by_shots.setdefault(_shots(run), []).append(run.accuracy)
            points = {shots: estimate(values) for shots, values in by_shots.items()}
            line = plots.Line(
                study.label(series[0].values, own_keys) or "all runs",
                list(points),
                [point.mean for point in points.values()],
                [point.std or 0.0 for point in points.values()],
            )
            if len(points) > 1:
                lines.append(line)
            elif series[0].tuning == "zero_shot":
                flat.append(line)
        ticks = {x: text for x, text in ticks.items() if any(x in line.x for line in (*lines, *flat))}
        left += max(0, len(lines) + len(flat) - plots.MOST_SERIES)
        lines = lines[: plots.MOST_SERIES]
        if not lines or len(pictures) == MOST_PANELS:
            continue
        caption = (
            f"{title}. " if len(study.datasets) > 1 else ""
        ) + "Mean accuracy over patterns, verbalizers and seeds; the band is one standard deviation over the runs."
        flat = flat[: plots.MOST_SERIES - len(lines)]
        pictures.append(plots.curves(f"learning-curve-{len(pictures) + 1}", caption, lines, ticks, flat))
    if not pictures:
        return None
    blocks: list[Block] = [Figures(tuple(pictures))]
    if left:
        blocks.append(Text(f"{_count(left, 'more line')} not drawn.", note=True))
    return Section("curves", "Learning curves", blocks)


# --- comparisons ---------------------------------------------------------------------------------------------------


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


# --- ensembles -----------------------------------------------------------------------------------------------------


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
            cells.append((title, name, _mean_std(own), _mean_std(estimate(f1s[name])), weight))
        everyone = estimate([value for values in accuracies.values() for value in values])
        cells.append((title, "mean of members", f"{everyone.mean:.3f}", "", ""))
        teachers = [run.metrics["ensemble"] for run in runs if isinstance(run.metrics.get("ensemble"), Mapping)]
        if teachers:
            teacher = [float(own["accuracy"]) for own in teachers]
            points += [(number, 2, value) for value in teacher]
            f1 = [float(own["macro_f1"]) for own in teachers]
            cells.append((title, "ensemble", _mean_std(estimate(teacher)), _mean_std(estimate(f1)), ""))
        points += [(number, 1, run.accuracy) for run in runs]
        own_name = "student" if teachers else "ensemble"
        cells.append((title, own_name, _mean_std(one.accuracy), _mean_std(one.macro_f1), ""))
    series = ["a member", "student" if any(which == 2 for _, which, _ in points) else "the ensemble"]
    series += ["its teachers together"] if any(which == 2 for _, which, _ in points) else []
    picture = plots.strip("members", "Each mark is a run; the ticks are means.", rows, points, series)
    strong = frozenset(i for i, row in enumerate(cells) if row[1] in ("ensemble", "student"))
    columns = ("configuration", "member", "accuracy", "macro-F1", "weight")
    if len(ensembles) == 1:
        table = Table("", columns[1:], tuple(row[1:] for row in cells), numeric=frozenset({1, 2, 3}), strong=strong)
    else:
        table = Table("", columns, tuple(cells), numeric=frozenset({2, 3, 4}), strong=strong)
    return Section("members", "Ensembles and their members", [Figures((picture,), (table,))])


# --- example by example --------------------------------------------------------------------------------------------


def confusion_section(study: Study) -> Section | None:
    configurations, left = answers.chosen(study, MOST_PANELS)
    pictures = []
    for number, one in enumerate(configurations, start=1):
        if len({tuple(run.labels) for run in one.runs}) > 1:
            continue
        title = answers.describe(study, one)
        caption = f"{_count(len(one.runs), 'run')}."
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
    return f"Shown: the best configuration{f' of each {_and(keys)}' if keys else ''}.{more}"


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


# --- cost ----------------------------------------------------------------------------------------------------------


def cost_section(study: Study) -> Section | None:
    """Time, memory and trained parameters beside accuracy."""
    runs = [run for run in study.runs if isinstance(_seconds(run), float)]
    if not runs:
        return None
    keys = [key for key in study.keys if key not in PVP]
    groups = list(grouped(runs, keys).values())
    cells = []
    for group in groups:
        accuracy = estimate([run.accuracy for run in group])
        seconds = [value for run in group if (value := _seconds(run)) is not None]
        speed = _numbers(group, "test_examples_per_second")
        memory, device = _numbers(group, "peak_memory_bytes"), _numbers(group, "peak_device_memory_bytes")
        trained = max((_trained(run) for run in group), key=lambda one: -1 if one is None else one)
        cells.append(
            (
                *(shown(key, group[0].values.get(key)) for key in keys),
                _mean_std(accuracy),
                f"{np.median(seconds):.2f}",
                f"{np.median(speed):,.0f}" if speed else "–",
                f"{min(memory) / 2**20:,.0f}" if memory else "–",
                f"{min(device) / 2**20:,.0f}" if device else "–",
                "–" if trained is None else f"{trained:,}",
            )
        )
    columns = (
        *keys, "accuracy", "seconds", "examples/s", "memory, MiB", "GPU memory, MiB", "trained parameters"
    )  # fmt: skip
    if all(row[-2] == "–" for row in cells):
        columns = (*columns[:-2], columns[-1])
        cells = [(*row[:-2], row[-1]) for row in cells]
    table = Table("", columns, tuple(cells), numeric=frozenset(range(len(keys), len(columns))))
    blocks: list[Block] = [Figures((_cost_plot(study, groups),), (table,)) if len(groups) > 1 else table]
    devices = list(dict.fromkeys(str(run.timing["device"]) for run in runs if run.timing.get("device")))
    note = (
        "Medians over runs. Seconds are those of a whole run, data and model included; the later runs of a sweep find "
        "both in memory. Memory is the process's highest during a run (where the system cannot tell, so far), the "
        "lowest of the runs"
    )
    blocks.append(Text(f"{note}. Device: {', '.join(devices)}." if devices else f"{note}.", note=True))
    return Section("cost", "Cost", blocks)


def _cost_plot(study: Study, groups: Sequence[Sequence[Run]]) -> Picture:
    keys = study.series_keys()
    by_series: dict[str, list[Sequence[Run]]] = {}
    for group in groups:
        by_series.setdefault(study.label(group[0].values, keys) or "all runs", []).append(group)
    names = list(by_series)
    if len(names) > plots.MOST_SERIES:
        names = sorted(names, key=lambda name: -sum(map(len, by_series[name])))[: plots.MOST_SERIES]
    points = []
    for number, name in enumerate(names):
        for group in by_series[name]:
            accuracy = estimate([run.accuracy for run in group])
            seconds = float(np.median([_seconds(run) or 0.0 for run in group]))
            points.append((number, max(seconds, 1e-3), accuracy.mean, accuracy.std or 0.0))
    caption = "Mean accuracy over median time; the bar is one standard deviation over the runs."
    if len(names) < len(by_series):
        caption += f" The {len(names)} settings with the most runs, of {len(by_series)}."
    return plots.beside("cost", caption, points, names, "seconds of a run")


def _seconds(run: Run) -> float | None:
    own = run.timing.get("seconds", {}).get("total")
    return float(own) if isinstance(own, (int, float)) else None


def _numbers(runs: Sequence[Run], name: str) -> list[float]:
    return [float(run.timing[name]) for run in runs if isinstance(run.timing.get(name), (int, float))]


def _trained(run: Run) -> int | None:
    own = run.metrics.get("trained_parameters")
    if isinstance(own, int):
        return own
    return 0 if run.tuning == "zero_shot" and not run.is_ensemble else None


# --- commands ------------------------------------------------------------------------------------------------------


def command_section(study: Study) -> Section:
    """What to type to get all this again, and with which versions."""
    overrides = [run.overrides for run in study.runs]
    lines = commands.commands(overrides)
    shown_lines = lines[:MOST_COMMANDS]
    if len(lines) > MOST_COMMANDS:
        shown_lines.append(f"# … and {len(lines) - MOST_COMMANDS} more")
    folders = " ".join(commands.quote(str(folder)) for folder in study.folders)
    blocks: list[Block] = [Code("\n".join([*shown_lines, f"pet report {folders}"]))]
    own = commands.own_configs(overrides)
    if own:
        blocks.append(Text(f"{_and(own)} came from a folder of your own configs: add --config-dir DIR."))
    versions: dict[str, list[str]] = {}
    for run in study.runs:
        for name, version in dict(run.metrics.get("versions") or {}).items():
            if str(version) not in versions.setdefault(str(name), []):
                versions[str(name)].append(str(version))
    if versions:
        rows = tuple((name, ", ".join(found)) for name, found in versions.items())
        blocks.append(Table("Versions", ("package", "version"), rows))
    return Section("commands", "Commands and versions", blocks)
