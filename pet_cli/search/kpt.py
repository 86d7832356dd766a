"""Label words refined from a larger set (KPT): Hu, Ding, Wang, Liu, Wang, Li, Wu and Sun, "Knowledgeable prompt-tuning:
incorporating knowledge into prompt verbalizer for text classification", ACL 2022.

The set is that of a file, or the neighbours of the labels' names among the word embeddings. Texts without labels tell
which of it are of use: the mean probability of a word over the texts is its prior, and words of a low prior are rare at
the mask (frequency refinement); a word belongs to the label whose name goes with it from text to text,

    r(word, label) = cosine of the word's and of the name's probabilities over the texts,

and is dropped where r is no larger than the mean of its r with the other labels (relevance refinement). Zero-shot, the
paper divides a word's probability by its prior; here that is the word's weight, where `scoring.combine` takes weights.
"""

from __future__ import annotations

import math
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from pet_cli.data.examples import Split
from pet_cli.prompts.encoder import all_word_ids
from pet_cli.search.label_words import owned
from pet_cli.search.npprompt import Npprompt


class Kpt(Npprompt):
    """The words of a larger set that texts find frequent, and relevant to one label."""

    def worth(self) -> Tensor:
        texts, listed = self.texts, self.listed()
        probabilities = self.log_probabilities(texts).exp()
        kept = listed & frequent(probabilities, listed.any(dim=0), self.settings.rare)
        ratios = relevance(probabilities, self.of_names(texts))
        left = ratios.masked_fill(~kept | (ratios <= 1), -torch.inf)
        before, often, after = (int(one.any(dim=0).sum()) for one in (listed, kept, ~left.isneginf()))
        self.bench.notes.append(
            f"{before} words made up the larger set; {often} of them are frequent over {len(texts)} texts, and {after} "
            "of those relevant to one label"
        )
        return left

    @cached_property
    def log_prior(self) -> Tensor:
        """As for any search, but over the texts without labels."""
        log_p = self.log_probabilities(self.texts)
        return torch.logsumexp(log_p, dim=0) - math.log(len(log_p))

    @cached_property
    def texts(self) -> Split:
        """Texts whose labels are not looked at: unlabeled ones, or the training examples where there are none."""
        own = self.looked.unlabeled if len(self.looked.unlabeled) else self.looked.train
        return self.bench.drawn(own, self.settings.support)

    def listed(self) -> Tensor:
        """Which words are in the larger set, and for which label they may stand, `[labels, words]`, boolean: those of a
        file for any, those near to a name for its label."""
        found = torch.zeros(len(self.labels), len(self.vocabulary), dtype=torch.bool)
        if self.settings.words is not None:
            return ~found
        for label, own in enumerate(owned(self.cosines)):
            found[label, own[: self.settings.neighbours]] = True
        return found

    def of_names(self, texts: Split) -> Tensor:
        """The probability of each label's name at the mask, `[texts, labels]`: of its likeliest, and of one of several
        tokens their geometric mean."""
        found = []
        for names in self.names().values():
            ids = all_word_ids(self.lm.tokenizer, names, self.space_before_mask)
            each = [self.log_probabilities(texts, own).mean(dim=1) for own in ids]
            found.append(torch.stack(each).amax(dim=0).exp())
        return torch.stack(found, dim=1)


def frequent(probabilities: Tensor, listed: Tensor, rare: float) -> Tensor:
    """Which words are no rarer at the mask than the share `rare` of the listed ones is, `[words]`, boolean.

    Args:
        probabilities: `[texts, words]`.
        listed: which words are looked at, `[words]`, boolean.
    """
    prior = probabilities.mean(dim=0)
    return prior >= prior[listed].quantile(rare)


def relevance(probabilities: Tensor, names: Tensor) -> Tensor:
    """How much more each word goes with each label's name than with the other labels' in the mean, `[labels, words]`.

    Args:
        probabilities: of the words, `[texts, words]`.
        names: of the labels' names, `[texts, labels]`.
    """
    cosines = F.normalize(names, dim=0).T @ F.normalize(probabilities, dim=0)
    others = (cosines.sum(dim=0) - cosines) / (len(cosines) - 1)
    return cosines / others
