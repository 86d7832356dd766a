"""Full tuning: the whole model trains on the cloze (PET's members; Schick & Schütze, EACL 2021)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pet_cli.tuning.base import PromptLearner, decay_groups


class FullLearner(PromptLearner):
    """Every weight of the model trains."""

    trains_model = True

    def begin(self) -> None:
        self.lm.model.train(self.settings.dropout)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        return decay_groups(list(self.lm.model.named_parameters()), learning_rate) + super().parameter_groups(
            learning_rate
        )

    def small_parts(self) -> dict[str, Tensor]:
        return super().small_parts()
