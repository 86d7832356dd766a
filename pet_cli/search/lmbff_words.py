"""LM-BFF's label words (Gao et al., ACL 2021, section 5.1): the likeliest words of each label, and which of them stand
for the labels together.

    words that the model finds likely on a label's own texts ──► one word for each label, in all ways ──► those that
    answer the training examples best, zero-shot ──► cross-validated (there: fine-tuned, and a development set chooses)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from pet_cli.search.base import Candidate
from pet_cli.search.label_words import LabelWords

_WIDTH = 1000
"""The most assignments to some of the labels that are kept. Those of two labels are all looked at."""


class LmbffWords(LabelWords):
    """Proposes verbalizers of one word for each label, those that answer the training examples best."""

    def run(self) -> None:
        top = self.worth().topk(min(self.settings.top, len(self.vocabulary)), dim=1).indices.tolist()
        with self.bench.context.clock.phase("assign"):
            best = assignments(self.log_p, self.shares, top, _WIDTH, self.settings.assignments)
        words = self.vocabulary.words
        self.bench.score(
            Candidate(dict(zip(self.labels, (words[place] for place in places), strict=True)), f"assignment {number}")
            for number, places in enumerate(best, 1)
        )

    def worth(self) -> Tensor:
        """The mean log-probability on the label's own texts, `[labels, words]`."""
        return (self.shares / self.shares.sum(dim=0)).T @ self.log_p

    @cached_property
    def log_p(self) -> Tensor:
        """Log-probabilities of the candidate words on the training examples, `[examples, words]`."""
        return self.log_probabilities(self.looked.train)


def assignments(
    log_p: Tensor, shares: Tensor, own: Sequence[Sequence[int]], width: int, most: int
) -> list[tuple[int, ...]]:
    """Which words stand for the labels, by how many examples they answer rightly, then by their loss; the best first.

    Labels get their words one after the other, and the best `width` are kept of what answers the examples of the labels
    so far; no word stands for two labels.

    Args:
        log_p: log-probabilities of words at the mask, `[examples, words]`.
        shares: how far each example has each label, `[examples, labels]`.
        own: the words that may stand for each label.
    """
    places = torch.zeros(1, 0, dtype=torch.long)
    best = torch.full((1, len(log_p)), -torch.inf)  # of the words so far, `[assignments, examples]`
    hit, total, gold = torch.zeros_like(best), best.clone(), torch.zeros(1)
    for label, some in enumerate(own):
        share, words = shares[:, label], torch.tensor(some)
        new = log_p[:, words].T  # [words, examples]
        hits = torch.where(new > best.unsqueeze(1), share, hit.unsqueeze(1))
        totals = torch.logaddexp(total.unsqueeze(1), new)
        golds = gold.unsqueeze(1) + new @ share
        loss = totals @ shares[:, : label + 1].sum(dim=1) - golds
        taken = (places.unsqueeze(1) == words.unsqueeze(-1)).any(dim=-1)  # [assignments, words]
        right = hits.sum(dim=-1).masked_fill(taken, -torch.inf).flatten()
        order = loss.flatten().argsort(stable=True)
        order = order[right[order].argsort(descending=True, stable=True)]
        order = order[~right[order].isneginf()][: most if label == len(own) - 1 else width]
        parents, chosen = order // len(some), order % len(some)
        best, hit = torch.maximum(best[parents], new[chosen]), hits.flatten(0, 1)[order]
        total, gold = totals.flatten(0, 1)[order], golds.flatten()[order]
        places = torch.cat([places[parents], words[chosen].unsqueeze(1)], dim=1)
    return [tuple(row) for row in places.tolist()]
