"""Label words (`scoring=words`): how the scores of a label's words at the mask become the label's score.

Word scores are logits, equal to log-probabilities over the vocabulary up to a constant of the example. Every
combination here moves with that constant, and the softmax over labels cancels it, so only the label words' columns
of the vocabulary projection are ever needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pet_cli.errors import UserError
from pet_cli.verbalizers.base import MaskOutput, Verbalizer


class ManualVerbalizer(Verbalizer):
    """Words that a person wrote down, and `settings.combine`, how their scores combine.

    With one word per label, all rules agree, but for the weights of `sum`.

    * `mean`: log of the mean of the words' probabilities.
    * `max`: the best word's log-probability.
    * `sum`: log of the sum of their probabilities, each times its weight in the YAML, 1 where none is written; it
      favours a label with more words, or larger weights.
    * `weighted`: log of the weighted mean of their probabilities, weights from the YAML.
    * `learned`: as `weighted`, the weights trained, starting equal.
    * `vote`: the i-th words of all labels are one word set; in training the cross-entropies of all word sets are
      added, at inference each set votes for a label (ties go to the higher mean probability).

    Attributes:
        columns: the columns of each label's words in word scores, padded with 0, `[labels, words of a label]`.
        padding: where `columns` is padding.
        log_weights: the normalised log-weights of the words within their label, -inf in the padding.
        word_weights: for `learned`, the trained raw weights `[words]`; a softmax within each label makes them weights.
    """

    columns: Tensor
    padding: Tensor
    log_weights: Tensor

    def __init__(self, words: Mapping[str, Mapping[str, float]], settings: Any) -> None:
        super().__init__(words, settings)
        counts = [len(own) for own in words.values()]
        if settings.combine == "vote" and len(set(counts)) > 1:
            raise UserError("scoring.combine=vote needs the same number of words for every label.")
        places = torch.arange(max(counts)).expand(len(counts), -1)  # [labels, words of a label]
        padding = places >= torch.tensor(counts).unsqueeze(1)
        starts = torch.tensor(counts).cumsum(0).unsqueeze(1) - torch.tensor(counts).unsqueeze(1)
        log_weights = torch.zeros(padding.shape)
        log_weights[~padding] = torch.tensor([w for own in words.values() for w in self._weights(own)]).log()
        self.register_buffer("padding", padding, persistent=False)
        self.register_buffer("columns", (starts + places).masked_fill(padding, 0), persistent=False)
        self.register_buffer("log_weights", log_weights.masked_fill(padding, -torch.inf), persistent=False)
        self.word_weights = nn.Parameter(torch.zeros(sum(counts))) if settings.combine == "learned" else None

    def _weights(self, words: Mapping[str, float]) -> list[float]:
        """The weights of a label's words, which sum to 1 but for `sum`."""
        if self.settings.combine == "sum":
            return list(words.values())
        if self.settings.combine == "weighted":
            return [weight / sum(words.values()) for weight in words.values()]
        return [1 / len(words)] * len(words)

    def forward(self, mask: MaskOutput) -> Tensor:
        return self.label_scores(mask.word_scores(self.answers))

    def label_scores(self, word_scores: Tensor) -> Tensor:
        """Word scores `[batch, words]` to label scores `[batch, labels]`, log-probabilities up to a constant."""
        if self.settings.combine == "vote":
            return self._votes(word_scores)
        if self.columns.shape[1] == 1:
            return word_scores + self.log_weights[:, 0]  # one word per label: all combinations agree, but for weights
        scores = word_scores[:, self.columns]  # [batch, labels, words of a label]
        if self.settings.combine == "max":
            return scores.masked_fill(self.padding, -torch.inf).amax(dim=-1)
        log_weights = self.log_weights
        if self.word_weights is not None:
            log_weights = self.word_weights[self.columns].masked_fill(self.padding, -torch.inf).log_softmax(dim=-1)
        return torch.logsumexp(scores + log_weights, dim=-1)

    def _votes(self, word_scores: Tensor) -> Tensor:
        """Log of each label's share of votes; a tie is broken by the mean probability, which never outweighs a vote."""
        probabilities = word_scores[:, self.columns].softmax(dim=1)  # of the labels in each word set
        best = (probabilities == probabilities.amax(dim=1, keepdim=True)).to(probabilities)
        votes = (best / best.sum(dim=1, keepdim=True)).mean(dim=-1)  # labels that tie in a set share its vote
        tie = min(0.01, 0.5 / self.columns.shape[1])  # less than the share of one vote, however many word sets
        return ((1 - tie) * votes + tie * probabilities.mean(dim=-1)).log()

    def loss(self, mask: MaskOutput, targets: Tensor, weight: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        if self.settings.combine != "vote":
            return super().loss(mask, targets, weight, temperature)
        sets = (mask.word_scores(self.answers) / temperature)[:, self.columns].unbind(dim=-1)  # [batch, labels] each
        return torch.stack([F.cross_entropy(one, targets, weight=weight) for one in sets]).sum() * temperature**2

    def penalty(self, examples: int) -> Tensor | None:
        if self.word_weights is None:
            return None
        return self.settings.learned_penalty * self.word_weights.square().sum()  # towards equal weights

    def parameter_groups(self) -> list[dict[str, Any]]:
        if self.word_weights is None:
            return []
        return [{"params": [self.word_weights], "lr": self.settings.learned_rate, "weight_decay": 0.0}]
