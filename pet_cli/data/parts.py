"""Labeled examples in parts: some are held out while the others are learned from."""

from __future__ import annotations

from collections.abc import Sequence

from pet_cli.data.examples import Example, Split
from pet_cli.data.fields import text_key
from pet_cli.data.sampling import ranked, strata
from pet_cli.errors import UserError
from pet_cli.tasks.targets import Target


def most_parts(split: Split, target: Target) -> int:
    """The most parts of which each holds every label that the split has; equal texts count as one.

    Raises:
        UserError: a label has a single text, which no part could both hold out and learn from, or none has any.
    """
    sizes = {phrase: len(set(map(_unit, own))) for phrase, own in strata(split.examples, target).items() if own}
    if not sizes:
        raise UserError("no training example has a label, so nothing can be held out and learned from.")
    phrase, least = min(sizes.items(), key=lambda one: one[1])
    if least < 2:
        raise UserError(f"{phrase} has a single training text, which cannot be held out and learned from.")
    return least


def parts(split: Split, target: Target, n: int, seed: int | None = None) -> list[list[int]]:
    """The places of a split's examples dealt into `n` parts, every label evenly; what belongs together stays so, and
    so do equal texts, of which one would else be learned and another be held out.

    Args:
        seed: of the order in which they are dealt; None is the split's own.
    """
    examples = split.examples if seed is None else ranked(split.examples, seed)
    place_of = {id(example): place for place, example in enumerate(split.examples)}
    dealt: dict[object, int] = {}
    for own in sorted(strata(examples, target).values(), key=len):  # of several labels the rarest decides
        for example in own:
            dealt.setdefault(_unit(example), len(dealt) % n)
    found: list[list[int]] = [[] for _ in range(n)]
    for example in examples:
        part = dealt.setdefault(_unit(example), len(dealt) % n)  # an example without any label belongs to no stratum
        found[part].append(place_of[id(example)])
    return found


def _unit(example: Example) -> object:
    return text_key(example.fields) if example.group is None else example.group


def others(parts: Sequence[Sequence[int]], without: int) -> list[int]:
    """All places but those of one part, in order."""
    return sorted(place for number, own in enumerate(parts) if number != without for place in own)
