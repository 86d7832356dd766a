"""The spread over templates and label words, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pet_cli.report import plots, wording
from pet_cli.report.document import Block, Bullets, Figures, Picture, Section, Table, Text
from pet_cli.report.runs import Run, Study, grouped, levels
from pet_cli.report.statistics import Decomposition, Source, decompose
from pet_cli.report.values import PVP, brief, natural, shown

MOST_PANELS = 4
MOST_ROWS = 12


# --- patterns and verbalizers ----------------------------------------------------------------------------------------


def _single(study: Study) -> list[Run]:
    """The runs with one pattern and one verbalizer that read them."""
    return [run for run in study.runs if run.has_prompt]


def spread_section(study: Study) -> Section | None:
    """A strip plot and heat maps over patterns × verbalizers."""
    runs = _single(study)
    keys = [key for key in PVP if len(levels(runs, key)) > 1]
    if not keys:
        return None
    setting_keys = [key for key in study.keys if key not in PVP]
    settings = [group for group in grouped(runs, setting_keys).values() if any(len(levels(group, k)) > 1 for k in keys)]
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
        points = [(row_of[run], number, run.score) for number, group in enumerate(settings) for run in group]
        rows = [study.label(group[0].values, keys) for group in pvps]
        caption = "Each dot is a run, each tick the mean of its row."
        return plots.strip("spread", caption, rows, points, names, study.score_title)
    most = sorted(settings, key=lambda group: -len(group))[:30]
    kept = [(group, name) for group, name in zip(settings, names, strict=True) if group in most]
    points = [
        (number, 0, float(np.mean([run.score for run in own])))
        for number, (group, _) in enumerate(kept)
        for own in grouped(group, keys).values()
    ]
    what = " × ".join(keys)
    caption = f"Each dot is one {what}, the mean over its seeds; each tick the mean of its row."
    if len(kept) < len(settings):
        caption += f" The {len(kept)} settings with the most runs, of {len(settings)}."
    return plots.strip("spread", caption, [name for _, name in kept], points, [what], study.score_title)


def _heat_maps(
    study: Study, settings: Sequence[Sequence[Run]], setting_keys: Sequence[str]
) -> tuple[list[Picture], int]:
    """A map for each setting in which both vary, of those with the most runs; and how many there would be."""
    both = [group for group in settings if all(len(levels(group, key)) > 1 for key in PVP)]
    most = sorted(both, key=lambda group: -len(group))[:MOST_PANELS]
    panels = []
    for group in both:
        if group not in most:
            continue
        rows, columns = levels(group, "pattern"), levels(group, "verbalizer")
        cells = grouped(group, PVP)
        table = np.full((len(rows), len(columns)), np.nan)
        for (pattern, verbalizer), own in cells.items():
            at = [str(row) for row in rows].index(pattern), [str(column) for column in columns].index(verbalizer)
            table[at] = np.mean([run.score for run in own])
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
            f"Mean {study.score_title} over seeds.",
            study.label(group[0].values, setting_keys),
            [brief("pattern", row) for row in rows],
            [brief("verbalizer", column) for column in columns],
            table,
            (middle - half, middle + half),
        )
        for number, (group, rows, columns, table) in enumerate(panels, start=1)
    ]
    return pictures, len(both)


# --- where the spread comes from -------------------------------------------------------------------------------------


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
        own = decompose([run.score for run in group], factors)
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
            f"All of {spread} falls to the {wording.together([source.name for source in own.sources])}, but with no "
            "repetition noise is counted there too: give several seeds."
        )
    share = f"{wording.percent(most.share)} of the variance (chance alone gives it {wording.percent(most.chance)})"
    if not stands_out(own):
        return (
            f"No single source explains {spread}: the largest is the {most.name} with {share}, and "
            f"{wording.percent(own.rest)} is left to how they act together and to noise."
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


def _source_table(rows: Sequence[str], found: Sequence[Decomposition], names: Sequence[str], rest: str) -> Table:
    """Shares with what chance alone would give: a row for each source, or for each of several settings."""
    lines: list[tuple[str, ...]]
    if len(found) == 1:
        own = found[0]
        lines = [
            (source.name, str(source.levels), wording.percent(source.share), wording.percent(source.chance))
            for source in own.sources
        ]
        lines.append((rest, "", wording.percent(own.rest), wording.percent(own.rest_chance)))
        heads = ("source", "levels", "share", "by chance alone")
        return Table("", heads, tuple(lines), numeric=frozenset({1, 2, 3}))

    def cell(own: Decomposition, name: str) -> str:
        source = next((source for source in own.sources if source.name == name), None)
        return "–" if source is None else f"{wording.percent(source.share)} ({wording.percent(source.chance)})"

    lines = [
        (
            title,
            str(own.n),
            f"{100 * own.std:.1f}",
            *(cell(own, name) for name in names),
            f"{wording.percent(own.rest)} ({wording.percent(own.rest_chance)})",
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
    picture = plots.shares(
        "sources", f"The variance of {study.score_title} over runs, by what varied.", rows, parts, rest
    )
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
        blocks.append(Text(f"Not varied in these runs, so nothing is known of it: {wording.together(never)}."))
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
