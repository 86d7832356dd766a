"""The runs of a sweep as tables: one row for each run, one for each configuration."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pet_cli.base.files import read_json, write_text
from pet_cli.runs import states
from pet_cli.runs.store import read_config

SEEDS = ("seed", "data.seed", "trainer.seed")
METRICS = ("accuracy", "macro_f1", "calibration_error", "n_train", "n_test")
GROUPS = ("task", "method", "model", "tuning", "scoring", "ensemble")


def run_folders(folder: Path) -> list[Path]:
    """The runs below a folder, itself included, in the order of their names."""
    found = sorted(
        path.parent for path in folder.rglob("state.json") if "members" not in path.relative_to(folder).parts
    )
    return found


def select(values: Mapping[str, Any], key: str) -> Any:
    """A dotted key of a configuration; a group is known by its name."""
    node: Any = values
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    if key in GROUPS and isinstance(node, Mapping):
        return node.get("name")
    return node


def row(folder: Path) -> dict[str, Any]:
    """What one run contributes to a table: folder, status, settings by key, metrics, error."""
    state = states.read(folder)
    out: dict[str, Any] = {"folder": folder, "status": state["status"], "settings": {}}
    out["error"] = state.get("error") or states.elsewhere(state)
    out["overrides"] = dict(_key_value(override) for override in state.get("overrides", []))
    if (folder / "config.yaml").is_file():
        out["config"] = read_config(folder)
    if state["status"] == "done":
        out["metrics"] = read_json(folder / "metrics.json")
    return out


def _key_value(override: str) -> tuple[str, str]:
    key, _, value = override.lstrip("+~").partition("=")
    return key, value


def table(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """One flat row for each run: what was set on the command line, the seeds, metrics, status.

    A setting that only some runs name on their command line is filled in from the others' configurations.
    """
    rows = [row(folder) for folder in folders]
    keys = list(dict.fromkeys(key for r in rows for key in r["overrides"] if key not in ("experiment", "resume")))
    flat = []
    for r in rows:
        config = r.get("config", {})
        line: dict[str, Any] = {"run": r["folder"].name, "path": str(r["folder"])}
        for key in dict.fromkeys(
            ["task", "method", "model", "tuning", "ensemble", "pattern", "verbalizer", "data.shots", *keys]
        ):
            # A group is known by the file that was chosen, else by the name it gives itself.
            chosen = r["overrides"].get(key) if key in GROUPS or not config else None
            value = select(config, key)
            if chosen is not None and value != "none":  # where a method has no such thing, whatever was chosen
                value = chosen
            line[key] = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
        for key in SEEDS:
            line[key] = select(config, key) if config else r["overrides"].get(key)
        metrics = r.get("metrics", {})
        line |= {name: metrics.get(name) for name in METRICS}
        line |= {"status": r["status"], "error": r["error"]}
        flat.append(line)
    for key in setting_keys(flat):
        known = {str(line[key]): line[key] for line, r in zip(flat, rows, strict=True) if "config" in r}
        for line, r in zip(flat, rows, strict=True):
            if "config" not in r and line[key] is None and len(known) == 1:
                line[key] = next(iter(known.values()))  # a run cut short says only what its command line says
    return flat


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each configuration, all seeds together: mean, std (n - 1), n of each metric, and failures."""
    keys = setting_keys(rows)
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for line in rows:  # as text: a run cut short knows its settings as they were written
        groups.setdefault(tuple(str(line.get(key)) for key in keys), []).append(line)
    summary = []
    for texts in sorted(groups, key=lambda texts: [_order(text) for text in texts]):
        members = groups[texts]
        values = [members[0].get(key) for key in keys]
        done = [member for member in members if member["status"] == "done"]
        out: dict[str, Any] = dict(zip(keys, values, strict=True))
        for metric in ("accuracy", "macro_f1", "calibration_error"):
            numbers = [member[metric] for member in done]
            out[f"{metric}_mean"] = statistics.fmean(numbers) if numbers else None
            out[f"{metric}_std"] = statistics.stdev(numbers) if len(numbers) > 1 else None
        out |= {"n": len(done), "failed": len(members) - len(done)}
        summary.append(out)
    return summary


def _order(value: Any) -> tuple[int, float, str]:
    """Sorts numbers by value before text, also where they are written as text."""
    try:
        return (0, float(value), "")
    except (TypeError, ValueError):
        return (1, 0.0, str(value))


def setting_keys(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns of a table that are settings other than seeds."""
    skip = {"run", "path", "status", "error", *SEEDS, *METRICS}
    return [key for key in rows[0] if key not in skip] if rows else []


def varied(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[str]:
    """The settings that differ between rows."""
    return [key for key in keys if len({str(line.get(key)) for line in rows}) > 1]


def spread(summary: Sequence[Mapping[str, Any]]) -> str | None:
    """Best and worst configuration by mean accuracy and their distance, in a sentence."""
    scored = [line for line in summary if line["accuracy_mean"] is not None]
    keys = varied(summary, [key for key in summary[0] if "_mean" not in key and "_std" not in key and key != "n"])
    keys = [key for key in keys if key != "failed"]
    if len(scored) < 2 or not keys:
        return None

    def name(line: Mapping[str, Any]) -> str:
        return " ".join(f"{key}={line[key]}" for key in keys)

    best = max(scored, key=lambda line: line["accuracy_mean"])
    worst = min(scored, key=lambda line: line["accuracy_mean"])
    gap = 100 * (best["accuracy_mean"] - worst["accuracy_mean"])
    return (
        f"Best {name(best)} ({best['accuracy_mean']:.3f}), worst {name(worst)} ({worst['accuracy_mean']:.3f}): "
        f"a spread of {gap:.1f} points."
    )


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_sweep(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Writes runs.csv, summary.csv and summary.md of the runs below a folder; returns both tables."""
    rows = table(run_folders(folder))
    if not rows:
        return [], []
    summary = summarise(rows)
    write_text(folder / "runs.csv", _csv(rows))
    write_text(folder / "summary.csv", _csv(summary))
    write_text(folder / "summary.md", markdown(summary, rows))
    return rows, summary


def mean_std(line: Mapping[str, Any], metric: str) -> str:
    mean, std = line[f"{metric}_mean"], line[f"{metric}_std"]
    if mean is None:
        return "–"
    return f"{mean:.3f}" + (f" ± {std:.3f}" if std is not None else "")


def markdown(summary: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> str:
    """The summary as a Markdown table, what all configurations share above it, failures below."""
    keys = varied(summary, setting_keys(rows))
    shared = [key for key in setting_keys(rows) if key not in keys and summary[0].get(key) is not None]
    lines = ["# Sweep", "", " · ".join(f"{key}={summary[0][key]}" for key in shared), ""]
    lines.append("| " + " | ".join([*keys, "accuracy", "macro-F1", "n"]) + " |")
    lines.append("|" + "---|" * (len(keys) + 3))
    for line in summary:
        cells = [*(str(line[key]) for key in keys), mean_std(line, "accuracy"), mean_std(line, "macro_f1")]
        lines.append("| " + " | ".join([*cells, str(line["n"])]) + " |")
    sentence = spread(summary)
    lines += ["", sentence] if sentence else []
    failed = [line for line in rows if line["status"] != "done"]
    if failed:
        lines += ["", "Not finished:", ""]
        lines += [f"- {line['run']}: {line['status']}. {line['error'] or ''}".rstrip() for line in failed]
    return "\n".join(lines) + "\n"
