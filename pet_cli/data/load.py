"""From a source (the hub, a folder, a file) to examples: texts by field and a label index.

Labels are matched by name, so a source that numbers them otherwise, writes them as text, booleans or integers, lands
right. Bad data is reported with its file and row.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pet_cli.config.schema import DataConfig, TaskConfig
from pet_cli.data.examples import Example, Split
from pet_cli.data.rows import SUFFIXES, read_rows
from pet_cli.data.sampling import ranked
from pet_cli.errors import UserError, choices, nearest

SPLITS = ("train", "validation", "test", "unlabeled")
_SPLIT_NAMES = {"dev": "validation", "valid": "validation", "val": "validation", **{name: name for name in SPLITS}}
_PACKAGE = Path(__file__).parent.parent


def load(task: TaskConfig, data: DataConfig, labels: Sequence[str]) -> dict[str, Split]:
    """Loads every split the source has.

    Returns:
        split name -> split; `test` is the one that is scored. A single file is divided, stratified by label and
        seeded by `data.seed`, into `train` and `test`.
    """
    if data.path is not None:
        return _local(Path(data.path).expanduser(), task, data, labels)
    if task.source.path is not None:
        return _local(_PACKAGE / task.source.path, task, data, labels)
    if task.source.hub is not None:
        return _hub(task, data, labels)
    raise UserError(f"task={task.name} has no data of its own: give a file or folder, data.path=PATH.")


# --- files ---------------------------------------------------------------------------------------------------------


def stamp(task: TaskConfig, data: DataConfig) -> str | None:
    """Identifies the contents of the files that `load` would read; None for a data set of the hub or missing files."""
    path = Path(data.path).expanduser() if data.path is not None else None
    if path is None and task.source.path is not None:
        path = _PACKAGE / task.source.path
    if path is None or not path.exists():
        return None
    digest = hashlib.sha256()
    for name, file in sorted(split_files(path).items()) if path.is_dir() else [("", path)]:
        about = file.stat()
        digest.update(f"{name}:{_contents(file, about.st_size, about.st_mtime_ns)}".encode())
    return digest.hexdigest()[:16]


@functools.lru_cache(maxsize=64)
def _contents(file: Path, size: int, changed: int) -> str:
    """A hash of a file's contents; read again only where its size or time have changed."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while part := stream.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def split_files(folder: Path) -> dict[str, Path]:
    """The files of a folder that are splits by their name: train, validation (or dev), test, unlabeled."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        split = _SPLIT_NAMES.get(path.stem.lower())
        if split is None or path.suffix not in SUFFIXES:
            continue
        if split in found:
            raise UserError(f"data.path={folder}: both {found[split].name} and {path.name} are '{split}'.")
        found[split] = path
    return found


def _local(path: Path, task: TaskConfig, data: DataConfig, labels: Sequence[str]) -> dict[str, Split]:
    label_of = _label_reader(task, data, labels)
    if path.is_dir():
        files = split_files(path)
        if not files:
            raise UserError(
                f"data.path={path}: no file there is named after a split; "
                f"wanted are {choices(SPLITS)} as {choices(s[1:] for s in SUFFIXES)}."
            )
        splits = {
            name: _examples(name, read_rows(file), str(file), task, data, label_of) for name, file in files.items()
        }
    elif path.exists():
        whole = _examples("train", read_rows(path), str(path), task, data, label_of)
        splits = _divide(whole, len(labels), data)
    else:
        raise UserError(f"data.path={path}: no such file or folder.")
    return _scored(splits, str(path))


def _divide(whole: Split, n_labels: int, data: DataConfig) -> dict[str, Split]:
    """One file as train and test: of each label, the share `data.test_fraction` of a seeded order is test."""
    order = ranked(whole.examples, data.seed)
    test: set[int] = set()
    for label in range(n_labels):
        own = [example.row for example in order if example.label == label]
        test.update(own[: round(len(own) * data.test_fraction)])
    unlabeled = tuple(example for example in whole.examples if example.label is None)
    splits = {
        "train": Split("train", tuple(e for e in whole.examples if e.row not in test and e.label is not None)),
        "test": Split("test", tuple(e for e in whole.examples if e.row in test)),
    }
    return splits | ({"unlabeled": Split("unlabeled", unlabeled)} if unlabeled else {})


def _scored(splits: dict[str, Split], source: str) -> dict[str, Split]:
    """Settles what `test` is: the test split with its labels, else the validation split."""
    test = splits.get("test")
    known = tuple(example for example in test.examples if example.label is not None) if test else ()
    if known:
        splits["test"] = Split("test", known)
    elif "validation" in splits:
        splits["test"] = Split("test", tuple(e for e in splits.pop("validation").examples if e.label is not None))
    elif test is not None:
        raise UserError(f"{source}: the test split has no labels, and there is no validation split to score.")
    if not splits.get("test"):
        raise UserError(f"{source}: no test split; a file named test or validation is needed.")
    if "train" in splits:
        known = tuple(example for example in splits["train"].examples if example.label is not None)
        splits["train"] = Split("train", known)
    return splits


# --- the hub -------------------------------------------------------------------------------------------------------


def _hub(task: TaskConfig, data: DataConfig, labels: Sequence[str]) -> dict[str, Split]:
    from pet_cli.base import hub

    hub.prepare()
    import datasets

    datasets.disable_progress_bars()
    source = task.source
    try:
        loaded = {
            ours: datasets.load_dataset(source.hub, source.config, split=theirs, revision=source.revision)
            for ours, theirs in source.splits.items()
        }
    except Exception as error:  # the client raises a dozen kinds; all mean that the data are not to be had
        raise UserError(
            f"task={task.name}: the data set {source.hub} cannot be loaded from the hub "
            f"({type(error).__name__}) and is not in its cache. Give local files instead, data.path=FOLDER, with "
            f"columns {choices([*task.fields.values(), task.label])}; or use task=reviews, which needs no network."
        ) from None
    splits = {}
    for name, rows in loaded.items():
        names = getattr(rows.features.get(data.label or source.label or task.label), "names", None)
        by_name = names if names and {_plain(n) for n in names} == {_plain(label) for label in labels} else None
        reader = _label_reader(task, data, labels, by_name, hub=True)
        places = ((f"{source.hub} {name}, row {number}", row) for number, row in enumerate(rows))
        splits[name] = _examples(name, places, f"{source.hub} {name}", task, data, reader, hub=True)
    return _scored(splits, str(source.hub))


# --- rows to examples ----------------------------------------------------------------------------------------------


def _examples(
    name: str,
    rows: Iterable[tuple[str, dict[str, Any]]],
    source: str,
    task: TaskConfig,
    data: DataConfig,
    label_of: Callable[[Any, str], int | None],
    hub: bool = False,
) -> Split:
    columns: dict[str, str] | None = None
    label_column: str | None = None
    examples = []
    for number, (place, row) in enumerate(rows):
        if columns is None:
            columns = {ours: _column(ours, row, source, task, data) for ours in task.fields}
            label_column = None if name == "unlabeled" else _label_column(name, row, source, task, data, hub)
        fields = {}
        for ours, column in columns.items():
            value = row.get(column)
            if value is None or (isinstance(value, str) and not value.strip() and len(columns) == 1):
                raise UserError(f"{place}: the column '{column}' is empty.")
            if isinstance(value, (list, dict)):
                raise UserError(f"{place}: the column '{column}' is not text but {type(value).__name__}.")
            fields[ours] = str(value)
        label = label_of(row.get(label_column), place) if label_column is not None else None
        if label is None and name == "train":
            raise UserError(f"{place}: the label '{label_column}' is missing.")
        examples.append(Example(number, fields, label))
    if not examples:
        raise UserError(f"{source} has no rows.")
    return Split(name, tuple(examples))


def fields_of(task: TaskConfig, texts: Sequence[str]) -> dict[str, str]:
    """Texts given in the order of the task's fields, by field."""
    names = list(task.fields)
    if len(texts) != len(names):
        raise UserError(f"--text: the task's fields are {', '.join(names)}; give --text {len(names)} times.")
    return dict(zip(names, texts, strict=True))


def columns_for(ours: str, task: TaskConfig, data: DataConfig) -> list[str]:
    """The columns that may hold a field, the likeliest first."""
    given = data.fields or {}
    return [str(given[ours])] if ours in given else [ours, task.fields[ours]]


def _column(ours: str, row: Mapping[str, Any], source: str, task: TaskConfig, data: DataConfig) -> str:
    wanted = columns_for(ours, task, data)
    for column in wanted:
        if column in row:
            return column
    raise UserError(
        f"{source}: no column '{wanted[0]}' for the field '{ours}'; there are {choices(row)}."
        f"{nearest(wanted[0], row)} Name it: data.fields='{{{ours}: COLUMN}}'."
    )


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
        f"{source}: no label column '{column}'; there are {choices(row)}.{nearest(column, row)} "
        "Name it: data.label=COLUMN."
    )


def _plain(value: Any) -> str:
    """A label value in one spelling: 1.0 is 1, True is true, "Not entailment" is not_entailment."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip().lower().replace(" ", "_").replace("-", "_")
    if text.startswith("_") and text[1:].isdigit():  # the hyphen of a negative number
        text = "-" + text[1:]
    return text


def _label_reader(
    task: TaskConfig, data: DataConfig, labels: Sequence[str], names: Sequence[str] | None = None, hub: bool = False
) -> Callable[[Any, str], int | None]:
    """How this source's label values become indices.

    In turn: `data.labels`, the label names, the task's `values`, and numbers in the order of the labels.

    Args:
        names: the source's own names for its numbers, where it has the same names in an order of its own.
    """
    index = {_plain(label): i for i, label in enumerate(labels)}
    table: dict[str, int] = {}
    if data.labels is not None:
        if not isinstance(data.labels, Mapping):
            raise UserError("data.labels: write the file's value: our label, such as data.labels='{1: negative}'.")
        for value, label in data.labels.items():
            if _plain(label) not in index:
                raise UserError(
                    f"data.labels: '{label}' is no label of the task; they are {choices(labels)}."
                    f"{nearest(label, labels)}"
                )
            table[_plain(value)] = index[_plain(label)]
    else:
        table.update({str(i): i for i in range(len(labels))})
        for value, label in task.values.items():
            # A task's numbers speak of its hub source; a local file counts from 0.
            if hub or not value.lstrip("-").isdigit():
                table[_plain(value)] = index[_plain(label)]
        if names is not None:
            table.update({str(i): index[_plain(name)] for i, name in enumerate(names)})
        table.update(index)

    def read(value: Any, place: str) -> int | None:
        if value is None or value == "" or (_plain(value) == "-1" and "-1" not in table):
            return None
        found = table.get(_plain(value))
        if found is None:
            known = choices(table if data.labels is not None else labels)
            raise UserError(
                f"{place}: unknown label {value!r}; known are {known}. "
                "Say what the values mean: data.labels='{VALUE: LABEL, …}'."
            )
        return found

    return read
