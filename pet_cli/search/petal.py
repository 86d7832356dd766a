"""Label words by likelihood ratio (PETAL): Schick, Schmid and Schütze, "Automatically identifying words that can serve
as labels for few-shot text classification", COLING 2020.

Candidates are common words; of each label those count that the model finds likely on the label's own texts. The best
tell the label from all others: with p the probability of a word at a text's mask,

    sum over own texts of log(p / (1 - p)) * others / own  -  sum over the others' texts of log(p / (1 - p))

where own and others are how many texts have the label and have not, so that both sides weigh the same.
"""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from pet_cli.prompts.encoder import all_word_ids
from pet_cli.search.label_words import LabelWords

_TEXTS = 20_000
"""The most unlabeled texts in which words are counted."""


class Petal(LabelWords):
    """Words that tell one label from the rest on the training examples."""

    def worth(self) -> Tensor:
        log_p = self.log_probabilities(self.looked.train)
        log_p[:, ~self.common()] = -torch.inf
        return likelihood_ratios(log_p, self.shares, self.settings.likely)

    def common(self) -> Tensor:
        """Which candidates are among the `search.common` commonest words of the unlabeled texts, `[words]`, boolean;
        all where there are no such texts, and of `search.words`."""
        if self.settings.common is None or self.settings.words is not None:
            return torch.ones(len(self.vocabulary), dtype=torch.bool)
        counted: Counter[int] = Counter()
        rows = self.bench.drawn(self.looked.unlabeled, _TEXTS).rows
        # As words stand in a text, which need not be as they stand at the mask: behind a bracket they have no space.
        spelled = all_word_ids(self.lm.tokenizer, self.vocabulary.words, bool(self.space))
        places = {ids[0]: place for place, ids in enumerate(spelled) if len(ids) == 1}
        with self.bench.context.clock.phase("count"):
            texts = [f" {text}" for row in rows for text in row.values()]
            for ids in self.lm.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []:
                counted.update(places[token] for token in ids if token in places)
        if not counted:
            return torch.ones(len(self.vocabulary), dtype=torch.bool)
        commonest = sorted(counted, key=lambda place: (-counted[place], place))[: self.settings.common]
        self.bench.notes.append(
            f"{len(commonest)} of them are the commonest in {len(rows)} unlabeled texts; the others were left out"
        )
        return torch.zeros(len(self.vocabulary), dtype=torch.bool).index_fill(0, torch.tensor(commonest), True)


def likelihood_ratios(log_p: Tensor, shares: Tensor, likely: int) -> Tensor:
    """How well each word tells each label from the others, `[labels, words]`.

    Args:
        log_p: log-probabilities `[examples, words]`; -inf where a word is no candidate.
        shares: how far each example has each label, `[examples, labels]`.
        likely: how many words of each label count: those with the largest sum of log-probabilities over its examples.
    """
    candidates = ~log_p.isneginf().all(dim=0)
    log_p = log_p.double().masked_fill(~candidates, 0)
    logits = log_p - torch.log1p(-log_p.exp().clamp(max=1 - 1e-12))
    shares = shares.double()
    own, others = shares.sum(dim=0), (1 - shares).sum(dim=0)
    ratios = (shares * (others / own)).T @ logits - (1 - shares).T @ logits
    sums = (shares.T @ log_p).masked_fill(~candidates, -torch.inf)
    kept = sums.topk(min(likely, log_p.shape[1]), dim=1).indices
    out = torch.full_like(ratios, -torch.inf).scatter(1, kept, ratios.gather(1, kept))
    return out.masked_fill(~candidates, -torch.inf)
