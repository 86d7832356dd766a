"""Results as tables on the terminal, readable in 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pet_cli.results import summary
from pet_cli.tasks.metrics import titled


def console() -> Console:
    """The terminal's console; 80 columns where the output goes elsewhere."""
    own = Console()
    return own if own.is_terminal else Console(width=80)


def plain_table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    return table


def show_run(metrics: Mapping[str, Any], warnings: Sequence[str]) -> None:
    """One run: the headline, each label, and what to know before believing it."""
    out = console()
    numbers = [f"{title} {metrics[name]:.3f}" for name, title in titled(metrics).items()]
    first, _, value = numbers[0].rpartition(" ")
    numbers[0] = f"{first} [bold]{value}[/]"
    if "calibration_error" in metrics:
        numbers.append(f"calibration error {metrics['calibration_error']:.3f}")
    numbers.append(f"trained on {metrics['n_train']}, scored on {metrics['n_test']}")
    out.print("   ".join(numbers), highlight=False)
    if "per_label" in metrics:
        table = plain_table("label", "precision", "recall", "F1", "gold", "predicted")
        for label, line in metrics["per_label"].items():
            shares = [f"{line[name]:.3f}" for name in ("precision", "recall", "f1")]
            table.add_row(label, *shares, str(line["n"]), str(line["predicted"]))
        out.print(table)
    _show_members(out, metrics)
    for warning in warnings:
        out.print(f"note: {warning}", highlight=False)


def _show_members(out: Console, metrics: Mapping[str, Any]) -> None:
    """An ensemble's members beside it, their mean and the best of them; for iPET each generation."""
    if "members" not in metrics:
        return
    shown = dict(list(titled(metrics).items())[:2])

    def row(name: str, numbers: Mapping[str, Any], weight: str = "", style: str | None = None) -> None:
        table.add_row(name, *(f"{numbers[metric]:.3f}" for metric in shown), weight, style=style)

    table = plain_table("member", *shown.values(), "weight")
    for line in metrics["members"]:
        row(line["name"], line, f"{line['weight']:.2f}")
    own = metrics["members_score"]
    std = f" ± {own['std']:.3f}" if own["std"] is not None else ""
    empty = [""] * len(shown)
    table.add_row("mean of members", f"{own['mean']:.3f}{std}", *empty, style="bold")
    table.add_row(f"best member ({own['best']})", f"{own['best_score']:.3f}", *empty)
    if "ensemble" in metrics:
        row("ensemble", metrics["ensemble"])
    row("student" if "ensemble" in metrics else "ensemble", metrics, style="bold")
    out.print(table)
    if len(metrics.get("generations", [])) > 1:
        steps = ", ".join(f"{one['score']:.3f}" for one in metrics["generations"])
        out.print(f"ensemble by generation: {steps}", highlight=False)


def show_sweep(rows: Sequence[Mapping[str, Any]], configurations: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """A sweep: a row for each configuration, the spread, failures, and where the files are."""
    out = console()
    if not rows:
        return
    keys = summary.varied(configurations, summary.setting_keys(rows)) or ["task"]
    shown = summary.shown_metrics(rows)
    table = plain_table(*keys, *shown.values(), "n")
    for line in configurations:
        cells = [str(line[key]) for key in keys]
        table.add_row(*cells, *(summary.mean_std(line, metric) for metric in shown), str(line["n"]))
    out.print(table)
    sentence = summary.spread(configurations)
    if sentence:
        out.print(sentence, highlight=False)
    for line in rows:
        if line["status"] != "done":
            why = f": {line['error']}" if line["error"] else ""
            out.print(f"{line['status']}: {line['run']}{why}", highlight=False, style="red")
    out.print(f"{folder}/summary.md, summary.csv, runs.csv", highlight=False)
