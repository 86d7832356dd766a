"""The verbalizer: label words, and how their scores at the mask become scores of labels.

Word scores are logits, equal to log-probabilities over the vocabulary up to a constant of the example. Every
combination here moves with that constant, and the softmax over labels cancels it, so only the label words' columns
of the vocabulary projection are ever needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pet_cli.errors import UserError


@dataclass(frozen=True)
class Verbalizer:
    """Label words as written, and the rule that combines their scores.

    Attributes:
        words: label -> word -> weight, from `verbalizer_words.parse_words`.
        combine: how the scores of a label's words become the label's score; with one word per label, all agree.
            `mean`: log of the mean of the words' probabilities. `max`: the best word's log-probability.
            `sum`: log of the sum of their probabilities, which favours a label with more words.
            `weighted`: log of the weighted mean of their probabilities, weights from the YAML.
            `learned`: as `weighted`, the weights trained, starting equal.
            `vote`: the i-th words of all labels are one word set; in training the cross-entropies of all word sets
            are added, at inference each set votes for a label (ties go to the higher mean probability).
    """

    words: Mapping[str, Mapping[str, float]]
    combine: str = "mean"

    def __post_init__(self) -> None:
        counts = {len(words) for words in self.words.values()}
        if self.combine == "vote" and len(counts) > 1:
            raise UserError("scoring.combine=vote needs the same number of words for every label.")

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

    @property
    def sets(self) -> list[list[int]]:
        """The columns of each word set, one for each label (for `vote`)."""
        starts = [self.owners.index(index) for index in range(len(self.words))]
        return [[start + i for start in starts] for i in range(len(next(iter(self.words.values()))))]

    def log_weights(self) -> Tensor:
        """The normalised log-weights of the words within their label, `[words]`."""
        weights = []
        for words in self.words.values():
            if self.combine == "weighted":
                total = sum(words.values())
                weights += [value / total for value in words.values()]
            elif self.combine == "sum":
                weights += [1.0] * len(words)
            else:
                weights += [1.0 / len(words)] * len(words)
        return torch.tensor(weights).log()

    def label_scores(self, word_scores: Tensor, learned: Tensor | None = None) -> Tensor:
        """Word scores `[batch, words]` to label scores `[batch, labels]`, log-probabilities up to a constant.

        Args:
            learned: for `learned`, the trained raw weights `[words]`; a softmax within each label makes them weights.
        """
        if len(self.owners) == len(self.words) and self.combine != "vote":
            return word_scores  # one word per label: all combinations agree
        if self.combine == "vote":
            return self._votes(word_scores)
        groups = _groups(self.owners, word_scores.device)
        out = []
        log_weights = self.log_weights().to(word_scores)
        for columns in groups:
            scores = word_scores[:, columns]
            if self.combine == "max":
                out.append(scores.amax(dim=1))
            else:
                weights = log_weights[columns]
                if self.combine == "learned" and learned is not None:
                    weights = F.log_softmax(learned[columns], dim=0)
                out.append(torch.logsumexp(scores + weights, dim=1))
        return torch.stack(out, dim=1)

    def _votes(self, word_scores: Tensor) -> Tensor:
        """Log of each label's share of votes; a tie is broken by the mean probability, a hundredth of a vote."""
        sets = torch.tensor(self.sets, device=word_scores.device)  # (S, L)
        probabilities = word_scores[:, sets].softmax(dim=-1)  # (B, S, L)
        best = (probabilities == probabilities.amax(dim=-1, keepdim=True)).to(probabilities)
        votes = (best / best.sum(dim=-1, keepdim=True)).mean(dim=1)  # labels that tie in a set share its vote
        return (0.99 * votes + 0.01 * probabilities.mean(dim=1)).log()

    def loss(self, word_scores: Tensor, targets: Tensor, weight: Tensor | None, learned: Tensor | None) -> Tensor:
        """Cross-entropy of the labels given word scores `[batch, words]`; targets are indices or probabilities."""
        if self.combine == "vote":
            return torch.stack(
                [F.cross_entropy(word_scores[:, columns], targets, weight=weight) for columns in self.sets]
            ).sum()
        return F.cross_entropy(self.label_scores(word_scores, learned), targets, weight=weight)


def _groups(owners: Sequence[int], device: torch.device) -> list[Tensor]:
    owner = torch.tensor(owners)
    return [torch.nonzero(owner == label).flatten().to(device) for label in range(max(owners) + 1)]
