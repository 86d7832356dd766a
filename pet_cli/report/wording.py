"""Numbers as a report writes them."""

from __future__ import annotations

from collections.abc import Sequence

from pet_cli.report.statistics import Estimate


def count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("s" if n != 1 else "")


def percent(share: float) -> str:
    return f"{100 * share:.0f}\u00a0%"


def mean_std(one: Estimate) -> str:
    return f"{one.mean:.3f}" + (f" ± {one.std:.3f}" if one.std is not None else "")


def sentence(text: str) -> str:
    """With a capital letter at its start."""
    return text[:1].upper() + text[1:]


def interval(one: Estimate, least: float = 0.0, most: float = 1.0) -> str:
    if one.low is None or one.high is None:
        return "–"
    return f"{max(least, one.low):.3f}–{min(most, one.high):.3f}"


def together(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
