"""One model trained on several templates' views of each example (`ensemble.models=shared`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pet_cli.data.examples import Split
from pet_cli.tuning.base import Advance, AtMask, Encoded, Learner, PromptLearner


class ViewsLearner(Learner):
    """Several prompt learners on one model: example i of view v is row `v * examples + i` of what it encodes.

    A batch mixes views; the encoder runs once for it, and each view scores its own label words.
    """

    trains_model = True

    def __init__(self, views: Sequence[PromptLearner]) -> None:
        first = views[0]
        super().__init__(
            first.lm, first.template, first.labels, first.settings, first.max_length, first.batch_size, first.memo
        )
        self.views = list(views)

    def spread(self, splits: Mapping[str, Split]) -> dict[str, Split]:
        """The training split once for each view; without a development set, which is a matter of one view."""
        if "train" not in splits:
            return {}
        return {"train": Split("train", splits["train"].examples * len(self.views))}

    def encode(
        self, rows: Sequence[Mapping[str, str]], fingerprint: str | None = None, advance: Advance | None = None
    ) -> Encoded:
        """Encodes rows that `spread` repeated: the first share by the first view, and so on."""
        own = len(rows) // len(self.views)
        prompts = []
        for number, view in enumerate(self.views):
            prompts += view.encoder.encode(rows[number * own : (number + 1) * own])
        return Encoded(prompts)

    def begin(self) -> None:
        for view in self.views:
            view.begin()

    def end(self) -> None:
        for view in self.views:
            view.end()

    def modules(self) -> list[nn.Module]:
        return [module for view in self.views for module in view.modules()]

    def label_scores(self, encoded: Encoded, indices: Sequence[int]) -> Tensor:
        own = len(encoded) // len(self.views)
        if not self.lm.single_token_words:
            return self._one_by_one(encoded, indices, own)
        prompts = [encoded.prompts[i] for i in indices]
        states = self.lm.states(self.lm.collate(prompts))[:, 0]
        scores = states.new_zeros(len(indices), len(self.labels))
        for number, view in enumerate(self.views):
            own_places = [place for place, index in enumerate(indices) if index // own == number]
            if own_places:
                mine = torch.tensor(own_places, device=states.device)
                mask = AtMask(view, [prompts[place] for place in own_places], states[mine])
                scores = scores.index_copy(0, mine, view.verbalizer(mask))
        return scores

    def _one_by_one(self, encoded: Encoded, indices: Sequence[int], own: int) -> Tensor:
        """As `label_scores`, each view with its own rows: what the model computes depends on the label words."""
        scores = torch.zeros(len(indices), len(self.labels), device=self.lm.device)
        for number, view in enumerate(self.views):
            mine = [place for place, index in enumerate(indices) if index // own == number]
            if mine:
                said = view.label_scores(encoded, [indices[place] for place in mine])
                scores = scores.index_copy(0, torch.tensor(mine, device=scores.device), said)
        return scores

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        groups = self.views[0].parameter_groups(learning_rate)
        for view in self.views[1:]:
            groups += PromptLearner.parameter_groups(view, learning_rate)
        return groups

    def trained_state(self) -> dict[str, Tensor]:
        return {f"{n}.{name}": t for n, view in enumerate(self.views) for name, t in view.trained_state().items()}
