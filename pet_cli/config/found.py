"""What a search for prompts found, as the `found.yaml` of its folder tells a run (`found=FOLDER`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pet_cli.base.values import spelled
from pet_cli.config import files
from pet_cli.config.bounds import Settings
from pet_cli.errors import UserError, choices

FILE = "found.yaml"


@dataclass(kw_only=True)
class Found(Settings):
    """Templates and label words, the best first: f0, f1, … beside a task's own p0, p1, … and v0, v1, ….

    Attributes:
        task, labels, fields: what they were searched for; they mean nothing elsewhere.
        model: the model that was prompted.
    """

    task: str
    labels: list[Any]
    fields: list[str]
    model: str
    templates: list[str]
    verbalizers: list[Any]

    def check_task(self, task: str, labels: Sequence[str], fields: Sequence[str]) -> None:
        """Raises `UserError` where they were searched for another task, other labels or other fields."""
        for key, theirs, ours in (
            ("task", [self.task], [task]),
            ("labels", list(map(spelled, self.labels)), list(map(spelled, labels))),
            ("fields", self.fields, list(fields)),
        ):
            if sorted(theirs) != sorted(ours):
                raise UserError(
                    f"found: searched for another task: its {key} {'is' if key == 'task' else 'are'} "
                    f"{choices(theirs)}, here {choices(ours)}. Search anew, pet search."
                )

    def notes(self, model: str) -> list[str]:
        """What a reader of a result with one of them should know: a prompt is fitted to its model, and says little of
        another, but may be tried there."""
        return [] if model == self.model else [f"found= was searched with model.name={self.model}, not {model}"]


def read_found(folder: str) -> dict[str, Any]:
    """What the folder of a search holds, as plain values. Raises `UserError` where it holds nothing, or is damaged."""
    path = Path(folder).expanduser() / FILE
    if not path.is_file():
        raise UserError(f"found={folder}: no {FILE} there; pet search writes the folder that is wanted.")
    return files.parsed(path)
