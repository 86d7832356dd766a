"""`pet list`: what there is to choose from, read from the config files alone."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pet_cli.config import files as conf_files
from pet_cli.config.build import build, option
from pet_cli.config.schema import PetConfig
from pet_cli.errors import UserError, not_allowed

_GROUPS = {
    "tasks": "task",
    "models": "model",
    "tunings": "tuning",
    "scorings": "scoring",
    "searches": "search",
    "ensembles": "ensemble",
    "experiments": "experiment",
    "rungs": "rung",
}


def listing(what: str, of: str | None, config_dir: str | None = None, found: str | None = None) -> int:
    """Prints one kind of thing; `of` is a task, to say all of it or its patterns, or the folder of runs.

    Args:
        found: `found=FOLDER`, whose templates and label words are listed beside the task's own.
    """
    if found is not None and (what not in ("patterns", "verbalizers") or not found.startswith("found=")):
        raise UserError(f"{found}: unexpected; pet list patterns TASK found=FOLDER is what there is.")
    if what == "tasks":
        _task(of, config_dir) if of is not None else _tasks(config_dir)
    elif what in _GROUPS:
        names = conf_files.options(_GROUPS[what], config_dir)
        width = max(map(len, names), default=0)
        for name in names:
            print(f"{name:<{width}}  {conf_files.about(_GROUPS[what], name, config_dir)}".rstrip())
    elif what in ("patterns", "verbalizers"):
        if of is None:
            raise UserError(f"pet list {what} TASK: which task? See pet list tasks.")
        folder = None if found is None else found.partition("=")[2]
        _patterns(_read(of, config_dir), None if folder is None else build({"task": of}, {"found": folder}, config_dir))
    elif what == "runs":
        _runs(Path(of or "outputs"))
    else:
        raise not_allowed("pet list", what, [*_GROUPS, "patterns", "runs"])
    return 0


def _tasks(config_dir: str | None) -> None:
    """A line for each task: what is predicted, of how many labels, in which language, and whether its data are here."""
    broken: list[str] = []
    lines = [("task", "predicts", "labels", "language", "data")]
    for name in conf_files.options("task", config_dir):
        try:
            task = _read(name, config_dir)
        except UserError as error:
            broken.append(f"{name}: {error}")
            continue
        n = len(task["labels"]) if task["target"] in ("label", "labels") and task["labels"] else ""
        lines.append((name, task["target"], str(n), task["language"], _at_hand(task)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    print("\n".join([*broken, "pet list tasks NAME says the rest of one."]))


def _read(name: str, config_dir: str | None) -> dict[str, Any]:
    """A task's settings. Raises `UserError` for a file that cannot be used, with its name."""
    try:
        return asdict(option("task", name, config_dir))
    except UserError as error:
        path = str(conf_files.find("task", name, config_dir))
        raise error if path in str(error) else UserError(f"{path}: {error}") from None


def _task(name: str, config_dir: str | None) -> None:
    """All there is to know of a task before it is run."""
    task = _read(name, config_dir)
    source = task["source"]
    facts = {
        "predicts": task["target"] + (f", {task['range'][0]:g} to {task['range'][1]:g}" if task["range"] else ""),
        "labels": ", ".join(map(str, task["labels"])) or "those of verbalizer= or data.labels=",
        "metrics": ", ".join(_listed(task["metrics"])) or "by what is predicted",
        "language": task["language"],
        "fields": ", ".join(f"{ours}: {theirs}" for ours, theirs in task["fields"].items()),
        "source": " ".join(str(part) for part in (source["hub"], source["config"]) if part) or "your own files",
        "splits": ", ".join(f"{ours}: {theirs}" for ours, theirs in source["splits"].items()),
        "data": _at_hand(task),
        "patterns": str(len(task["patterns"])) + f" (pet list patterns {name})",
    }
    print("\n".join(conf_files.comments("task", name, config_dir)))
    for key, value in facts.items():
        if value:
            print(f"{key:<10}{value}")


def _listed(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else list(names or [])


def _at_hand(task: dict[str, Any]) -> str:
    """Whether a task's data lie on this machine: in the package, in the hub's cache, or nowhere yet."""
    source = task["source"]
    if source["path"]:
        return "here, in the package"
    if not source["hub"]:
        return "your own, data.path="
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    kept = (cache / f"datasets--{source['hub'].replace('/', '--')}").is_dir()
    return "here, in the hub's cache" if kept else "on the hub"


def _patterns(task: dict[str, Any], with_found: PetConfig | None) -> None:
    found = None if with_found is None else with_found.found
    if found is not None:
        own = task["source"]["hub"] is None and task["source"]["path"] is None and not task["labels"]
        fields = found.fields if own else list(task["fields"])  # of data of one's own, data.fields names them
        found.check_task(task["name"], found.labels if not task["labels"] else task["labels"], fields)
    for letter, patterns in (("p", task.get("patterns", [])), ("f", found.templates if found else [])):
        for index, pattern in enumerate(patterns):
            print(f"{letter}{index}  {pattern}")
    for letter, verbalizers in (("v", task.get("verbalizers", [])), ("f", found.verbalizers if found else [])):
        for index, words in enumerate(verbalizers):
            shown = ", ".join(f"{label}: {_words(value)}" for label, value in words.items())
            print(f"{letter}{index}  {shown}")


def _words(value: Any) -> str:
    return str(value) if isinstance(value, str) else " / ".join(map(str, value))


def _runs(folder: Path) -> None:
    from pet_cli.results import summary

    if not folder.is_dir():
        raise UserError(f"No folder {folder}.")
    rows = summary.table(summary.run_folders(folder))
    for line in rows:
        found = f"{line['score']:.3f}" if line["score"] is not None else "–"
        print(f"{line['status']:<11} {found:>5}  {line['path']}" + (f"  {line['error']}" if line["error"] else ""))
    if not rows:
        print(f"No runs below {folder}.")
