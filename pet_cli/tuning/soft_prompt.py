"""Soft prompts: pseudo tokens at the input train, the model is frozen (Lester et al., EMNLP 2021)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pet_cli.errors import UserError
from pet_cli.prompts.batch import Batch
from pet_cli.prompts.template import Template
from pet_cli.tuning.slots import check_init, soft_template, trained_vectors
from pet_cli.tuning.soft import SoftLearner


class SoftPromptLearner(SoftLearner):
    """The template's soft slots train; where it has none, `settings.length` of them stand in front.

    With `settings.conditioned` the prompt also depends on the example: a network with a bottleneck turns the mean of
    the example's input embeddings into one vector that is added to every slot, as CoCoOp (Zhou et al., CVPR 2022)
    does for images. It starts as no change at all.
    """

    def __init__(self, lm: Any, template: Template, **options: Any) -> None:
        settings = options["settings"]
        check_init(settings.init, settings.text, settings.starts_from)
        super().__init__(lm, template, **options)

    def own_template(self, template: Template) -> Template:
        return soft_template(template, self.settings.name, self.settings.length)

    def initial(self) -> Tensor:
        file = self.settings.starts_from
        return super().initial() if file is None else trained_vectors(self.lm, self.encoder, file)

    def make(self) -> None:
        super().make()
        self.network: nn.Sequential | None = None
        if not self.settings.conditioned:
            return
        if self.settings.bottleneck < 1:
            raise UserError(f"tuning.bottleneck={self.settings.bottleneck}: must be at least 1.")
        width = self.vectors.shape[1]
        last = nn.Linear(self.settings.bottleneck, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        # The mean of embeddings is small: the norm brings it to a size that the network can work with.
        self.network = nn.Sequential(
            nn.LayerNorm(width, elementwise_affine=False), nn.Linear(width, self.settings.bottleneck), nn.ReLU(), last
        ).to(self.vectors)

    def embeds(self, batch: Batch) -> Tensor | None:
        embeds = super().embeds(batch)
        if embeds is None or batch.soft is None or self.network is None:
            return embeds
        soft = batch.soft.unsqueeze(-1) >= 0
        read = batch.attention_mask.unsqueeze(-1).bool() & ~soft  # the example and the template's hard words
        mean = (embeds * read).sum(dim=1) / read.sum(dim=1)  # [B, E]
        return torch.where(soft, embeds + self.scale * self.network(mean).unsqueeze(1), embeds)

    def own_parameters(self) -> dict[str, nn.Parameter]:
        named = {} if self.network is None else dict(self.network.named_parameters())
        return {**super().own_parameters(), **{f"network.{name}": parameter for name, parameter in named.items()}}
