"""Results as tables on the terminal, readable in 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pet_cli.commands import account
from pet_cli.results import left_out, summary


def console(stderr: bool = False, width: int = 80) -> Console:
    """The terminal's console; so many columns where the output goes elsewhere.

    Nothing is read as markup, so that brackets stay: label words, templates and `pip install 'x[extra]'` have them.
    """
    plain: dict[str, Any] = {"stderr": stderr, "markup": False, "highlight": False}
    own = Console(**plain)
    return own if own.is_terminal else Console(width=width, **plain)


def plain_table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    return table


def show_run(folder: Path, config_dir: str | None = None) -> None:
    """One run, from its folder: what was done, whether it is any good, what to know before believing it, what next."""
    _show(account.lines(folder, config_dir=config_dir))


def _show(lines: Sequence[str]) -> None:
    out = console()
    for line in lines:
        out.print(line, soft_wrap=True)


def show_left_out(combinations: Sequence[left_out.LeftOut]) -> None:
    """What a sweep leaves out, on stderr: rungs and shots, and why."""
    table = Table(*left_out.COLUMNS, box=None, pad_edge=False, header_style="bold")
    for row in left_out.table(combinations):
        table.add_row(*row)
    console(stderr=True, width=100).print(table)


def show_sweep(rows: Sequence[Mapping[str, Any]], configurations: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """A sweep: a row for each configuration, the spread, failures, and where the files are."""
    out = console()
    if not rows:
        return
    keys = summary.varied(configurations, summary.setting_keys(rows)) or ["task"]
    shown = summary.shown_metrics(rows)
    table = plain_table(*keys, *shown.values(), "n")
    for line in configurations:
        cells = [summary.written(line[key]) for key in keys]
        table.add_row(*cells, *(summary.mean_std(line, metric) for metric in shown), str(line["n"]))
    out.print(table)
    sentence = summary.spread(configurations)
    if sentence:
        out.print(sentence)
    best = summary.best_run(rows, configurations)
    if best is not None and len(configurations) > 1:
        out.print("\nA run of the best configuration:")
        _show(account.lines(best, further=False))
        out.print()
    for line in rows:
        if line["status"] != "done":
            why = f": {line['error']}" if line["error"] else ""
            out.print(f"{line['status']}: {line['run']}{why}", style="red", soft_wrap=True)
    out.print(f"{folder}/summary.md, summary.csv, runs.csv")
