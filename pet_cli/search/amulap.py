"""Several label words by the model's own probabilities (AMuLaP): Wang, Xu and McAuley, "Automatic multi-label
prompting: simple and interpretable few-shot classification", NAACL 2022.

What the model finds likely at the mask of a label's training examples are the label's words, each for the label alone
where it is likeliest; without that rule labels share the words that are common everywhere. The mean over a label's
examples stands where the paper has their sum, which is the same where all labels have as many.
"""

from __future__ import annotations

from torch import Tensor

from pet_cli.search.label_words import LabelWords, mean_log_probabilities


class Amulap(LabelWords):
    """The likeliest words of each label on its training examples."""

    def worth(self) -> Tensor:
        return mean_log_probabilities(self.log_probabilities(self.looked.train), self.shares)
