"""[CLS] fine-tuning: a new linear layer on the encoder, no cloze (the third era's way, and PET's student)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from pet_cli.tuning.base import Encoded, Learner, decay_groups


class ClassifierLearner(Learner):
    """The whole encoder and a new linear layer train; the template is the plain input."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.linear = nn.Linear(self.lm.width, len(self.labels)).to(self.lm.device)
        self.begin()

    def begin(self) -> None:
        # Drawn from the global generator, which the trainer's seed has set.
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def label_scores(self, encoded: Encoded, indices: Sequence[int]) -> Tensor:
        batch = self.lm.collate([encoded.prompts[i] for i in indices])
        return self.linear(self.lm.pooled(batch, self.settings.pooling))  # type: ignore[no-any-return]

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        body = decay_groups(list(self.lm.model.base_model.named_parameters()), learning_rate)
        head = {"params": list(self.linear.parameters()), "lr": max(learning_rate, self.settings.head_learning_rate)}
        return [*body, head]

    def trained_state(self) -> dict[str, Tensor]:
        return {"linear.weight": self.linear.weight, "linear.bias": self.linear.bias}
