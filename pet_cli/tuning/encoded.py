"""A split as a learner takes it: its prompts, and what was computed of them once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pet_cli.prompts.batch import Prompt
from pet_cli.prompts.query import Answers


@dataclass
class Encoded:
    """A split ready for a learner.

    Attributes:
        prompts: one for each example; where demonstrations are drawn several times, one for each draw, those of the
            first draw before those of the next.
        states: what of the frozen model was computed once, `[examples, masks, hidden]`, or None.
        candidates: the answers that each example brings, or None.
        draws: how many prompts each example has.
    """

    prompts: list[Prompt]
    states: Tensor | None = None
    candidates: list[Answers] | None = None
    draws: int = 1

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def examples(self) -> int:
        return len(self.prompts) // self.draws

    def part(self, places: Sequence[int]) -> Encoded:
        """Some of the examples by their places."""
        places = [draw * self.examples + place for draw in range(self.draws) for place in places]
        states = None if self.states is None else self.states[places]
        candidates = None if self.candidates is None else [self.candidates[place] for place in places]
        return Encoded([self.prompts[place] for place in places], states, candidates, self.draws)

    @property
    def shortened(self) -> int:
        """How many examples lost tokens."""
        return sum(prompt.cut > 0 for prompt in self.prompts[: self.examples])

    @property
    def lacking(self) -> int:
        """How many examples left no room for all of their demonstrations."""
        lacks = [prompt.lacks > 0 for prompt in self.prompts]
        return sum(any(lacks[place :: self.examples]) for place in range(self.examples))
