"""Zero-shot: the pretrained head scores the label words as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pet_cli.tuning.base import Advance, Encoded, PromptLearner


class ZeroShotLearner(PromptLearner):
    """Nothing trains, unless the verbalizer's word weights do (`scoring.combine=learned`).

    The encoder's states at the mask are computed once for a split, whatever label words are asked for.
    """

    def encode(
        self, rows: Sequence[Mapping[str, str]], fingerprint: str | None = None, advance: Advance | None = None
    ) -> Encoded:
        encoded = super().encode(rows, fingerprint)
        return Encoded(encoded.prompts, self.frozen_states(encoded, fingerprint, advance))
