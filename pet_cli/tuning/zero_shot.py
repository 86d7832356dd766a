"""Zero-shot: the pretrained head scores the label words as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pet_cli.prompts.template import Template
from pet_cli.tuning.base import Advance, Encoded, PromptLearner
from pet_cli.tuning.slots import hard_template


class ZeroShotLearner(PromptLearner):
    """Nothing trains, unless the verbalizer does (`scoring.combine=learned`, `scoring=soft`).

    The states at the mask are computed once for a split, whatever label words are asked for, unless the model has to
    read the words themselves: those of several tokens.
    """

    lm_loss_trains = False

    def own_template(self, template: Template) -> Template:
        return hard_template(template, self.settings.name, leave_out=True)

    def encode(
        self,
        rows: Sequence[Mapping[str, str]],
        fingerprint: str | None = None,
        advance: Advance | None = None,
        candidates: Sequence[Sequence[str]] | None = None,
    ) -> Encoded:
        encoded = super().encode(rows, fingerprint, candidates=candidates)
        asked = encoded.candidates or (self.answers if self.verbalizer.asks_words else None)
        if asked is not None and not self.lm.reads_states(asked):
            return encoded
        return replace(encoded, states=self.frozen_states(encoded, fingerprint, advance))
