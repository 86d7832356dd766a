"""From a label value to a label: one rule for every kind of source.

A value is compared in one spelling (`base.values.spelled`), so 1, 1.0 and "1.0" are one. In turn:

1. `data.labels`, where the user says what the values mean;
2. the labels' names: as written, else without regard to case, hyphens and spaces, unless labels differ in that alone;
3. the task's `values`, and the names that a data set of the hub gives to its numbers;
4. numbers in the order of the task's labels, from 0. Not where a label's own name is a number, nor where the names
   come from a verbalizer, whose order says nothing about the source's numbers.

The numbers in a task's `values` speak of its source on the hub; a file may hold them, or count from 0. Which of the two
is told by all the numbers of the file together, and asked where they fit both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pet_cli.base.values import is_missing, is_number, spelled
from pet_cli.config.schema import DataConfig, TaskConfig
from pet_cli.errors import UserError, choices, nearest

NO_GOLD = ("-1", "-", "null", "nan", "<na>")
"""How sources write that a row has no label, apart from null and blank; each is a label where a label has its name."""


class LabelReader:
    """Reads the label values of one source.

    Args:
        labels: the names, in the order of the indices.
        seen: the spelled values of the whole source -> where each stands first.
        hub: whether the source is the task's on the hub, of which its `values` speak.
        names: the hub's own names for its numbers.

    Attributes:
        note: how numbers were read, where a reader may want to know.
        by_position: whether numbers were read in the order of the labels.

    Raises:
        UserError: a value that is no label, or numbers that can be read in two ways.
    """

    def __init__(
        self,
        task: TaskConfig,
        data: DataConfig,
        labels: Sequence[str],
        seen: Mapping[str, str],
        *,
        hub: bool = False,
        names: Sequence[str] | None = None,
    ) -> None:
        self.labels = list(labels)
        self.note: str | None = None
        self.by_position = False
        self._names = {spelled(label): index for index, label in enumerate(labels)}
        self._folded: dict[str, int | None] = {}
        for label, index in self._names.items():
            key = _folded(label)
            self._folded[key] = None if key in self._folded else index
        self._values: dict[str, int] = {}
        if data.labels is not None:
            self._values = self._given(data.labels)
        else:
            self._numbers(task, seen, hub, names)
        self._check(seen, named=bool(task.labels) or data.labels is not None)

    def index(self, value: Any) -> int | None:
        """The index of a value's label; None for a row without a gold label."""
        return None if is_missing(value) else self._find(spelled(value))

    def _find(self, value: str) -> int | None:
        for known in (self._values, self._names):
            if value in known:
                return known[value]
        if value.lower() in NO_GOLD:
            return None
        found = None if is_number(value) else self._folded.get(_folded(value))
        if found is None:
            found = self._values.get(_folded(value))
        if found is None:
            raise KeyError(value)
        return found

    def _given(self, written: Any) -> dict[str, int]:
        """`data.labels` as spelled value -> index."""
        if not isinstance(written, Mapping):
            raise UserError("data.labels: write the file's value: our label, such as data.labels='{1: negative}'.")
        table: dict[str, int] = {}
        for value, label in written.items():
            index = self._named(label)
            if index is None:
                raise UserError(
                    f"data.labels: '{label}' is no label of the task; they are {choices(self.labels)}."
                    f"{nearest(label, self.labels)}"
                )
            if table.setdefault(spelled(value), index) != index:
                raise UserError(f"data.labels: the value {spelled(value)} stands there twice.")
        return table

    def _named(self, name: Any) -> int | None:
        found = self._names.get(spelled(name))
        return self._folded.get(_folded(spelled(name))) if found is None else found

    def _numbers(self, task: TaskConfig, seen: Mapping[str, str], hub: bool, names: Sequence[str] | None) -> None:
        """Settles what the task's `values`, the hub's names and numbers mean."""
        said: dict[str, int] = {}
        for value, label in task.values.items():
            index = self._named(label)
            if index is None:
                raise UserError(f"task.values: '{label}' is no label of the task; they are {choices(self.labels)}.")
            said[spelled(value)] = index
        numbers = {value: index for value, index in said.items() if is_number(value)}
        self._values = {value: index for value, index in said.items() if value not in numbers}
        self._values |= {_folded(value): index for value, index in self._values.items() if _folded(value) not in said}
        if names:
            theirs = [
                self._values.get(spelled(name), self._values.get(_folded(name), self._named(name))) for name in names
            ]
            if set(theirs) == set(range(len(self.labels))):  # else their order is all that is known
                self._values |= {str(n): index for n, index in enumerate(theirs) if index is not None}
                return
        if any(is_number(name) for name in self._names):
            if hub:
                self._values |= numbers
            return
        counted = {str(index): index for index in range(len(self.labels))} if task.labels else {}
        if hub:
            self._values |= numbers or counted
            return
        here = {value for value in seen if is_number(value) and value not in ("-1", *self._values)}
        if here and here <= set(numbers) and not here <= set(counted):
            self._values |= numbers
            self.note = f"label numbers were read as the task's source has them: {self._reading(here, numbers)}"
        elif here and here <= set(counted):
            if here <= set(numbers) and any(counted[value] != numbers[value] for value in here):
                place = next(seen[value] for value in seen if value in here)
                raise UserError(
                    f"{place}: the label numbers {choices(sorted(here))} may count from 0 "
                    f"({self._reading(here, counted)}), or as the task's source has them "
                    f"({self._reading(here, numbers)}). Say which: data.labels='{{VALUE: LABEL, …}}'."
                )
            self._values |= counted
            self.by_position = True
            self.note = f"label numbers were read in the order of the task's labels: {self._reading(here, counted)}"
        else:  # some are unknown in either way, and these are to be named
            self._values |= counted if len(here & set(counted)) >= len(here & set(numbers)) else numbers

    def _reading(self, values: set[str], table: Mapping[str, int]) -> str:
        return choices((f"{value} as {self.labels[table[value]]}" for value in sorted(values, key=float)), 6)

    def _check(self, seen: Mapping[str, str], named: bool) -> None:
        unknown = []
        for value in seen:
            try:
                self._find(value)
            except KeyError:
                unknown.append(value)
        if not unknown:
            return
        value = unknown[0]
        same = [label for label in self.labels if _folded(label) == _folded(value) and not is_number(value)]
        if len(same) > 1:
            raise UserError(
                f"{seen[value]}: the label {value!r} may be {' or '.join(map(repr, same))}, which differ in spelling "
                f"alone. Say which: data.labels='{{{value}: LABEL, …}}'."
            )
        all_numbers = all(is_number(one) for one in seen)
        listed = sorted(seen, key=float) if all_numbers else unknown
        shown = ", ".join(f"{one}: LABEL" for one in listed) if len(listed) <= 8 else "VALUE: LABEL, …"
        others = f" (the values there are {choices(listed, 8)})" if len(listed) > 1 else ""
        why = "" if named or not all_numbers else " Labels that verbalizer= names have no numbers."
        raise UserError(
            f"{seen[value]}: unknown label {value if is_number(value) else repr(value)}{others}; "
            f"known are {choices(self.labels)}.{nearest(value, self.labels)}{why} "
            f"Say what the values mean: data.labels='{{{shown}}}'."
        )


def _folded(text: str) -> str:
    """A name without regard to case, hyphens and spaces."""
    return text if is_number(text) else text.strip().casefold().replace(" ", "_").replace("-", "_")
