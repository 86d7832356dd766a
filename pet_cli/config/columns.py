"""Where a text lies in a row, as a task's YAML or `data.fields` writes it: a column, a path, alternatives, a map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pet_cli.base.values import spelled
from pet_cli.errors import UserError

_HOW = (
    "write a column or a path into a row (target.span1_text), a list of them of which the first that exists is read, "
    "or {column: COLUMN, values: {their value: text}}"
)


@dataclass(frozen=True)
class Column:
    """One place of a text in a row.

    Attributes:
        path: the name of a column, or names and list indices down into a row, joined by dots.
        values: spelled value -> text, where the column does not hold the text itself.
    """

    path: str
    values: Mapping[str, str] | None = None


def columns(key: str, written: Any) -> list[Column]:
    """The places that may hold a text, in the order in which they are tried.

    Args:
        key: the config key, for messages.

    Raises:
        UserError: not one of the three ways of writing it.
    """
    if isinstance(written, (list, tuple)):
        if not written:
            raise UserError(f"{key}=[]: {_HOW}.")
        return [column for one in written for column in columns(key, one)]
    if isinstance(written, Mapping):
        if set(written) != {"column", "values"} or not isinstance(written["values"], Mapping) or not written["values"]:
            raise UserError(f"{key}: {_HOW}.")
        values: dict[str, str] = {}
        for value, text in written["values"].items():
            if not isinstance(text, str):
                raise UserError(f"{key}: the text of {value!r} is {text!r}; write it in quotes.")
            if values.setdefault(spelled(value), text) != text:
                raise UserError(f"{key}: the value {spelled(value)} stands there twice.")
        return [Column(column.path, values) for column in columns(key, written["column"])]
    if written is None or isinstance(written, bool) or not str(written).strip():
        raise UserError(f"{key}={written}: {_HOW}.")
    return [Column(str(written))]
