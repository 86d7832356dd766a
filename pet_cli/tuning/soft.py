"""What the modes with trainable vectors at the input share."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pet_cli.errors import UserError
from pet_cli.prompts import Batch
from pet_cli.tuning.frozen import FrozenLearner
from pet_cli.tuning.slots import initial_vectors


class SoftLearner(FrozenLearner):
    """Vectors of its own in place of the embeddings at the template's soft slots.

    Attributes:
        vectors: `[slots, embedding]`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        slots, most = self.encoder.slots, min(self.lm.positions, self.max_length)
        if slots >= most:
            raise UserError(
                f"template '{self.template.source}' has {slots} trainable tokens: no room for a text in the {most} "
                f"tokens of a prompt (the model takes {self.lm.positions}, trainer.max_length is {self.max_length})."
            )

    def make(self) -> None:
        self.vectors = nn.Parameter(self.initial())

    def initial(self) -> Tensor:
        """What the vectors start as, `[slots, embedding]`."""
        return initial_vectors(
            self.lm,
            self.encoder,
            getattr(self.settings, "init", "vocab"),
            getattr(self.settings, "text", None),
            self.word_ids,
        )

    def prompt_vectors(self) -> Tensor:
        """The vectors as they stand, `[slots, embedding]`, for every example alike."""
        return self.vectors

    def embeds(self, batch: Batch) -> Tensor | None:
        if batch.soft is None:
            return None
        looked_up = self.lm.model.get_input_embeddings()(batch.input_ids)  # [B, T, E]
        own = F.embedding(batch.soft.clamp(min=0), self.prompt_vectors()).to(looked_up.dtype)  # [B, T, E]
        return torch.where(batch.soft.unsqueeze(-1) >= 0, own, looked_up)

    def own_parameters(self) -> dict[str, nn.Parameter]:
        return {"vectors": self.vectors}
