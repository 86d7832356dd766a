"""One model trained on several templates' views of each example (`ensemble.models=shared`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pet_cli.data.examples import Split
from pet_cli.tuning.at_mask import AtMask
from pet_cli.tuning.base import Advance, Encoded, Learner, PromptLearner


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

    @staticmethod
    def spread(splits: Mapping[str, Split], views: int) -> dict[str, Split]:
        """The training and development split once for each view: a checkpoint's score is the mean over the views."""
        return {name: Split(name, splits[name].examples * views) for name in ("train", "dev") if splits.get(name)}

    def encode(
        self,
        rows: Sequence[Mapping[str, str]],
        fingerprint: str | None = None,
        advance: Advance | None = None,
        candidates: Sequence[Sequence[str]] | None = None,
    ) -> Encoded:
        """Encodes rows that `spread` repeated: the first share by the first view, and so on."""
        own = len(rows) // len(self.views)
        parts = []
        for number, view in enumerate(self.views):
            mine = slice(number * own, (number + 1) * own)
            parts.append(Learner.encode(view, rows[mine], candidates=None if candidates is None else candidates[mine]))
        answers = None if candidates is None else [own for part in parts for own in part.candidates or ()]
        return Encoded([prompt for part in parts for prompt in part.prompts], candidates=answers)

    def begin(self) -> None:
        for view in self.views:
            view.begin()

    def end(self) -> None:
        for view in self.views:
            view.end()

    def modules(self) -> list[nn.Module]:
        return [module for view in self.views for module in view.modules()]

    def label_scores(self, encoded: Encoded, indices: Sequence[int]) -> Tensor:
        columns = self.columns(encoded)
        scores = torch.full((len(indices), columns), -torch.inf, device=self.lm.device)
        for view, mine, mask in self._by_view(encoded, indices):
            said = view.verbalizer(mask)
            scores = scores.index_copy(0, mine, F.pad(said, (0, columns - said.shape[1]), value=-torch.inf))
        return scores

    def loss(
        self,
        encoded: Encoded,
        indices: Sequence[int],
        targets: Tensor,
        weight: Tensor | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """The mean of the examples' losses, each by its own view's verbalizer, as that view alone would train."""
        shares = torch.ones(len(indices), device=self.lm.device)
        if weight is not None and targets.dim() == 1:
            shares = weight[targets]
        loss = torch.zeros((), device=self.lm.device)
        for view, mine, mask in self._by_view(encoded, indices):
            own = view.verbalizer.loss(mask, targets[mine], weight, temperature)
            loss = loss + own * shares[mine].sum() / shares.sum()
            loss = loss + view.penalty(len(encoded) // len(self.views))
        return loss

    def _by_view(self, encoded: Encoded, indices: Sequence[int]) -> Iterator[tuple[PromptLearner, Tensor, AtMask]]:
        """Each view that some of the examples are of, with their places `[rows]` and what stands at their masks."""
        own = len(encoded) // len(self.views)
        prompts = [encoded.prompts[i] for i in indices]
        of = torch.tensor([index // own for index in indices], device=self.lm.device)
        states = None
        if self.lm.single_token_words:  # what the model computes does not depend on the label words
            states = self.lm.states(self.lm.collate(prompts))
        for number, view in enumerate(self.views):
            mine = torch.nonzero(of == number).flatten()
            if len(mine):
                given = None if states is None else states[mine]
                places = mine.tolist()
                candidates = encoded.candidates and [encoded.candidates[indices[place]] for place in places]
                yield view, mine, AtMask(view, [prompts[place] for place in places], given, candidates)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        groups = self.views[0].parameter_groups(learning_rate)
        for view in self.views[1:]:
            groups += PromptLearner.parameter_groups(view, learning_rate)
        return groups

    def trained_state(self) -> dict[str, Tensor]:
        return {f"{n}.{name}": t for n, view in enumerate(self.views) for name, t in view.trained_state().items()}
