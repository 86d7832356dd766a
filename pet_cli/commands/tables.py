"""Results as tables on the terminal, readable in 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pet_cli.results import summary


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
    out.print(
        f"accuracy [bold]{metrics['accuracy']:.3f}[/]   macro-F1 {metrics['macro_f1']:.3f}   "
        f"calibration error {metrics['calibration_error']:.3f}   "
        f"trained on {metrics['n_train']}, scored on {metrics['n_test']}",
        highlight=False,
    )
    table = plain_table("label", "precision", "recall", "F1", "gold", "predicted")
    for label, line in metrics["per_label"].items():
        numbers = [f"{line[name]:.3f}" for name in ("precision", "recall", "f1")]
        table.add_row(label, *numbers, str(line["n"]), str(line["predicted"]))
    out.print(table)
    _show_members(out, metrics)
    for warning in warnings:
        out.print(f"note: {warning}", highlight=False)


def _show_members(out: Console, metrics: Mapping[str, Any]) -> None:
    """An ensemble's members beside it, their mean and the best of them; for iPET each generation."""
    if "members" not in metrics:
        return
    table = plain_table("member", "accuracy", "macro-F1", "weight")
    for line in metrics["members"]:
        table.add_row(line["name"], f"{line['accuracy']:.3f}", f"{line['macro_f1']:.3f}", f"{line['weight']:.2f}")
    own = metrics["members_accuracy"]
    std = f" ± {own['std']:.3f}" if own["std"] is not None else ""
    table.add_row("mean of members", f"{own['mean']:.3f}{std}", "", "", style="bold")
    table.add_row(f"best member ({own['best']})", f"{own['best_accuracy']:.3f}", "", "")
    if "ensemble" in metrics:
        table.add_row(
            "ensemble", f"{metrics['ensemble']['accuracy']:.3f}", f"{metrics['ensemble']['macro_f1']:.3f}", ""
        )
        table.add_row("student", f"{metrics['accuracy']:.3f}", f"{metrics['macro_f1']:.3f}", "", style="bold")
    else:
        table.add_row("ensemble", f"{metrics['accuracy']:.3f}", f"{metrics['macro_f1']:.3f}", "", style="bold")
    out.print(table)
    if len(metrics.get("generations", [])) > 1:
        steps = ", ".join(f"{one['accuracy']:.3f}" for one in metrics["generations"])
        out.print(f"ensemble by generation: {steps}", highlight=False)


def show_sweep(rows: Sequence[Mapping[str, Any]], configurations: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """A sweep: a row for each configuration, the spread, failures, and where the files are."""
    out = console()
    if not rows:
        return
    keys = summary.varied(configurations, summary.setting_keys(rows)) or ["task"]
    table = plain_table(*keys, "accuracy", "macro-F1", "n")
    for line in configurations:
        cells = [str(line[key]) for key in keys]
        table.add_row(*cells, summary.mean_std(line, "accuracy"), summary.mean_std(line, "macro_f1"), str(line["n"]))
    out.print(table)
    sentence = summary.spread(configurations)
    if sentence:
        out.print(sentence, highlight=False)
    for line in rows:
        if line["status"] != "done":
            why = f": {line['error']}" if line["error"] else ""
            out.print(f"{line['status']}: {line['run']}{why}", highlight=False, style="red")
    out.print(f"{folder}/summary.md, summary.csv, runs.csv", highlight=False)
