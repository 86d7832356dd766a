"""A split as its source has it: texts by field, and label values before anybody has said what they mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pet_cli.base.values import is_missing, spelled
from pet_cli.config.schema import DataConfig, TaskConfig
from pet_cli.data.examples import Example
from pet_cli.data.fields import FieldReader, as_text, find, has_text
from pet_cli.data.rows import headless
from pet_cli.errors import UserError, choices, nearest
from pet_cli.tasks.readers import flat
from pet_cli.tasks.targets import Gold, parts


@dataclass(frozen=True)
class Row:
    """A row of a source.

    Attributes:
        number: in the source, from 0.
        place: where it stands, for messages.
        value: of the label column; None in a split without labels.
    """

    number: int
    place: str
    fields: dict[str, str]
    value: Any
    candidates: tuple[str, ...] = ()
    group: str | None = None


@dataclass
class Table:
    """The rows of one split that hold text.

    Attributes:
        rows: what its rows hold.
        seen: spelled label value -> where it stands first.
        counts: spelled label value -> rows.
        total: how many rows the source has, those without text included.
    """

    name: str
    source: str
    rows: list[Row] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    total: int = 0

    def examples(self, gold_of: Callable[[Row], Gold | None] | None) -> tuple[Example, ...]:
        """The rows as examples, with what is right where the split says so."""
        return tuple(
            Example(row.number, row.fields, None if gold_of is None else gold_of(row), row.candidates, row.group)
            for row in self.rows
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
    wanted = [] if name == "unlabeled" else _label_columns(task, data, hub)
    column: str | None = None
    first: Mapping[str, Any] = {}
    for number, (place, row) in enumerate(flat(task.reader, rows)):
        if number == 0:
            reader.check(row, source)
            first = row
        if column is None:  # in JSON a row without a label may lack the column
            column = next((one for one in wanted if one in row), None)
        table.total += 1
        fields = reader.read(row, place)
        if not has_text(fields):
            continue
        value = row.get(column) if column is not None else None
        for one in _label_values(value, task.target):
            table.seen.setdefault(spelled(one), place)
            table.counts[spelled(one)] += 1
        own = candidates(row, task, place)
        table.rows.append(Row(number, place, fields, value, own, _group(row, task, place)))
    if not table.total:
        raise UserError(f"{source} has no rows.")
    if wanted and column is None and name != "test":
        raise UserError(
            f"{source}: no label column '{wanted[0]}'; there are {choices(first)}."
            f"{headless(first) or nearest(wanted[0], first)} Name it: data.label=COLUMN."
        )
    if not table.rows:
        raise UserError(f"{source}: no row has any text in {choices(reader.fields)}.")
    return table


def _label_values(value: Any, target: str) -> list[Any]:
    """The names or numbers of labels in a cell; none where it holds something else."""
    found = [value] if target == "label" else parts(value) if target == "labels" else None
    return [one for one in found or () if not is_missing(one)]


def candidates(row: Mapping[str, Any], task: TaskConfig, place: str) -> tuple[str, ...]:
    """A row's own candidates, from several columns or from the one that holds a list.

    Raises:
        UserError: a column that is not there, fewer than two candidates, an empty one, or two that are equal.
    """
    if task.candidates is None:
        return ()
    several = isinstance(task.candidates, (list, tuple))
    found: list[Any] = []
    for column in task.candidates if several else [task.candidates]:
        there, value = find(row, str(column))
        if not there:
            raise UserError(f"{place}: no column '{column}' of task.candidates; there are {choices(row)}.")
        found += [value] if several else value if isinstance(value, (list, tuple)) else [value]
    texts = tuple(as_text(one, f"{place}: a candidate").strip() for one in found)
    if len(texts) < 2:
        raise UserError(f"{place}: {len(texts)} candidate; a choice needs at least two.")
    if not all(texts):
        raise UserError(f"{place}: candidate {texts.index('') + 1} is empty.")
    if twice := [text for text in dict.fromkeys(texts) if texts.count(text) > 1]:
        raise UserError(f"{place}: the candidate '{twice[0]}' stands there twice.")
    return texts


def _group(row: Mapping[str, Any], task: TaskConfig, place: str) -> str | None:
    """What a row belongs to; a mapping such as `idx` without its own last number is not needed: name the path."""
    if task.group is None:
        return None
    names = task.group.split("+")
    found = [find(row, name.strip()) for name in names]
    for name, (there, _) in zip(names, found, strict=True):
        if not there:
            raise UserError(f"{place}: no column '{name.strip()}' of task.group; there are {choices(row)}.")
    return "/".join(spelled(value) for _, value in found)


def _label_columns(task: TaskConfig, data: DataConfig, hub: bool) -> list[str]:
    """The columns of which the first that is there holds the labels."""
    theirs = task.source.label
    found = [data.label or (theirs if hub and theirs is not None else task.label)]
    if not hub and data.label is None and theirs is not None:
        found.append(theirs)  # a file in the hub's own format
    return found
