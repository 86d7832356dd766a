"""What every verbalizer is: a module from what a model says at the mask to scores of labels, and its loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from pet_cli.models.base import LanguageModel
from pet_cli.prompts.query import Answers


class MaskOutput(ABC):
    """What a model says at the mask of each prompt of a batch, each thing computed when it is first asked for.

    A verbalizer that asks for no words costs no column of the vocabulary projection; one that asks for words of
    several tokens alone costs no states.
    """

    @property
    @abstractmethod
    def states(self) -> Tensor:
        """The states that predict what stands at the mask, `[batch, hidden]`, float32."""

    @property
    @abstractmethod
    def features(self) -> Tensor:
        """The states as they enter the vocabulary projection, behind a masked LM's head, `[batch, embedding]`."""

    candidates: Sequence[Answers] | None
    """The answers that each example brings, where the task has such."""

    @abstractmethod
    def word_scores(self, answers: Answers | Sequence[Answers]) -> Tensor:
        """Scores of answers at the mask, `[batch, answers]`: log-probabilities up to a constant of the example.

        Args:
            answers: those of all examples, or one object for each; -inf stands where an example has fewer.
        """


class Verbalizer(nn.Module, ABC):
    """From what stands at the mask to scores of labels. What it trains are its parameters.

    Args:
        words: label -> word -> weight, from `words.parse_words`.
        settings: the verbalizer's own settings, from `config.scoring`.

    Attributes:
        answers: the tokens of all words, label after label, once a learner has bound it to its model.
    """

    asks_words: ClassVar[bool] = True
    """Whether it scores the label words themselves, which in a masked LM are then one token each."""

    answers: Answers

    def __init__(self, words: Mapping[str, Mapping[str, float]], settings: Any) -> None:
        super().__init__()
        self.words = words
        self.settings = settings

    def bind(self, lm: LanguageModel, answers: Answers) -> None:
        """Takes the tokens that a model has for the words; draws come from the global generator."""
        self.answers = answers

    @property
    def labels(self) -> list[str]:
        return list(self.words)

    @property
    def flat(self) -> list[str]:
        """All words, label after label: the order of the columns of word scores."""
        return [word for words in self.words.values() for word in words]

    @property
    def owners(self) -> list[int]:
        """The label index of every column."""
        return [index for index, words in enumerate(self.words.values()) for _ in words]

    @abstractmethod
    def forward(self, mask: MaskOutput) -> Tensor:
        """Scores of labels `[batch, labels]`; their softmax is the prediction."""

    def loss(self, mask: MaskOutput, targets: Tensor, weight: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """The cross-entropy of the labels `[]`.

        Args:
            targets: label indices `[batch]` or label probabilities `[batch, labels]`.
            weight: how much each label counts, `[labels]`.
            temperature: T divides the scores, and T^2 multiplies the loss (Hinton et al. 2015).
        """
        return F.cross_entropy(self(mask) / temperature, targets, weight=weight) * temperature**2

    def penalty(self, examples: int) -> Tensor | None:
        """What the loss gains for what the parameters have become `[]`, by how many training examples there are."""
        return None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What trains, as the optimizer's groups: at a rate of their own, without decay."""
        return []
