"""Zero-shot: the pretrained head scores the label words as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pet_cli.prompts.template import Template
from pet_cli.tuning.base import Advance, Encoded, PromptLearner
from pet_cli.tuning.slots import hard_template


class ZeroShotLearner(PromptLearner):
    """Nothing trains, unless the verbalizer's word weights do (`scoring.combine=learned`).

    A masked LM's states at the mask are computed once for a split, whatever label words are asked for.
    """

    def own_template(self, template: Template) -> Template:
        return hard_template(template, self.settings.name, leave_out=True)

    def encode(
        self, rows: Sequence[Mapping[str, str]], fingerprint: str | None = None, advance: Advance | None = None
    ) -> Encoded:
        encoded = super().encode(rows, fingerprint)
        if self.lm.family != "masked":  # their states depend on the label words
            return encoded
        return Encoded(encoded.prompts, self.frozen_states(encoded, fingerprint, advance))
