"""`pet predict`: labels for new texts, from a finished run."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pet_cli import methods
from pet_cli.base.files import write_jsonl
from pet_cli.config import resolve
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.data.load import columns_for, fields_of
from pet_cli.data.rows import read_rows
from pet_cli.errors import UserError, choices, nearest
from pet_cli.runs import store
from pet_cli.runs.saved import saved_config


def predict(run: str, file: str | None, texts: list[str] | None, output: str | None) -> int:
    """Prints or writes one JSON object for each text: predicted label and probabilities."""
    folder = Path(run)
    config = saved_config(folder)
    if texts:
        inputs = [fields_of(config.task, texts)]
    elif file:
        inputs = [_row(place, row, config) for place, row in read_rows(Path(file))]
    else:
        inputs = [_line(line, config) for line in sys.stdin if line.strip()]
    if not inputs:
        raise UserError("Nothing to predict: give --text, --file, or lines on standard input.")
    labels = resolve.labels(config)
    rows = [
        {
            **fields,
            "predicted": labels[max(range(len(line)), key=line.__getitem__)],
            "probabilities": {label: float(f"{p:.6g}") for label, p in zip(labels, line, strict=True)},
        }
        for fields, line in zip(inputs, probabilities(folder, inputs), strict=True)
    ]
    if output:
        write_jsonl(Path(output), rows)
    else:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    return 0


def probabilities(folder: Path, inputs: Sequence[Mapping[str, str]]) -> list[list[float]]:
    """Label probabilities `[inputs][labels]` of a finished run."""
    found: list[list[float]] = store.softmax(methods.load(folder).predict(Split.passing(inputs))).tolist()
    return found


def _row(place: str, row: Mapping[str, Any], config: PetConfig) -> dict[str, str]:
    fields = {}
    for ours in config.task.fields:
        wanted = columns_for(ours, config.task, config.data)
        column = next((name for name in wanted if name in row), None)
        if column is None:
            raise UserError(f"{place}: no column '{wanted[0]}'; there are {choices(row)}.{nearest(wanted[0], row)}")
        fields[ours] = str(row[column])
    return fields


def _line(line: str, config: PetConfig) -> dict[str, str]:
    """A line of standard input: the text itself, or a JSON object where the task has several fields."""
    if line.lstrip().startswith("{"):
        try:
            return _row("standard input", json.loads(line), config)
        except ValueError:
            pass
    return fields_of(config.task, [line.strip()])
