"""The combinations of a sweep that were no runs of it: pairs without meaning, or more than it has time for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pet_cli.base.files import read_json

PLAN = "sweep.json"
"""The file of a sweep's folder that says what it was to do."""


@dataclass(frozen=True)
class LeftOut:
    """One combination that was left out.

    Attributes:
        run: the combination, by the keys that differ between a sweep's runs.
        number: its place among all combinations, from 0.
        shots: training examples of each label; None is all of them.
    """

    run: str
    number: int
    rung: str
    shots: int | None
    why: str


def read(folder: Path) -> list[LeftOut]:
    """What the sweep of a folder left out; nothing where it is the folder of no sweep."""
    path = folder / PLAN
    return [LeftOut(**one) for one in read_json(path).get("left_out", [])] if path.is_file() else []


def table(left_out: Sequence[LeftOut]) -> list[tuple[str, str, str]]:
    """Rungs, shots and the reason, a row for all that have shots and reason in common."""
    by_rung: dict[tuple[str, str], dict[str, None]] = {}
    for one in left_out:
        shots = "all" if one.shots is None else str(one.shots)
        by_rung.setdefault((one.rung, one.why), {})[shots] = None
    by_shots: dict[tuple[str, str], list[str]] = {}
    for (rung, why), own in by_rung.items():
        by_shots.setdefault((", ".join(own), why), []).append(rung)
    return [(", ".join(rungs), shots, why) for (shots, why), rungs in by_shots.items()]


COLUMNS = ("left out", "shots", "why")


def markdown(left_out: Sequence[LeftOut]) -> str:
    """The same as a Markdown table."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *table(left_out)]
    return "\n" + "".join("| " + " | ".join(map(cell, row)) + " |\n" for row in rows)


def cell(text: str) -> str:
    """Text for a cell of a Markdown table, which a bar would end."""
    return " ".join(text.split()).replace("|", r"\|")
