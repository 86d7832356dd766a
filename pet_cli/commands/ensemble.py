"""`pet ensemble`: finished runs combined again, from their predictions alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pet_cli.base.files import read_jsonl, write_json, write_jsonl
from pet_cli.config import resolve
from pet_cli.ensembles.combine import COMBINATIONS, combine, confidence_weights, log_softmax
from pet_cli.errors import UserError, choices, not_allowed
from pet_cli.runs import store
from pet_cli.runs.saved import saved_config
from pet_cli.tasks.evaluation import evaluate
from pet_cli.tasks.metrics import Answers, titled

_WEIGHTS = ("uniform", "confidence")


def recombine(runs: Sequence[str], how: str, weights: str, output: str | None = None) -> int:
    """Combines runs, or the members of ensemble runs, on the test examples they share; prints the table.

    Args:
        weights: `uniform`, `confidence`, or numbers separated by commas, one for each member.
    """
    if how not in COMBINATIONS:
        raise not_allowed("--combine", how, COMBINATIONS)
    if output is not None and _is_run(Path(output)):
        raise UserError(f"--output {output}: a run lies there; give another folder.")
    members = _named([Path(run) for run in runs])
    _same(members)
    first = next(iter(members.values()))
    configs = [saved_config(Path(run)) for run in runs]  # each of them a run, before the first speaks for all
    config = configs[0]
    target = resolve.target(config)
    try:
        columns = [list(target.columns(list(row["probabilities"]))) for row in first]
        gold = [target.read(row["gold"], own) for row, own in zip(first, columns, strict=True)]
        log_probabilities = np.stack([_log_probabilities(rows, columns) for rows in members.values()])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{runs[0]}: predictions.jsonl and config.yaml there speak of different labels.") from None
    share = _weights(weights, log_probabilities)
    answer = np.exp(combine(log_probabilities, how, share))
    answer /= answer.sum(axis=1, keepdims=True)

    groups = [row.get("group") for row in first]

    def judged(probabilities: np.ndarray) -> dict[str, Any]:
        said = Answers(
            target.kind,
            gold,
            target.predicted(probabilities),
            probabilities,
            target.labels,
            groups=None if None in groups else groups,
            candidates=columns if target.kind == "choice" else (),
        )
        return evaluate(said, resolve.metrics(config))

    metrics = judged(answer)
    if output is not None:
        extra = {"combined": list(members), "combine": how, "weights": weights, "versions": store.versions()}
        write_json(Path(output) / "metrics.json", metrics | extra)
        told = store.answers(target, answer, columns)
        write_jsonl(
            Path(output) / "predictions.jsonl", [_asked(row) | own for row, own in zip(first, told, strict=True)]
        )
        store.write_combined(Path(output), runs, how, weights)
    from pet_cli.commands.tables import console, plain_table

    shown = dict(list(titled(metrics).items())[:2])
    table = plain_table("member", *shown.values())
    for name, one in zip(members, log_probabilities, strict=True):
        own = judged(np.exp(one))
        table.add_row(name, *(f"{own[metric]:.3f}" for metric in shown))
    table.add_row(f"ensemble ({how})", *(f"{metrics[metric]:.3f}" for metric in shown), style="bold")
    console().print(table)
    return 0


def _is_run(folder: Path) -> bool:
    if (folder / "state.json").exists():
        return True
    return (folder / "config.yaml").exists() and not store.combined_of(store.read_config(folder))


def _named(runs: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """The rows of every member by a name of its own: its run's folder, as it was given, tells it from its namesakes."""
    found = [(run, name, rows) for run in runs for name, rows in _members(run).items()]
    if len({run.resolve() for run in runs}) < len(runs):
        raise UserError("a run is given twice; --weights says how much each counts.")
    how_often = Counter(name for _, name, _ in found)
    members: dict[str, list[dict[str, Any]]] = {}
    for run, name, rows in found:
        alone = name == run.resolve().name and "members" not in rows[0]
        members[name if how_often[name] == 1 else str(run) if alone else f"{run}/{name}"] = rows
    return members


def _members(folder: Path) -> dict[str, list[dict[str, Any]]]:
    path = folder / "predictions.jsonl"
    if not path.is_file():
        below = sorted(str(one.parent) for one in folder.glob("*/predictions.jsonl"))
        if below:
            raise UserError(f"{folder} holds several runs; give them one by one: {choices(below, 3)}.")
        raise UserError(f"{folder} is not the folder of a finished run (no predictions.jsonl).")
    try:
        rows = read_jsonl(path)
        names = list(rows[0].get("members", {}))
        if not names:
            return {folder.resolve().name: rows}
        return {name: [{**row, "probabilities": row["members"][name]} for row in rows] for name in names}
    except (ValueError, KeyError, IndexError):
        raise UserError(f"{path} is damaged.") from None


def _same(members: dict[str, list[dict[str, Any]]]) -> None:
    first_name, first = next(iter(members.items()))
    for name, rows in members.items():
        if set(rows[0]["probabilities"]) != set(first[0]["probabilities"]):
            raise UserError(f"{name} and {first_name} have different labels.")
        if [(row["row"], row["gold"]) for row in rows] != [(row["row"], row["gold"]) for row in first]:
            raise UserError(
                f"{name} and {first_name} were scored on different test examples; give the runs the same data and "
                "data.max_test, and the same data.seed where it is capped."
            )


def _asked(row: dict[str, Any]) -> dict[str, Any]:
    """A row of predictions without what was said of it."""
    return {key: row[key] for key in ("row", "group", "gold") if key in row}


def _log_probabilities(rows: Sequence[dict[str, Any]], columns: Sequence[Sequence[str]]) -> np.ndarray:
    """A member's log-probabilities `[examples, labels]`, or `[examples, most candidates]`.

    Args:
        columns: of each example the labels, or its own candidates.
    """
    most = max(map(len, columns))
    table = np.full((len(rows), most), -np.inf)
    for line, row, own in zip(table, rows, columns, strict=True):
        line[: len(own)] = np.log(np.maximum([row["probabilities"][name] for name in own], 1e-30))
    return log_softmax(table)


def _weights(weights: str, log_probabilities: np.ndarray) -> np.ndarray | None:
    if weights == "uniform":
        return None
    if weights == "confidence":
        return confidence_weights(log_probabilities)
    try:
        numbers = np.array([float(weight) for weight in weights.split(",")])
    except ValueError:
        raise not_allowed("--weights", weights, (*_WEIGHTS, "numbers such as 1,1,2")) from None
    if len(numbers) != len(log_probabilities):
        raise UserError(f"--weights {weights}: {len(numbers)} weights for {len(log_probabilities)} members.")
    if not np.isfinite(numbers).all() or (numbers < 0).any() or not numbers.any():
        raise UserError(f"--weights {weights}: must be >= 0 and not all 0.")
    return numbers
