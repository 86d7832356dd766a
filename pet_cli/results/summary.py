"""The runs of a sweep as tables: one row for each run, one for each configuration."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pet_cli.base.files import write_text
from pet_cli.results import left_out
from pet_cli.runs import states
from pet_cli.runs.store import read_config, read_metrics
from pet_cli.tasks.metrics import is_metric, score, title, values

SEEDS = ("seed", "data.seed", "trainer.seed")
FACTS = ("metric", "score", "calibration_error", "n_train", "n_test")
GROUPS = ("task", "rung", "method", "model", "tuning", "scoring", "ensemble")
_FIRST = ("method", "model", "tuning", "ensemble", "pattern", "verbalizer", "data.shots")


def run_folders(folder: Path) -> list[Path]:
    """The runs below a folder, itself included, in the order of their names; not the members of an ensemble's run."""
    found = []
    for place, below, files in os.walk(folder):
        if "state.json" in files:
            found.append(Path(place))
            below[:] = [name for name in below if name != "members"]
    return sorted(found)


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
    state = states.heard(states.read(folder))
    out: dict[str, Any] = {"folder": folder, "status": state["status"], "settings": {}}
    out["error"] = state.get("error") or states.elsewhere(state)
    out["overrides"] = dict(_key_value(override) for override in state.get("overrides", []))
    if (folder / "config.yaml").is_file():
        out["config"] = read_config(folder)
    if state["status"] == "done":
        out["metrics"] = read_metrics(folder)
    return out


def _key_value(override: str) -> tuple[str, str]:
    key, _, value = override.lstrip("+~").partition("=")
    return key, value


def table(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """One flat row for each run: what was set on the command line, the seeds, metrics, status.

    A setting that only some runs name on their command line is filled in from the others' configurations. One that no
    command line names is there where runs would else be taken for one configuration under several seeds.
    """
    rows = [row(folder) for folder in folders]
    skip = ("experiment", "baseline", "choice", "resume", "select")
    keys = list(dict.fromkeys(key for r in rows for key in r["overrides"] if key.partition(".")[0] not in skip))
    names = list(dict.fromkeys(name for r in rows for name in values(r.get("metrics", {}))))
    flat = []
    for r in rows:
        config = r.get("config", {})
        line: dict[str, Any] = {"run": r["folder"].name, "path": str(r["folder"])}
        first = ["rung"] if "rung" in keys else []
        for key in dict.fromkeys(["task", *first, *_FIRST, *keys]):
            # A group is known by the file that was chosen, else by the name it gives itself; a search by its folder.
            chosen = r["overrides"].get(key) if key in (*GROUPS, "found") or not config else None
            value = select(config, key)
            if chosen is not None and value != "none":  # where a method has no such thing, whatever was chosen
                value = chosen
            line[key] = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
        for key in SEEDS:
            line[key] = select(config, key) if config else r["overrides"].get(key)
        metrics = r.get("metrics", {})
        name, value = score(metrics) if metrics else (None, None)
        line |= {"metric": name, "score": value, **{own: metrics.get(own) for own in names}}
        line |= {own: metrics.get(own) for own in FACTS[2:]} | {"status": r["status"], "error": r["error"]}
        flat.append(line)
    for key in setting_keys(flat):
        known = {str(line[key]): line[key] for line, r in zip(flat, rows, strict=True) if "config" in r}
        for line, r in zip(flat, rows, strict=True):
            if "config" not in r and line[key] is None and len(known) == 1:
                line[key] = next(iter(known.values()))  # a run cut short says only what its command line says
    while (key := _untold(rows, flat)) is not None:
        for line, r in zip(flat, rows, strict=True):
            value = _leaves(r.get("config", {})).get(key)
            line[key] = json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
    return flat


def _untold(rows: Sequence[Mapping[str, Any]], flat: Sequence[Mapping[str, Any]]) -> str | None:
    """The first setting by which runs differ that are alike in all that the table says of them; None where none is.

    It may come from an experiment, or from a file that was changed between two runs.
    """
    keys = setting_keys(flat)
    seen: dict[tuple[str, ...], dict[str, Any]] = {}
    for line, r in zip(flat, rows, strict=True):
        if "config" not in r:
            continue
        own = _leaves(r["config"])
        first = seen.setdefault(tuple(str(line[key]) for key in keys), own)
        for key, value in own.items():
            # What one of two does not name may be a key that came with another version.
            if key in first and first[key] != value and str(first[key]) != str(value):
                return key
    return None


def _leaves(config: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """A configuration's settings by their dotted keys, without seeds, the task, and what decides nothing."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        key = f"{above}{name}"
        if key in SEEDS or key in states.LEFT_OUT or key == "task":
            continue
        if isinstance(value, Mapping):
            found |= _leaves(value, f"{key}.")
        else:
            found[key] = None if value == [] else value  # two versions may write nothing in two ways
    return found


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each configuration, all seeds together: mean, std (n - 1), n of each metric, and failures."""
    import pandas as pd

    keys, metrics = setting_keys(rows), ["score", *metric_names(rows), "calibration_error"]
    frame = pd.DataFrame(list(rows), dtype=object)
    for metric in metrics:
        frame[metric] = pd.to_numeric(frame[metric])
    # As text: a run cut short knows its settings as they were written.
    groups = frame.groupby([frame[key].map(str).rename(key) for key in keys], sort=False)
    summary = []
    for texts in sorted(groups.groups, key=lambda texts: [_order(text) for text in _tuple(texts)]):
        members = frame.loc[groups.groups[texts]]
        done = members[members["status"] == "done"]
        out: dict[str, Any] = {key: members[key].iloc[0] for key in keys}
        out["metric"] = next(iter(done["metric"]), None)
        for metric in metrics:
            mean, std = done[metric].mean(), done[metric].std()
            out[f"{metric}_mean"] = None if pd.isna(mean) else float(mean)
            out[f"{metric}_std"] = None if pd.isna(std) else float(std)
        out |= {"n": len(done), "failed": len(members) - len(done)}
        summary.append(out)
    return summary


def _tuple(texts: Any) -> tuple[str, ...]:
    return texts if isinstance(texts, tuple) else (texts,)


def _order(value: Any) -> tuple[int, float, str]:
    """Sorts numbers by value before text, also where they are written as text."""
    try:
        return (0, float(value), "")
    except (TypeError, ValueError):
        return (1, 0.0, str(value))


def metric_names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns of a table that are metrics, by their own names."""
    return [key for key in rows[0] if is_metric(key)] if rows else []


def shown_metrics(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What a table has room for, with its titles: the score, and a second metric that all runs have."""
    done = [row for row in rows if row["status"] == "done"]
    scores = {row["metric"] for row in done}
    second = [name for name in metric_names(rows) if name not in scores and all(row[name] is not None for row in done)]
    first = title(scores.pop()) if len(scores) == 1 else "score"
    return {"score": first, **{name: title(name) for name in second[:1]}}


def setting_keys(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns of a table that are settings other than seeds."""
    skip = {"run", "path", "status", "error", *SEEDS, *FACTS}
    return [key for key in rows[0] if key not in skip and not is_metric(key)] if rows else []


def varied(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[str]:
    """The settings that differ between rows; where rungs do, without those that each rung settles."""
    own = [key for key in keys if len({str(line.get(key)) for line in rows}) > 1]
    return own if "rung" not in own else [key for key in own if key == "rung" or not settled(rows, key)]


def settled(rows: Sequence[Mapping[str, Any]], key: str) -> bool:
    """Whether rows on the same rung of a ladder have the same value of a setting."""
    seen: dict[str, str] = {}
    return all(seen.setdefault(str(line["rung"]), str(line.get(key))) == str(line.get(key)) for line in rows)


def written(value: Any) -> str:
    """A setting's value as the command line takes it."""
    return "null" if value is None else str(value)


def spread(summary: Sequence[Mapping[str, Any]]) -> str | None:
    """Best and worst configuration by mean score and their distance, in a sentence; None for several metrics."""
    scored = [line for line in summary if line["score_mean"] is not None]
    keys = varied(summary, [key for key in summary[0] if "_mean" not in key and "_std" not in key])
    keys = [key for key in keys if key not in ("n", "failed", "metric")]
    if len(scored) < 2 or not keys or len({line["metric"] for line in scored}) > 1:
        return None

    def name(line: Mapping[str, Any]) -> str:
        return " ".join(f"{key}={written(line[key])}" for key in keys)

    best = max(scored, key=lambda line: line["score_mean"])
    worst = min(scored, key=lambda line: line["score_mean"])
    gap = 100 * (best["score_mean"] - worst["score_mean"])
    if best["score_mean"] == worst["score_mean"]:
        return f"All {len(scored)} configurations come to the same, {best['score_mean']:.3f}."
    return (
        f"Best {name(best)} ({best['score_mean']:.3f}), worst {name(worst)} ({worst['score_mean']:.3f}): "
        f"a spread of {gap:.1f} points."
    )


def best_run(rows: Sequence[Mapping[str, Any]], summary: Sequence[Mapping[str, Any]]) -> Path | None:
    """The first finished run of the configuration with the highest mean score; None for several metrics, or none."""
    scored = [line for line in summary if line["score_mean"] is not None]
    if not scored or len({line["metric"] for line in scored}) > 1:
        return None
    best, keys = max(scored, key=lambda line: line["score_mean"]), setting_keys(rows)
    own = (line for line in rows if line["status"] == "done" and all(line[key] == best[key] for key in keys))
    return next((Path(line["path"]) for line in own), None)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    import pandas as pd

    text: str = pd.DataFrame(list(rows), dtype=object).to_csv(index=False, lineterminator="\n")
    return text


def write_sweep(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Writes runs.csv, summary.csv and summary.md of the runs below a folder; returns both tables."""
    rows = table(run_folders(folder))
    if not rows:
        return [], []
    summary = summarise(rows)
    write_text(folder / "runs.csv", _csv(rows))
    write_text(folder / "summary.csv", _csv(summary))
    left = left_out.read(folder)
    write_text(folder / "summary.md", markdown(summary, rows) + (left_out.markdown(left) if left else ""))
    return rows, summary


def mean_std(line: Mapping[str, Any], metric: str) -> str:
    mean, std = line[f"{metric}_mean"], line[f"{metric}_std"]
    if mean is None:
        return "–"
    return f"{mean:.3f}" + (f" ± {std:.3f}" if std is not None else "")


def markdown(summary: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> str:
    """The summary as a Markdown table, what all configurations share above it, failures below."""
    keys = varied(summary, setting_keys(rows))
    alike = [key for key in setting_keys(rows) if len({str(line.get(key)) for line in summary}) == 1]
    shared = [key for key in alike if summary[0].get(key) is not None]
    lines = ["# Sweep", "", " · ".join(f"{key}={summary[0][key]}" for key in shared), ""]
    shown = shown_metrics(rows)
    lines.append("| " + " | ".join([*keys, *shown.values(), "n"]) + " |")
    lines.append("|" + "---|" * (len(keys) + len(shown) + 1))
    for line in summary:
        cells = [*(left_out.cell(written(line[key])) for key in keys), *(mean_std(line, metric) for metric in shown)]
        lines.append("| " + " | ".join([*cells, str(line["n"])]) + " |")
    sentence = spread(summary)
    lines += ["", sentence] if sentence else []
    failed = [line for line in rows if line["status"] != "done"]
    if failed:
        lines += ["", "Not finished:", ""]
        lines += [f"- {line['run']}: {line['status']}. {line['error'] or ''}".rstrip() for line in failed]
    return "\n".join(lines) + "\n"
