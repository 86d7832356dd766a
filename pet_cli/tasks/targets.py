"""What a task asks for: one label, several, a number between two words, or one of the example's own candidates.

A target knows how a row's value becomes what is right (gold), what a model learns from it, how label probabilities
become a prediction, how that is written, and what a number of shots means. Knows nothing of models; probabilities are
arrays `[examples, labels]`, or `[examples, candidates]` where candidates are the example's own.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pet_cli.base.values import is_missing, is_number, spelled
from pet_cli.errors import UserError, choices, not_allowed

if TYPE_CHECKING:
    import numpy as np

Gold = int | float | tuple[int, ...]
"""A label's or candidate's index, a number, or several indices."""

LabelOf = Callable[[Any], "int | None"]
"""The one rule for label values: a value's label by index, None for a value that says there is none; raises
`UserError` for one that is unknown."""


@dataclass(frozen=True)
class Target(ABC):
    """What is predicted.

    Attributes:
        labels: names, one for each column of label scores; empty where the candidates are the example's own.
        shots: of what so many examples are drawn, in words behind "examples".
    """

    labels: tuple[str, ...]
    kind: ClassVar[str]
    shots: ClassVar[str]

    @abstractmethod
    def gold(self, value: Any, label_of: LabelOf, candidates: Sequence[str] = ()) -> Gold | None:
        """What is right, from a row's value; None where the row says that it is not known. Raises `UserError`."""

    @abstractmethod
    def to_learn(self, gold: Sequence[Any]) -> np.ndarray:
        """What a model learns: label indices `[examples]`, or label probabilities `[examples, labels]`."""

    @abstractmethod
    def predicted(self, probabilities: np.ndarray) -> list[Any]:
        """The predictions, in the same terms as gold."""

    def shown(self, answer: Any, candidates: Sequence[str] = ()) -> Any:
        """An answer (gold or predicted) as a file writes it."""
        return self.labels[answer]

    def read(self, shown: Any, candidates: Sequence[str] = ()) -> Any:
        """An answer from what `shown` wrote. Raises `ValueError` for what it never writes."""
        return self.labels.index(shown)

    def columns(self, candidates: Sequence[str] = ()) -> Sequence[str]:
        """What the probabilities of an example are of."""
        return self.labels

    @abstractmethod
    def strata(self, gold: Sequence[Any]) -> dict[str, list[int]]:
        """What so many shots are drawn of: a phrase for messages -> the places of the examples that belong to it."""


class SingleLabel(Target):
    """One of the labels; cross-entropy, and the most probable one."""

    kind = "label"
    shots = "of each label"

    def gold(self, value: Any, label_of: LabelOf, candidates: Sequence[str] = ()) -> int | None:
        return label_of(value)

    def to_learn(self, gold: Sequence[int]) -> np.ndarray:
        import numpy as np

        return np.asarray(gold, dtype=np.int64)

    def predicted(self, probabilities: np.ndarray) -> list[int]:
        best: list[int] = probabilities.argmax(axis=1).tolist()
        return best

    def strata(self, gold: Sequence[int]) -> dict[str, list[int]]:
        return {
            f"label '{label}'": [place for place, own in enumerate(gold) if own == index]
            for index, label in enumerate(self.labels)
        }


@dataclass(frozen=True)
class MultiLabel(Target):
    """Several of the labels, or none: label words at one mask, cross-entropy with equal shares for the gold labels.

    Attributes:
        threshold: labels with a probability above it are predicted; 1 / number of labels where not given, which is
            what each has when nothing is known. An example without a label learns that state.
    """

    threshold: float = math.nan
    kind = "labels"
    shots = "of each label, at least"

    def __post_init__(self) -> None:
        if math.isnan(self.threshold):
            object.__setattr__(self, "threshold", 1 / max(1, len(self.labels)))

    def gold(self, value: Any, label_of: LabelOf, candidates: Sequence[str] = ()) -> tuple[int, ...] | None:
        """From what `parts` finds in the value; none at all where it finds an empty list, unknown where nothing."""
        found = parts(value)
        if found is None:
            return None
        indices = [label_of(one) for one in found]
        known = {index for index in indices if index is not None}
        return tuple(sorted(known)) if known or not found else None

    def to_learn(self, gold: Sequence[tuple[int, ...]]) -> np.ndarray:
        return shares(gold, len(self.labels))

    def predicted(self, probabilities: np.ndarray) -> list[tuple[int, ...]]:
        return [tuple(i for i, p in enumerate(line) if p > self.threshold) for line in probabilities.tolist()]

    def shown(self, answer: tuple[int, ...], candidates: Sequence[str] = ()) -> list[str]:
        return [self.labels[index] for index in answer]

    def read(self, shown: Any, candidates: Sequence[str] = ()) -> tuple[int, ...]:
        return tuple(self.labels.index(name) for name in shown)

    def strata(self, gold: Sequence[tuple[int, ...]]) -> dict[str, list[int]]:
        return {
            f"label '{label}'": [place for place, own in enumerate(gold) if index in own]
            for index, label in enumerate(self.labels)
        }


@dataclass(frozen=True)
class Interval(Target):
    """A number between two words, as LM-BFF predicts STS-B (Gao et al. 2021, section 4.1): the first label's words
    stand for `low`, the second's for `high`, and the prediction is low + (high - low) * p(second). It learns by
    cross-entropy with (1 - t, t), t being where the number lies between the two.
    """

    low: float = 0.0
    high: float = 1.0
    kind = "number"
    shots = "of each half of the numbers"

    def gold(self, value: Any, label_of: LabelOf, candidates: Sequence[str] = ()) -> float | None:
        """A number; none where the value is empty, or the -1 of hidden labels where that is outside the range."""
        if value is None or (isinstance(value, str) and value.strip() in ("", "-")):
            return None
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise UserError(f"{value!r} is no number.") from None
        if math.isnan(number) or (number == -1 and not self.low <= number <= self.high):
            return None
        if isinstance(value, bool) or not self.low <= number <= self.high:
            raise UserError(f"{value!r} lies outside of task.range=[{self.low:g}, {self.high:g}].")
        return number

    def to_learn(self, gold: Sequence[float]) -> np.ndarray:
        import numpy as np

        part = (np.asarray(gold, dtype=float) - self.low) / (self.high - self.low)
        return np.stack([1 - part, part], axis=1)

    def predicted(self, probabilities: np.ndarray) -> list[float]:
        numbers: list[float] = (self.low + (self.high - self.low) * probabilities[:, 1]).tolist()
        return numbers

    def shown(self, answer: float, candidates: Sequence[str] = ()) -> float:
        return float(f"{answer:.6g}")

    def read(self, shown: Any, candidates: Sequence[str] = ()) -> float:
        return float(shown)

    def strata(self, gold: Sequence[float]) -> dict[str, list[int]]:
        middle = (self.low + self.high) / 2
        return {
            f"the half below {middle:g}": [place for place, own in enumerate(gold) if own < middle],
            f"the half from {middle:g}": [place for place, own in enumerate(gold) if own >= middle],
        }


class Choice(Target):
    """One of the candidates that the example brings; where several are right (ReCoRD), any of them is."""

    kind = "choice"
    shots = "in all"

    def gold(self, value: Any, label_of: LabelOf, candidates: Sequence[str] = ()) -> int | tuple[int, ...] | None:
        """From a candidate's text, the name of its column, or its number from 0; or from a list of such values.

        Where a candidate is itself a number, numbers are texts and no places.
        """
        if not isinstance(value, (list, tuple)):
            return label_of(value)
        found = {label_of(one) for one in value} - {None}
        places = tuple(sorted(index for index in found if index is not None))
        return None if not places else places if len(places) > 1 else places[0]

    def to_learn(self, gold: Sequence[Any]) -> np.ndarray:
        """Candidates' indices; shares `[examples, most]` where an example has several that are right."""
        import numpy as np

        if not any(isinstance(own, tuple) for own in gold):
            return np.asarray(gold, dtype=np.int64)
        several = [own if isinstance(own, tuple) else (own,) for own in gold]
        return shares(several, 1 + max(max(own) for own in several))

    def predicted(self, probabilities: np.ndarray) -> list[int]:
        best: list[int] = probabilities.argmax(axis=1).tolist()
        return best

    def shown(self, answer: int | tuple[int, ...], candidates: Sequence[str] = ()) -> Any:
        return [candidates[index] for index in answer] if isinstance(answer, tuple) else candidates[answer]

    def read(self, shown: Any, candidates: Sequence[str] = ()) -> Any:
        if isinstance(shown, list):
            return tuple(candidates.index(one) for one in shown)
        return candidates.index(shown)

    def columns(self, candidates: Sequence[str] = ()) -> Sequence[str]:
        return candidates

    def strata(self, gold: Sequence[Any]) -> dict[str, list[int]]:
        return {"the task": list(range(len(gold)))}


def parts(value: Any) -> list[Any] | None:
    """The label values of a list, or of a text that divides them by `;` or `|`; None for an empty cell."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str):
        return [part.strip() for part in re.split(r"[;|]", value) if part.strip()]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def candidate_of(candidates: Sequence[str], columns: Sequence[str] = ()) -> LabelOf:
    """The rule for an example's own candidates: a value is a candidate's text, else the name of its column, else its
    place from 0, unless a candidate is itself a number, which would make that doubtful."""

    def read(value: Any) -> int | None:
        if is_missing(value):
            return None
        text = spelled(value)
        for names in (candidates, columns):
            if text in names:
                return list(names).index(text)
        if not any(map(is_number, candidates)) and text.isdecimal() and int(text) < len(candidates):
            return int(text)
        if text in ("-1", "-"):
            return None
        raise UserError(f"{value!r} is none of the candidates, which are {choices(candidates)}.")

    return read


def shares(gold: Sequence[tuple[int, ...]], n: int) -> np.ndarray:
    """Equal shares for what is right, `[examples, n]`; equal shares for all where nothing is."""
    import numpy as np

    table = np.zeros((len(gold), n))
    for line, own in zip(table, gold, strict=True):
        line[list(own) or slice(None)] = 1 / (len(own) or n)
    return table


TARGETS: dict[str, type[Target]] = {"label": SingleLabel, "labels": MultiLabel, "number": Interval, "choice": Choice}


def make(kind: str, labels: Sequence[str], bounds: Any = None, threshold: Any = None) -> Target:
    """The target that a task's keys describe.

    Args:
        kind: `task.target`.
        bounds: `task.range`, of a number: [low, high].
        threshold: `task.threshold`, of several labels.

    Raises:
        UserError: a kind that nobody knows, or keys that do not make sense together.
    """
    if kind not in TARGETS:
        raise not_allowed("task.target", kind, TARGETS)
    if bounds is not None and kind != "number":
        raise UserError(f"task.range={bounds}: only for task.target=number, not {kind}.")
    if threshold is not None and kind != "labels":
        raise UserError(f"task.threshold={threshold}: only for task.target=labels, not {kind}.")
    named = tuple(labels)
    if kind == "choice":
        if named:
            raise UserError(f"task.labels={list(named)}: with task.target=choice the candidates take their place.")
        return Choice(())
    if kind == "number":
        low, high = _bounds(bounds)
        if len(named) != 2:
            raise UserError(
                f"task.target=number needs two labels, of the lowest and the highest number; given: {choices(named)}."
            )
        return Interval(named, low, high)
    if kind == "labels":
        if threshold is not None and (not _is_finite(threshold) or not 0 <= threshold < 1):
            raise UserError(f"task.threshold={threshold}: a probability, 0 to below 1.")
        return MultiLabel(named, math.nan if threshold is None else float(threshold))
    return SingleLabel(named)


def _bounds(bounds: Any) -> tuple[float, float]:
    if not isinstance(bounds, (list, tuple)) or len(bounds) != 2 or not all(map(_is_finite, bounds)):
        raise UserError(f"task.range={bounds}: write the lowest and the highest number, such as [0, 5].")
    low, high = map(float, bounds)
    if not low < high:
        raise UserError(f"task.range={list(bounds)}: the second must be above the first.")
    return low, high


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
