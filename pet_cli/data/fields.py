"""A row's texts by field: one reader for training, `pet predict` and the notebook.

Null, NaN and blank text are one thing, no text, since a csv knows no difference. A row in which no field holds text is
no example: data leave it out and count it, and whoever asks for its label gets the empty text's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pet_cli.base.values import is_missing, spelled
from pet_cli.config.columns import Column, columns
from pet_cli.config.schema import DataConfig, TaskConfig
from pet_cli.data.rows import headless
from pet_cli.errors import UserError, choices, nearest


class FieldReader:
    """Reads the texts of a task's fields from the rows of one source.

    A field lies where `data.fields` says; else in the column of its own name, else where the task says. Of several
    places the first that a row has is read.
    """

    def __init__(self, task: TaskConfig, data: DataConfig | None = None) -> None:
        given = dict((data.fields if data is not None else None) or {})
        self.fields: dict[str, list[Column]] = {}
        for ours, theirs in task.fields.items():
            if ours in given:
                self.fields[ours] = columns(f"data.fields.{ours}", given[ours])
                continue
            places = columns(f"task.fields.{ours}", theirs)
            mapped = any(place.values for place in places)  # the raw values would not do
            self.fields[ours] = [*places, Column(ours)] if mapped else [Column(ours), *places]

    def check(self, row: Mapping[str, Any], source: str) -> None:
        """Raises `UserError` where a row, the first of a source, lacks the columns of a field."""
        for ours, places in self.fields.items():
            if any(find(row, place.path)[0] for place in places):
                continue
            wanted = list(dict.fromkeys(place.path for place in places))
            close = next((said for path in wanted if (said := nearest(path, row))), "")
            names = " or ".join(map(repr, wanted))
            raise UserError(
                f"{source}: no column {names} for the field '{ours}'; there are {choices(row)}."
                f"{headless(row) or close} Name it: data.fields='{{{ours}: COLUMN}}'."
            )

    def read(self, row: Mapping[str, Any], place: str) -> dict[str, str]:
        """A row's texts by field, "" where one is missing.

        Raises:
            UserError: a list, a mapping or bytes where text is wanted, or a value that a map does not know.
        """
        return {ours: self._text(row, places, place) for ours, places in self.fields.items()}

    def read_text(self, text: object, place: str) -> dict[str, str]:
        """The texts of what a notebook or a line gives: a mapping by field or column, or the only field's text."""
        if isinstance(text, Mapping):
            self.check(text, place)
            return self.read(text, place)
        if len(self.fields) > 1:
            raise UserError(f"{place}: the fields are {', '.join(self.fields)}; give each text as a mapping of them.")
        return {ours: as_text(text, place) for ours in self.fields}

    def _text(self, row: Mapping[str, Any], places: Sequence[Column], place: str) -> str:
        for column in places:
            found, value = find(row, column.path)
            if not found:
                continue
            if column.values is None or is_missing(value):
                return as_text(value, f"{place}: the column '{column.path}'")
            if spelled(value) not in column.values:
                raise UserError(
                    f"{place}: the column '{column.path}' holds {value!r}; "
                    f"its values are {choices(column.values)}.{nearest(value, column.values)}"
                )
            return column.values[spelled(value)]
        return ""


def find(row: Any, path: str) -> tuple[bool, Any]:
    """Whether a row has what a path names, and what stands there; a name that holds dots itself comes first.

    Names lead into mappings, whole numbers into lists: `passage.questions.0.question`.
    """
    found, value = _step(row, path)
    end = path.rfind(".")
    while not found and end > 0:  # the longest name first
        found, value = _step(row, path[:end])
        if found:
            found, value = find(value, path[end + 1 :])
        end = path.rfind(".", 0, end)
    return found, value if found else None


def _step(row: Any, name: str) -> tuple[bool, Any]:
    if isinstance(row, Mapping) and name in row:
        return True, row[name]
    if isinstance(row, (list, tuple)) and name.isdecimal() and int(name) < len(row):
        return True, row[int(name)]
    return False, None


def as_text(value: Any, what: str) -> str:
    """A value as text, "" where it is missing; what is no character becomes the replacement character.

    Raises:
        UserError: a list, a mapping, or bytes that are not UTF-8.
    """
    if isinstance(value, str):
        text = str(value)
    elif isinstance(value, (Mapping, list, tuple, set)) or getattr(value, "shape", None):
        raise UserError(f"{what} is not text but {type(value).__name__}.")
    elif is_missing(value):
        return ""
    elif isinstance(value, bytes):
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError:
            raise UserError(f"{what} is not text but bytes that are not UTF-8.") from None
    else:
        text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:  # halves of a pair, which JSON can write one at a time
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def has_text(fields: Mapping[str, str]) -> bool:
    """Whether any field holds more than white space."""
    return any(text.strip() for text in fields.values())


def text_key(fields: Mapping[str, str]) -> tuple[str, ...]:
    """What is equal for equal texts: the fields' texts, without regard to white space around and between words."""
    return tuple(" ".join(text.split()) for text in fields.values())


def fields_of(task: TaskConfig, texts: Sequence[str]) -> dict[str, str]:
    """Texts given in the order of the task's fields, by field."""
    names = list(task.fields)
    if len(texts) != len(names):
        raise UserError(f"--text: the task's fields are {', '.join(names)}; give --text {len(names)} times.")
    return {name: as_text(text, "--text") for name, text in zip(names, texts, strict=True)}


def repeated(all_fields: Iterable[Mapping[str, str]]) -> int:
    """How many texts stand earlier in the same list."""
    keys = [text_key(fields) for fields in all_fields]
    return len(keys) - len(set(keys))
