"""Time, memory and trained parameters beside the score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pet_cli.report import plots, wording
from pet_cli.report.document import Block, Figures, Picture, Section, Table, Text
from pet_cli.report.runs import Run, Study, grouped
from pet_cli.report.statistics import estimate
from pet_cli.report.values import PVP, shown


def cost_section(study: Study) -> Section | None:
    """Time, memory and trained parameters beside the score."""
    runs = [run for run in study.runs if isinstance(_seconds(run), float)]
    if not runs:
        return None
    keys = [key for key in study.keys if key not in PVP]
    groups = list(grouped(runs, keys).values())
    cells = []
    for group in groups:
        own = estimate([run.score for run in group])
        seconds = [value for run in group if (value := _seconds(run)) is not None]
        speed = _numbers(group, "test_examples_per_second")
        memory, device = _numbers(group, "peak_memory_bytes"), _numbers(group, "peak_device_memory_bytes")
        trained = max((_trained(run) for run in group), key=lambda one: -1 if one is None else one)
        cells.append(
            (
                *(shown(key, group[0].values.get(key)) for key in keys),
                wording.mean_std(own),
                f"{np.median(seconds):.2f}",
                f"{np.median(speed):,.0f}" if speed else "–",
                f"{min(memory) / 2**20:,.0f}" if memory else "–",
                f"{min(device) / 2**20:,.0f}" if device else "–",
                "–" if trained is None else f"{trained:,}",
            )
        )
    columns = (
        *keys, study.score_title, "seconds", "examples/s", "memory, MiB", "GPU memory, MiB", "trained parameters"
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
            own = estimate([run.score for run in group])
            seconds = float(np.median([_seconds(run) or 0.0 for run in group]))
            points.append((number, max(seconds, 1e-3), own.mean, own.std or 0.0))
    caption = f"Mean {study.score_title} over median time; the bar is one standard deviation over the runs."
    if len(names) < len(by_series):
        caption += f" The {len(names)} settings with the most runs, of {len(by_series)}."
    return plots.beside("cost", caption, points, names, "seconds of a run", study.score_title)


def _seconds(run: Run) -> float | None:
    own = run.timing.get("seconds", {}).get("total")
    return float(own) if isinstance(own, (int, float)) else None


def _numbers(runs: Sequence[Run], name: str) -> list[float]:
    return [float(run.timing[name]) for run in runs if isinstance(run.timing.get(name), (int, float))]


def _trained(run: Run) -> int | None:
    own = run.metrics.get("trained_parameters")
    if isinstance(own, int):
        return own
    return 0 if run.has_prompt and not run.kind_of("tuning").trains else None
