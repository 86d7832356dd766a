"""Which of several lines is the highest where: between sizes that were measured, and no further."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pet_cli.report.ladder_plot import ALL


@dataclass(frozen=True)
class Stretch:
    """From one number of labels to another, the era with the highest mean."""

    start: float
    end: float
    era: str


def labels_of(size: float, everything: float) -> float:
    """Of how many examples of each label a size is, where `ALL` is so many."""
    return everything if size == ALL else size


def between(first: float, second: float, share: float, everything: float) -> float:
    """The size a share of the way from one to another, on their logarithms; from 0 on, of the numbers themselves."""
    first, second = labels_of(first, everything), labels_of(second, everything)
    if share in (0, 1):  # exactly there
        return second if share else first
    if first <= 0:
        return share * second
    return float(2 ** ((1 - share) * math.log2(first) + share * math.log2(second)))


def _share(first: float, second: float, size: float, everything: float) -> float:
    """How much of the way from one size to another lies before a third between them: of `between` the inverse."""
    first, second, size = (labels_of(one, everything) for one in (first, second, size))
    if second <= first:
        return 1.0
    if first > 0:
        first, second, size = map(math.log2, (first, second, size))
    return min(1.0, (size - first) / (second - first))


def whole(line: Mapping[float, float], sizes: Sequence[float], everything: float) -> dict[float, float]:
    """A line at every size from its first to its last: between two of its own as the plot draws it."""
    found = {}
    for first, second in itertools.pairwise(sorted(line)):
        for size in (size for size in sizes if first <= size < second):
            share = _share(first, second, size, everything)
            found[size] = (1 - share) * line[first] + share * line[second]
    return found | dict(line)


def stretches(lines: Mapping[str, Mapping[float, float]], everything: float) -> list[Stretch]:
    """Which era leads where: the upper envelope of the lines between the sizes that were measured.

    Args:
        lines: era -> size -> mean; a line runs from its first size to its last.
        everything: how many examples of each label `ALL` is.
    """
    sizes = sorted({size for line in lines.values() for size in line})
    lines = {era: whole(line, sizes, everything) for era, line in lines.items()}
    found: list[Stretch] = []

    def add(start: float, end: float, era: str) -> None:
        if end <= start:
            return
        if found and found[-1].era == era:
            start = found.pop().start
        found.append(Stretch(start, end, era))

    for first, second in itertools.pairwise(sizes):
        here = {era: (line[first], line[second]) for era, line in lines.items() if first in line and second in line}
        if not here:
            continue
        share = 0.0
        era = max(here, key=lambda one: (here[one][0], here[one][1]))
        while True:
            meets = {
                other: (here[era][0] - low) / ((here[era][0] - low) + (high - here[era][1]))
                for other, (low, high) in here.items()
                if high > here[era][1] and (here[era][0] - low) + (high - here[era][1]) > 0
            }
            meets = {other: place for other, place in meets.items() if place >= share}
            start = between(first, second, share, everything)
            if not meets:
                add(start, labels_of(second, everything), era)
                break
            nearest = min(meets, key=lambda other: (meets[other], -here[other][1]))
            share = meets[nearest]
            add(start, between(first, second, share, everything), era)
            era = nearest
    return found
