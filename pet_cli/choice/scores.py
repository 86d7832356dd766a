"""What a run scores by each rule, beside its result: `selection.json` in its folder, and what its answers were on texts
without labels, where a rule compares them with other runs' (`selection.jsonl`).

The result's own files stay as they are, whatever rules are asked for and when.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pet_cli.base.clock import Clock
from pet_cli.base.files import read_json, write_json
from pet_cli.base.progress import Progress
from pet_cli.config.choice import RULES, selected
from pet_cli.config.schema import PetConfig
from pet_cli.errors import UserError
from pet_cli.runs import store

if TYPE_CHECKING:
    from pet_cli.methods import Method
    from pet_cli.runs.session import Session

_SCORES = "selection.json"
ANSWERS = "selection.jsonl"


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Rule -> what a run scored by it: `score`, what it went by, or `refused`, why it has none; empty where no rule
    was asked for. Raises `UserError` for a damaged file."""
    path = folder / _SCORES
    found = read_json(path) if path.is_file() else {}
    if not isinstance(found, dict) or not all(map(_is_whole, found, found.values())):
        raise UserError(f"{path} is damaged: it does not tell the scores of the rules.")
    return found


def _is_whole(rule: str, told: Any) -> bool:
    """Whether what is told of a rule has the score that it was scored by, where the rule scores runs one by one."""
    if not isinstance(told, dict):
        return False
    return (
        "by" not in told or rule not in RULES or bool(RULES[rule].among) or isinstance(told.get("score"), (int, float))
    )


def lacking(folder: Path, config: PetConfig) -> list[str]:
    """The rules that are asked for and that a finished run has no score by, with the settings that are asked for."""
    there = read(folder)
    return [name for name in selected(config) if there.get(name, {}).get("by") != _by(name, config)]


def _by(name: str, config: PetConfig) -> dict[str, Any]:
    return {key: value for key, value in asdict(config.choice).items() if key in RULES[name].keys}


def add(
    config: PetConfig, folder: Path, session: Session, progress: Progress, method: Method | None = None
) -> dict[str, str]:
    """Scores a finished run by the rules that it lacks, each written as soon as it is known.

    Args:
        method: the run's, where it has just been fitted.

    Returns:
        Rule -> why it has no score, in words.
    """
    from pet_cli.choice.candidate import Candidate  # whatever the method needs is loaded with it
    from pet_cli.methods import Context

    names = lacking(folder, config)
    found = {name: own for name, own in read(folder).items() if name not in names}
    clock, refused = Clock(), {}
    run = Candidate(config, Context(session, clock, progress, folder), method)
    for name in names:
        with clock.phase(name), progress.within(f"select {name}"):
            try:
                told = function(RULES[name].by)(run)
                told = {key: float(f"{own:.6g}") if key == "score" else own for key, own in told.items()}
            except UserError as error:
                refused[name] = str(error)
                told = {"refused": str(error)}
        by = {} if "refused" in told else {"by": _by(name, config)}  # what was refused is tried again
        found[name] = {**told, **by}
        write_json(folder / _SCORES, {name: found[name] for name in RULES if name in found})
    _note_seconds(folder, clock.seconds)
    return refused


def function(place: str) -> Callable[..., Any]:
    """What a line of `RULES` names."""
    module, _, name = place.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def _note_seconds(folder: Path, seconds: Mapping[str, float]) -> None:
    """Adds to `timing.json` what each rule took; the run's own seconds and their total stay."""
    path = folder / "timing.json"
    there = read_json(path) if path.is_file() else {}
    before = there.get("choice", {})
    store.write_timing(folder, there | {"choice": before | {name: round(own, 4) for name, own in seconds.items()}})
