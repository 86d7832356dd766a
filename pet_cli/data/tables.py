"""A split as its source has it: texts by field, and label values before anybody has said what they mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pet_cli.base.values import is_missing, spelled
from pet_cli.config.schema import DataConfig, TaskConfig
from pet_cli.data.examples import Example
from pet_cli.data.fields import FieldReader, has_text
from pet_cli.data.labels import LabelReader
from pet_cli.data.rows import headless
from pet_cli.errors import UserError, choices, nearest


@dataclass
class Table:
    """The rows of one split that hold text.

    Attributes:
        rows: number in the source (from 0), texts by field, label value (None in a split without labels).
        seen: spelled label value -> where it stands first.
        counts: spelled label value -> rows.
        total: how many rows the source has, those without text included.
    """

    name: str
    source: str
    rows: list[tuple[int, dict[str, str], Any]] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    total: int = 0

    def examples(self, labels: LabelReader | None) -> tuple[Example, ...]:
        """The rows as examples, with their labels' indices where the split has labels."""
        return tuple(
            Example(number, fields, None if labels is None else labels.index(value))
            for number, fields, value in self.rows
        )

    @property
    def called(self) -> str:
        """The source without its folder."""
        return Path(self.source).name

    @property
    def notes(self) -> tuple[str, ...]:
        left_out = self.total - len(self.rows)
        return (f"{left_out} of {self.total} rows of {self.called} have no text",) if left_out else ()


def read_table(
    name: str,
    rows: Iterable[tuple[str, Mapping[str, Any]]],
    source: str,
    task: TaskConfig,
    data: DataConfig,
    *,
    hub: bool = False,
) -> Table:
    """Reads the rows of a split.

    Args:
        rows: each with its place for messages.
        source: the file, or the data set's name on the hub.

    Raises:
        UserError: a column that is not there, or a row that cannot be read; with file and row.
    """
    table = Table(name, source)
    reader = FieldReader(task, data)
    column: str | None = None
    for number, (place, row) in enumerate(rows):
        if number == 0:
            reader.check(row, source)
            column = None if name == "unlabeled" else _label_column(name, row, source, task, data, hub)
        table.total += 1
        fields = reader.read(row, place)
        if not has_text(fields):
            continue
        value = row.get(column) if column is not None else None
        if not is_missing(value):
            table.seen.setdefault(spelled(value), place)
            table.counts[spelled(value)] += 1
        table.rows.append((number, fields, value))
    if not table.total:
        raise UserError(f"{source} has no rows.")
    if not table.rows:
        raise UserError(f"{source}: no row has any text in {choices(reader.fields)}.")
    return table


def _label_column(
    split: str, row: Mapping[str, Any], source: str, task: TaskConfig, data: DataConfig, hub: bool
) -> str | None:
    own = task.source.label if hub and task.source.label is not None else task.label
    column = data.label or own
    if column in row:
        return column
    if not hub and data.label is None and task.source.label in row:
        return task.source.label  # a file in the hub's own format
    if split == "test":
        return None
    raise UserError(
        f"{source}: no label column '{column}'; there are {choices(row)}.{headless(row) or nearest(column, row)} "
        "Name it: data.label=COLUMN."
    )
