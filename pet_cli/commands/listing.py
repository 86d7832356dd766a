"""`pet list`: what there is to choose from, read from the config files alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pet_cli.config import files as conf_files
from pet_cli.errors import UserError, not_allowed

_GROUPS = {
    "tasks": "task",
    "models": "model",
    "tunings": "tuning",
    "scorings": "scoring",
    "ensembles": "ensemble",
    "experiments": "experiment",
}


def listing(what: str, of: str | None, config_dir: str | None = None) -> int:
    """Prints one kind of thing; `of` is the task of patterns or the folder of runs."""
    if what in _GROUPS:
        names = conf_files.options(_GROUPS[what], config_dir)
        width = max(map(len, names), default=0)
        for name in names:
            print(f"{name:<{width}}  {conf_files.about(_GROUPS[what], name, config_dir)}".rstrip())
    elif what in ("patterns", "verbalizers"):
        if of is None:
            raise UserError(f"pet list {what} TASK: which task? See pet list tasks.")
        _patterns(conf_files.read("task", of, config_dir))
    elif what == "runs":
        _runs(Path(of or "outputs"))
    else:
        raise not_allowed("pet list", what, [*_GROUPS, "patterns", "runs"])
    return 0


def _patterns(task: dict[str, Any]) -> None:
    for index, pattern in enumerate(task.get("patterns", [])):
        print(f"p{index}  {pattern}")
    for index, words in enumerate(task.get("verbalizers", [])):
        shown = ", ".join(f"{label}: {_words(value)}" for label, value in words.items())
        print(f"v{index}  {shown}")


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
