"""Full tuning: the whole model trains on the cloze (PET's members; Schick & Schütze, EACL 2021)."""

from __future__ import annotations

from typing import Any

from pet_cli.tuning.base import PromptLearner, decay_groups


class FullLearner(PromptLearner):
    """Every weight of the model trains."""

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        return decay_groups(list(self.lm.model.named_parameters()), learning_rate) + super().parameter_groups(
            learning_rate
        )
