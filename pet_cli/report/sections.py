"""From runs to a document: one function for each section; a section without data is None and left out."""

from __future__ import annotations

from collections.abc import Sequence

from pet_cli.report import (
    answers,
    chosen,
    commands,
    compare,
    cost,
    curves,
    ensembles,
    examples,
    ladder,
    spread,
    wording,
)
from pet_cli.report.document import Block, Bullets, Code, Document, Section, Table, Text
from pet_cli.report.runs import Study
from pet_cli.report.statistics import Decomposition
from pet_cli.report.values import short, shown
from pet_cli.results import left_out, summary

MOST_ROWS = 12
MOST_COMMANDS = 20


def document(study: Study) -> Document:
    """The whole report."""
    sources = spread.decompositions(study)
    by_setting, by_configuration = compare.by_setting(study), compare.by_configuration(study)
    rungs = ladder.ladder_section(study)
    found = [
        result_section(study),
        rungs,
        spread.spread_section(study),
        spread.source_section(study, sources),
        chosen.choice_section(study),
        curves.curve_section(study) if rungs is None else None,
        curves.comparison_section(by_setting, by_configuration),
        ensembles.member_section(study),
        examples.confusion_section(study),
        examples.mistake_section(study),
        examples.probability_section(study),
        cost.cost_section(study),
        command_section(study),
    ]
    tasks = ", ".join(study.datasets.values())
    n, m = len(study.runs), len(study.configurations)
    lead = (
        f"{wording.count(n, 'run')} of {wording.count(m, 'configuration')}" if m > 1 else f"{wording.count(n, 'run')}"
    )
    shared = " ".join(
        f"{key}={short(shown(key, value), 60)}" for key, value in study.shared.items() if (key, value) not in _UNSAID
    )
    return Document(
        title=f"{tasks}: {wording.count(n, 'run')}",
        lead=f"{lead} from {', '.join(str(folder) for folder in study.folders)}"
        + (f". All: {shared}" if shared else ""),
        short=(*ladder.leads(study), *in_short(study, sources, by_setting)),
        sections=tuple(section for section in found if section is not None),
    )


_UNSAID = (("ensemble", "none"),)


# --- what to know first ----------------------------------------------------------------------------------------------


def in_short(
    study: Study, sources: Sequence[tuple[str, Decomposition]], verdicts: Sequence[compare.Verdict]
) -> list[str]:
    """The few sentences that most readers need."""
    items = []
    rows_of = {str(run.folder): run.dataset for run in study.runs}
    for dataset, title in study.datasets.items():
        prefix = f"{title}: " if len(study.datasets) > 1 else ""
        rows = [row for row in study.rows if rows_of.get(str(row["path"])) == dataset]
        sentence = summary.spread(summary.summarise(rows))
        own = [one for one in study.configurations if one.runs[0].dataset == dataset]
        if sentence is None:
            best = max(own, key=lambda one: one.score.mean)
            numbers = [f"{name} {wording.mean_std(best.metric(own))}" for own, name in study.metrics.items()]
            seeds = f" ({wording.count(best.score.n, 'seed')})" if best.score.n > 1 else ""
            sentence = wording.sentence(", ".join(numbers)) + f"{seeds}."
        items.append(prefix + sentence)
    if sources:
        title, own_sources = spread.pooled(sources)
        prefix = f"{title}: " if title else ""
        items.append(f"{prefix}{spread.finding(own_sources)} {spread.advice(own_sources)}".strip())
    clear = [verdict.sentence() for verdict in verdicts if verdict.clear]
    items += clear[:2]
    if verdicts and not clear:
        items.append("None of the settings compared is clearly better than another: see the comparisons.")
    return items + notes(study)


def notes(study: Study) -> list[str]:
    """What a reader should know before believing the numbers."""
    items = []
    if study.unfinished:
        items.append(f"{wording.count(len(study.unfinished), 'run')} did not finish; see the end of the results.")
    if study.repeats:
        items.append(f"{wording.count(study.repeats, 'run')} with the settings and seeds of another counted once.")
    constant = sum(run.metrics.get("one_label") is not None for run in study.runs)
    if constant:
        items.append(f"In {constant} of {wording.count(len(study.runs), 'run')} every prediction is the same label.")
    capped = {int(run.metrics.get("n_test") or 0) for run in study.runs if run.metrics.get("max_test") is not None}
    if capped:
        sizes = "–".join(str(size) for size in sorted({min(capped), max(capped)}))
        items.append(f"Scored on {sizes} test examples only (data.max_test), which the sample's seed draws.")
    shortened = max((int(run.metrics.get("shortened") or 0) for run in study.runs), default=0)
    if shortened:
        items.append(f"In some runs, up to {wording.count(shortened, 'test example')} had to be shortened.")
    if len({str(run.metrics.get("versions")) for run in study.runs}) > 1:
        items.append("The runs were made with different versions; see the end.")
    return items


# --- results ---------------------------------------------------------------------------------------------------------


def result_table(study: Study) -> Table:
    """One row for each configuration; the best of each data set stands out."""
    best = answers.best_of_each_dataset(study) if len(study.configurations) > 1 else []
    keys = study.keys or ("tuning",)
    rows = []
    for one in study.configurations:
        settings = [shown(key, one.values.get(key)) for key in keys]
        numbers = [wording.mean_std(one.metric(name)) for name in study.metrics]
        rows.append((*settings, numbers[0], wording.interval(one.score, *study.range), *numbers[1:]))
    n, titles = len(keys), list(study.metrics.values())
    return Table(
        title="",
        columns=(*keys, titles[0], "95 % interval", *titles[1:], "runs"),
        rows=tuple((*row, str(one.score.n)) for row, one in zip(rows, study.configurations, strict=True)),
        numeric=frozenset(range(n, n + len(titles) + 2)),
        strong=frozenset(i for i, one in enumerate(study.configurations) if one in best),
    )


def result_section(study: Study) -> Section:
    several = any(one.score.n > 1 for one in study.configurations)
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
        note += f" Not shown, since the columns settle it: {wording.together(also)}."
    blocks: list[Block] = [result_table(study), Text(note, note=True)]
    if study.unfinished:
        items = tuple(f"{name}: {what}" for name, what in study.unfinished.items())
        blocks += [Text("Not finished:"), Bullets(items[:MOST_ROWS])]
        if len(items) > MOST_ROWS:
            blocks.append(Text(f"… and {len(items) - MOST_ROWS} more."))
    left = [one for folder in study.folders for one in left_out.read(folder)]
    if left:
        rows = tuple(left_out.table(left))
        blocks.append(Table("Combinations that were no runs", left_out.COLUMNS, rows, wide=frozenset({2})))
    return Section("results", "Results", blocks)


# --- commands --------------------------------------------------------------------------------------------------------


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
        blocks.append(Text(f"{wording.together(own)} came from a folder of your own configs: add --config-dir DIR."))
    versions: dict[str, list[str]] = {}
    for run in study.runs:
        for name, version in dict(run.metrics.get("versions") or {}).items():
            if str(version) not in versions.setdefault(str(name), []):
                versions[str(name)].append(str(version))
    if versions:
        rows = tuple((name, ", ".join(found)) for name, found in versions.items())
        blocks.append(Table("Versions", ("package", "version"), rows))
    return Section("commands", "Commands and versions", blocks)
