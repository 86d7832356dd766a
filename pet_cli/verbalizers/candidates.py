"""The candidates that each example brings stand at the mask: what they score is the answer.

Schick and Schütze, "It's Not Just Size That Matters: Small Language Models Are Also Few-Shot Learners", NAACL 2021,
score COPA's so; the loss here is plain cross-entropy over an example's candidates.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pet_cli.verbalizers.base import MaskOutput, Verbalizer

_NEVER = -1e4
"""In place of -inf where a target of 0 would be multiplied with it."""


class CandidatesVerbalizer(Verbalizer):
    """Label scores are the scores of the candidates, `[batch, candidates]`; -inf where an example has fewer."""

    asks_words = False

    def forward(self, mask: MaskOutput) -> Tensor:
        assert mask.candidates is not None
        return mask.word_scores(mask.candidates)

    def loss(self, mask: MaskOutput, targets: Tensor, weight: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Cross-entropy over the candidates; targets are indices `[batch]`, or probabilities `[batch, any number]`."""
        scores = self(mask).clamp(min=_NEVER)
        if targets.is_floating_point():
            targets = F.pad(targets, (0, scores.shape[1] - targets.shape[1]))
        return F.cross_entropy(scores / temperature, targets.to(scores.device)) * temperature**2
