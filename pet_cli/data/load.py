"""From a source (the hub, a folder, a file) to splits of examples: texts by field and a label index.

    files, hub  ->  rows  ->  tables (texts by field, label values)  ->  labels  ->  splits

Labels are matched by name, so a source that numbers them otherwise, writes them as text, booleans or integers, lands
right. Bad data is reported with its file and row; what is left out is counted in the notes of its split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from pet_cli.config.schema import DataConfig, TaskConfig
from pet_cli.data import folders, hub
from pet_cli.data.examples import Example, Split
from pet_cli.data.fields import repeated, text_key
from pet_cli.data.labels import LabelReader
from pet_cli.data.rows import kind_of, read_rows
from pet_cli.data.sampling import ranked
from pet_cli.data.tables import Row, Table, read_table
from pet_cli.errors import UserError
from pet_cli.tasks import targets
from pet_cli.tasks.targets import Gold, Target, candidate_of

_PACKAGE = Path(__file__).parent.parent
SCORED = ("test", "validation")
"""The splits that a run may score."""
_MIXED = 0.1
"""The share of -1 among numbers from which on it may be a label as well as none."""


def load(task: TaskConfig, data: DataConfig, labels: Sequence[str], *, scored: bool = True) -> dict[str, Split]:
    """Loads every split the source has.

    Args:
        scored: whether there is to be a split that is scored. Without, what may be one (the files of test and
            validation) is not even opened, and of a single file the part that a run would score is left out.

    Returns:
        split name -> split; `test` is the one that is scored, and all its examples have labels. `train` has them
        first, and behind them those without a label. A single file is divided, stratified by label and seeded by
        `data.seed`, into `train` and `test`, equal texts on one side.
    """
    path = source_path(task, data)
    if path is None and task.source.hub is None:
        raise UserError(f"task={task.name} has no data of its own: give a file or folder, data.path=PATH.")
    without = () if scored else SCORED
    tables, names = hub.tables(task, data, without) if path is None else (_local(path, task, data, without), None)
    seen = {value: place for table in reversed(tables) for value, place in table.seen.items()}
    target = targets.make(task.target, labels, task.range, task.threshold)
    reader = LabelReader(task, data, labels, seen, hub=path is None, names=names)
    whole = path is not None and not path.is_dir()
    if reader.by_position and not whole:
        for table in tables:
            _check_minus_one(table)
    splits = {table.name: _split(table, gold_reader(task, target, reader)) for table in tables}
    if whole:
        splits = _divide(splits["train"], target, data, str(path))
    if not scored:
        return {name: split for name, split in splits.items() if name not in SCORED}
    splits = _scored(splits, str(path or task.source.hub))
    if reader.note is not None:
        splits["test"] = replace(splits["test"], notes=(reader.note, *splits["test"].notes))
    return splits


def gold_reader(task: TaskConfig, target: Target, labels: LabelReader) -> Callable[[Row], Gold | None]:
    """How a row says what is right. Its errors begin with the row's place."""
    columns = task.candidates if isinstance(task.candidates, (list, tuple)) else ()

    def read(row: Row) -> Gold | None:
        own = candidate_of(row.candidates, columns) if row.candidates else labels.index
        try:
            return target.gold(row.value, own, row.candidates)
        except UserError as error:
            raise UserError(f"{row.place}: {error}") from None

    return read


def source_path(task: TaskConfig, data: DataConfig) -> Path | None:
    """The file or folder that `load` would read; None for a data set of the hub."""
    if data.path is not None:
        return Path(data.path).expanduser()
    return _PACKAGE / task.source.path if task.source.path is not None else None


def stamp(task: TaskConfig, data: DataConfig, *, scored: bool = True) -> str | None:
    """Identifies the contents of the files that `load` would read; None for a data set of the hub or missing files."""
    path = source_path(task, data)
    return None if path is None else folders.stamp(path, () if scored else SCORED)


def _local(path: Path, task: TaskConfig, data: DataConfig, without: Sequence[str]) -> list[Table]:
    if not path.exists():
        raise UserError(f"data.path={path}: no such file or folder.")
    files = folders.split_files(path) if path.is_dir() else {"train": [path]}
    if data.separator is not None and ".csv" not in {kind_of(part) for parts in files.values() for part in parts}:
        raise UserError(f"data.separator={data.separator}: divides the columns of a csv, and {path} is or has none.")
    found = []
    for name, parts in files.items():
        if name in without:
            continue
        rows = chain.from_iterable(read_rows(part, data.separator) for part in parts)
        found.append(read_table(name, rows, str(parts[0]), task, data))
    return found


def _check_minus_one(table: Table) -> None:
    """-1 beside numbers that count from 0 is a row without a label, or a label that the task has no name for."""
    others = sum(count for value, count in table.counts.items() if value != "-1")
    if others and table.counts["-1"] > _MIXED * others:
        values = ", ".join(f"{value}: LABEL" for value in sorted(table.counts))
        raise UserError(
            f"{table.seen['-1']}: {table.counts['-1']} rows of {table.called} have the label -1 beside {others} "
            f"others. Say what the values mean: data.labels='{{{values}}}', without -1 where it is no label."
        )


def _split(table: Table, gold_of: Callable[[Row], Gold | None]) -> Split:
    """A table's examples; those without a label stand at the end of `train`, and nowhere else but in `unlabeled`."""
    if table.name == "unlabeled":
        return Split(table.name, table.examples(None), notes=table.notes)
    examples = table.examples(gold_of)
    known = tuple(example for example in examples if example.gold is not None)
    rest = tuple(example for example in examples if example.gold is None)
    notes = table.notes
    if known and rest:
        notes += (f"{len(rest)} of {table.total} rows of {table.called} have no label",)
    return Split(table.name, known + rest if table.name == "train" else known, notes=notes)


def _divide(whole: Split, target: Target, data: DataConfig, source: str) -> dict[str, Split]:
    """One file as train and test: the share `data.test_fraction` of a seeded order is test, of each label or half of
    the numbers.

    Equal texts go together, and what belongs together (the answers to a question), with the label of the first of them.
    """
    groups: dict[object, list[Example]] = {}
    for example in whole.labeled:
        groups.setdefault(_unit(example), []).append(example)
    order = [groups[_unit(first)] for first in ranked([group[0] for group in groups.values()], data.seed)]
    test: set[int] = set()
    for places in target.strata([group[0].gold for group in order]).values():
        own = [order[place] for place in places]
        taken = sum(example.row in test for group in own for example in group)  # where examples have several labels
        left = round(sum(map(len, own)) * data.test_fraction) - taken
        for group in own[:-1]:  # one stays to be learned from
            if left > 0 and group[0].row not in test:
                test.update(example.row for example in group)
                left -= len(group)
    if not test:
        raise UserError(
            f"{source}: {len(whole.labeled)} labeled rows with {len(groups)} different texts cannot be divided into "
            f"train and test (data.test_fraction={data.test_fraction}). Give a folder with a file for each."
        )
    train = tuple(example for example in whole.examples if example.row not in test)
    notes = whole.notes
    if twice := repeated(example.fields for example in whole.labeled):
        notes += (f"{twice} of {len(whole.labeled)} texts stand there again; equal texts are on one side",)
    return {
        "train": Split("train", train, notes=notes),
        "test": Split("test", tuple(example for example in whole.examples if example.row in test)),
    }


def _unit(example: Example) -> object:
    return text_key(example.fields) if example.group is None else example.group


def _scored(splits: dict[str, Split], source: str) -> dict[str, Split]:
    """Settles what `test` is: the test split with its labels, else the validation split."""
    if not splits.get("test") and splits.get("validation"):
        splits["test"] = replace(splits.pop("validation"), name="test")
    if not splits.get("test"):
        if "test" in splits:
            raise UserError(f"{source}: the test split has no labels, and there is no validation split to score.")
        raise UserError(f"{source}: no test split; a file named test or validation is needed.")
    return splits
