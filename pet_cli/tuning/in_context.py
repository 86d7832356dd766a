"""Demonstrations in a learner's prompts: which of them a text is shown, by the model's own sight of it where asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from pet_cli.models.base import evaluating
from pet_cli.prompts.batch import Prompt, buckets
from pet_cli.prompts.context import ContextEncoder
from pet_cli.prompts.demonstrations import Demonstrations
from pet_cli.prompts.encoder import PromptEncoder
from pet_cli.prompts.template import parse_plain, plain_template
from pet_cli.tuning.slots import hard_template

if TYPE_CHECKING:
    from pet_cli.tuning.base import PromptLearner

Rows = Sequence[Mapping[str, str]]


class InContext:
    """Shows a learner's model demonstrations with every text.

    They are filled into the template without its trainable tokens, but for those that start as words, which stand there
    as words; a label is said by the first of its words.
    """

    def __init__(self, learner: PromptLearner, demonstrations: Demonstrations) -> None:
        self.learner = learner
        self.demonstrations = demonstrations
        lm, verbalizer = learner.lm, learner.verbalizer
        hard = hard_template(learner.template, learner.settings.name, leave_out=True)
        first = [verbalizer.owners.index(label) for label in range(len(learner.labels))]
        self.encoder = ContextEncoder(
            lm.tokenizer,
            lm.adapt_answered(hard),
            demonstrations,
            [learner.answers.ids[place] for place in first],
            learner.max_length,
            lm.mask_token,
            lm.demonstrations_stand,
        )

    @property
    def key(self) -> str | None:
        """Identifies what is shown, label words included; None where that goes by a model that training changes."""
        if self.demonstrations.nearest and self.learner.trains_model:
            return None
        return f"{self.demonstrations.fingerprint} {self.encoder.words}"

    @property
    def draws(self) -> int:
        return self.demonstrations.draws

    def prompts(self, queries: Sequence[Prompt], rows: Rows) -> list[Prompt]:
        """The prompts of the queries with demonstrations: all of the first draw, then all of the next."""
        shown = self.demonstrations
        likeness: Sequence[np.ndarray | None] = list(self.likeness(rows)) if shown.nearest else [None] * len(rows)
        apart = shown.nearest or self.encoder.place != "before"
        return [
            self.encoder.put(query, shown.choose(row, draw, apart=apart, likeness=like))
            for draw in range(shown.draws)
            for query, row, like in zip(queries, rows, likeness, strict=True)
        ]

    def likeness(self, rows: Rows) -> np.ndarray:
        """How like each text is to each demonstration, `[texts, demonstrations]`: the cosine of the mean of the model's
        states over the tokens of each, without the mean over the demonstrations, which all texts share."""
        own = self._vectors([one.fields for one in self.demonstrations.examples])
        middle = own.mean(dim=0)
        unit = torch.nn.functional.normalize
        found: np.ndarray = (unit(self._vectors(rows) - middle, dim=1) @ unit(own - middle, dim=1).T).cpu().numpy()
        return found

    @torch.no_grad()
    def _vectors(self, rows: Rows) -> torch.Tensor:
        """The mean state of each plain text, `[texts, hidden]`, float32."""
        learner, lm = self.learner, self.learner.lm
        plain = lm.adapt(parse_plain(plain_template(list(rows[0]))))
        prompts = PromptEncoder(lm.tokenizer, plain, learner.max_length, lm.mask_token).encode(rows)
        out = torch.zeros(len(prompts), lm.width, device=lm.device)
        with evaluating(lm.model):
            for indices in buckets([len(prompt.ids) for prompt in prompts], learner.batch_size):
                out[indices] = lm.pooled(lm.collate([prompts[i] for i in indices]), "mean")
        return out
