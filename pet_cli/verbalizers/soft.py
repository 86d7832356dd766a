"""A trained vector for each label at the mask, in place of its words (`scoring=soft`).

Hambardzumyan, Khachatrian and May, "WARP: Word-level Adversarial ReProgramming", ACL 2021.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pet_cli.models.base import LanguageModel
from pet_cli.prompts.query import Answers
from pet_cli.verbalizers.base import MaskOutput, Verbalizer


class SoftVerbalizer(Verbalizer):
    """The label vectors stand where the words' rows of the vocabulary projection do, behind a masked LM's head.

    With `settings.init=words` they start as those rows (the mean over a label's words, and over a word's tokens), so
    that untrained, with one word of one token for each label, they score as the words do. Rates and the pull towards
    the start are in units of the model's own rows, whose size differs between models.

    Attributes:
        vectors: `[labels, embedding]`.
        bias: `[labels]`.
        start: what the vectors started as.
        scale: the root mean square of the projection's rows.
    """

    asks_words = False
    start: Tensor

    def bind(self, lm: LanguageModel, answers: Answers) -> None:
        super().bind(lm, answers)
        weight, bias = (None if part is None else part.detach().float() for part in lm.projection)
        assert weight is not None
        self.scale = float(weight.square().mean().sqrt())
        if self.settings.init == "words":
            vectors = self._of_words(weight)
        else:  # drawn on the CPU: the same anywhere
            vectors = (self.scale * torch.randn(len(self.words), weight.shape[1])).to(weight)
        words_bias = vectors.new_zeros(len(self.words)) if bias is None else self._of_words(bias.unsqueeze(1))[:, 0]
        self.vectors = nn.Parameter(vectors)
        self.bias = nn.Parameter(words_bias if self.settings.init == "words" else torch.zeros_like(words_bias))
        self.register_buffer("start", vectors.clone(), persistent=False)

    def _of_words(self, rows: Tensor) -> Tensor:
        """Rows of the vocabulary `[vocabulary, N]` in the weighted mean of each label's words, `[labels, N]`."""
        means = torch.stack([rows[list(ids)].mean(dim=0) for ids in self.answers.ids])
        weights = means.new_zeros(len(self.words), len(means))
        weights[self.owners, range(len(means))] = weights.new_tensor(
            [w for own in self.words.values() for w in own.values()]
        )
        return weights / weights.sum(dim=1, keepdim=True) @ means

    def forward(self, mask: MaskOutput) -> Tensor:
        return F.linear(mask.features, self.vectors, self.bias)

    def penalty(self, examples: int) -> Tensor | None:
        """An L2-SP penalty (Li et al. 2018) whose pull fades as examples come in, as of a Gaussian prior."""
        if not self.settings.anchor:
            return None
        distance = ((self.vectors - self.start) / self.scale).square().mean(dim=1).sum()
        return self.settings.anchor / examples * distance

    def parameter_groups(self) -> list[dict[str, Any]]:
        rate = self.settings.learning_rate * self.scale
        return [{"params": [self.vectors, self.bias], "lr": rate, "weight_decay": 0.0}]
