"""`pet predict`: labels for new texts, from a finished run."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pet_cli import methods
from pet_cli.base.files import write_jsonl
from pet_cli.config import resolve
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.data.fields import FieldReader, fields_of, has_text
from pet_cli.data.rows import read_rows
from pet_cli.errors import UserError
from pet_cli.runs import store
from pet_cli.runs.saved import saved_config


def predict(run: str, file: str | None, texts: list[str] | None, output: str | None) -> int:
    """Prints or writes one JSON object for each text: predicted label and probabilities."""
    folder = Path(run)
    config = saved_config(folder)
    inputs = read_inputs(config, file, texts)
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


def read_inputs(config: PetConfig, file: str | None, texts: Sequence[str] | None) -> list[dict[str, str]]:
    """The texts to label, by field, one for each row of the file or line of standard input.

    A row without text is answered like an empty text, so that answers match rows, and counted on standard error.
    """
    if file and texts:
        raise UserError("--file and --text: give one of them.")
    if texts:
        return [fields_of(config.task, texts)]
    reader = FieldReader(config.task, config.data)
    found: list[dict[str, str]] = []
    if file:
        for place, row in read_rows(Path(file), config.data.separator):
            if not found:
                reader.check(row, file)
            found.append(reader.read(row, place))
    else:
        for number, line in enumerate(sys.stdin, start=1):
            found.append(_line(line.rstrip("\r\n"), f"standard input, line {number}", reader))
    if empty := sum(not has_text(fields) for fields in found):
        print(f"pet: {empty} of {len(found)} rows have no text.", file=sys.stderr)
    return found


def _line(line: str, place: str, reader: FieldReader) -> dict[str, str]:
    """A line of standard input: the text itself, or a JSON object where the task has several fields."""
    if line.lstrip().startswith("{"):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            return reader.read_text(row, place)
    return reader.read_text(line.strip(), place)
