"""Drawing few examples: seeded, stratified, without replacement, the same on every machine and in every version.

Rows are ranked by a hash of seed and row id instead of a random generator's stream. So a sample of 16 is part of the
sample of 64 of the same seed, and a learning curve over the number of examples adds examples instead of changing them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from pet_cli.data.examples import Example
from pet_cli.errors import UserError
from pet_cli.tasks.targets import Target


def ranked(examples: Sequence[Example], seed: int) -> list[Example]:
    """All examples in the random order of `seed`; those of one group stay together, in their own order."""

    def key(example: Example) -> bytes:
        own = example.row if example.group is None else f"group {example.group}"
        return hashlib.blake2b(f"{seed}/{own}".encode(), digest_size=16).digest()

    return sorted(examples, key=key)


def strata(examples: Sequence[Example], target: Target) -> dict[str, list[Example]]:
    """What shots are counted by: labels, halves of numbers, or all examples together where they are answers to
    questions or bring their own candidates; each with a phrase for messages."""
    if any(example.group is not None for example in examples):
        return {"the task": list(examples)}
    found = target.strata([example.gold for example in examples])
    return {phrase: [examples[place] for place in places] for phrase, places in found.items()}


def k_shot(
    examples: Sequence[Example],
    target: Target,
    shots: int | None,
    seed: int,
    dev_shots: int = 0,
    take_fewer: bool = False,
) -> tuple[list[Example], list[Example]]:
    """Draws `shots` training and `dev_shots` further development examples of each stratum (see `strata`).

    An example with several labels counts for each of them. `shots=None` takes the rest, though a label may be missing
    in it. Of what belongs together (the answers to a question) nothing is learned where some of it is for development.

    Args:
        take_fewer: takes what there is of a label with too few, instead of raising.

    Raises:
        UserError: a label has fewer examples than asked for.
    """
    order = ranked([example for example in examples if example.gold is not None], seed)
    by_stratum = strata(order, target)
    wanted = dev_shots + (int(dev_shots > 0) if shots is None else shots)
    for phrase, own in by_stratum.items():
        if len(own) < wanted and not take_fewer:
            asked = f"data.shots={'null' if shots is None else shots}"
            asked += f" and data.dev_shots={dev_shots}" if dev_shots else ""
            raise UserError(
                f"{asked}: {phrase} has only {len(own)} training examples (data.fewer=take takes what there is"
                f"{'' if shots is None else ', data.shots=null the whole split'})."
            )
    train = set() if shots is None else _first(by_stratum.values(), shots, set())
    dev = _first(by_stratum.values(), dev_shots, _together(order, train))
    if len(dev) < dev_shots and not take_fewer and any(example.group is not None for example in order):
        raise UserError(
            f"data.dev_shots={dev_shots}: {len(dev)} training examples are left that belong to no question of the "
            "training sample (data.fewer=take takes these)."
        )
    if shots is None:
        train = {example.row for example in order} - _together(order, dev)
    return [e for e in order if e.row in train], [e for e in order if e.row in dev]


def _together(examples: Sequence[Example], rows: set[int]) -> set[int]:
    """Rows, and those that belong together with one of them."""
    groups = {example.group for example in examples if example.row in rows} - {None}
    return rows | {example.row for example in examples if example.group in groups}


def _first(strata: Iterable[Sequence[Example]], n: int, without: set[int]) -> set[int]:
    """The rows of the first `n` examples of each stratum, of those that are not taken yet."""
    return {row for own in strata for row in [example.row for example in own if example.row not in without][:n]}


def capped(examples: Sequence[Example], most: int | None, seed: int) -> list[Example]:
    """At most `most` examples, drawn by `seed`, in their original order; a group whole or not at all.

    A group that alone is larger than `most` is cut.
    """
    if most is None or len(examples) <= most:
        return list(examples)
    order = ranked(examples, seed)
    end = most
    group = order[most].group
    if group is not None and order[most - 1].group == group:
        end = next(place for place, example in enumerate(order) if example.group == group) or most
    chosen = {example.row for example in order[:end]}
    return [example for example in examples if example.row in chosen]
