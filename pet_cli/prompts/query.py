"""What is asked of a model: a prompt, and the answers that may stand at its mask. Knows token ids, nothing of text."""

from __future__ import annotations

from dataclasses import dataclass

from pet_cli.prompts.batch import Prompt


@dataclass(frozen=True)
class Answers:
    """What may stand at a mask.

    Attributes:
        ids: the token ids of each answer, one or several.
        mean: whether an answer of several tokens scores the mean log-probability of its tokens (as Brown et al. 2020,
            section 2.4, compare answers of unequal length), or their sum.
    """

    ids: tuple[tuple[int, ...], ...]
    mean: bool = True

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def longest(self) -> int:
        """The most tokens of an answer; 0 without any."""
        return max(map(len, self.ids), default=0)


@dataclass(frozen=True)
class Query:
    """A prompt with its answers; one object of `Answers` where queries share them."""

    prompt: Prompt
    answers: Answers
