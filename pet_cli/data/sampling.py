"""Drawing few examples: seeded, stratified, without replacement, the same on every machine and in every version.

Rows are ranked by a hash of seed and row id instead of a random generator's stream. So a sample of 16 is part of the
sample of 64 of the same seed, and a learning curve over the number of examples adds examples instead of changing them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pet_cli.data.examples import Example
from pet_cli.errors import UserError


def ranked(examples: Sequence[Example], seed: int) -> list[Example]:
    """All examples in the random order of `seed`."""

    def key(example: Example) -> bytes:
        return hashlib.blake2b(f"{seed}/{example.row}".encode(), digest_size=16).digest()

    return sorted(examples, key=key)


def k_shot(
    examples: Sequence[Example],
    labels: Sequence[str],
    shots: int | None,
    seed: int,
    dev_shots: int = 0,
    take_fewer: bool = False,
) -> tuple[list[Example], list[Example]]:
    """Draws `shots` training and `dev_shots` further development examples of each label.

    `shots=None` takes the rest, though a label may be missing in it.

    Args:
        take_fewer: takes what there is of a label with too few, instead of raising.

    Raises:
        UserError: a label has fewer examples than asked for.
    """
    order = ranked(examples, seed)
    train: list[Example] = []
    dev: list[Example] = []
    for index, label in enumerate(labels):
        own = [example for example in order if example.label == index]
        wanted = dev_shots + (int(dev_shots > 0) if shots is None else shots)
        if len(own) < wanted and not take_fewer:
            asked = f"data.shots={'null' if shots is None else shots}"
            asked += f" and data.dev_shots={dev_shots}" if dev_shots else ""
            raise UserError(
                f"{asked}: label '{label}' has only {len(own)} training examples (data.fewer=take takes what there is"
                f"{'' if shots is None else ', data.shots=null the whole split'})."
            )
        dev += own[:dev_shots] if shots is None else own[shots : shots + dev_shots]
        train += own[dev_shots:] if shots is None else own[:shots]
    return ranked(train, seed), ranked(dev, seed)


def capped(examples: Sequence[Example], most: int | None, seed: int) -> list[Example]:
    """At most `most` examples, drawn by `seed`, in their original order."""
    if most is None or len(examples) <= most:
        return list(examples)
    chosen = {example.row for example in ranked(examples, seed)[:most]}
    return [example for example in examples if example.row in chosen]
