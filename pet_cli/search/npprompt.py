"""Label words without an example (NPPrompt): Zhao, Ouyang, Yu, Wu and Li, "Pre-trained language models can be fully
zero-shot learners", ACL 2023.

A label's words are the neighbours of its name among the model's own input embeddings, by their cosine, which also
weights them. Ours where the paper is silent, or a vocabulary too small for it: a name of several tokens stands at
their mean, and a word that is near to two names belongs to the nearer one, where the paper drops it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from pet_cli.errors import UserError
from pet_cli.prompts.encoder import all_word_ids
from pet_cli.search.label_words import LabelWords

_BETWEEN_NAMES = re.compile(r"[/,;|&]|\b(?:and|or)\b")


class Npprompt(LabelWords):
    """The neighbours of each label's name."""

    def worth(self) -> Tensor:
        return self.cosines

    def weights(self, places: Sequence[Sequence[int]]) -> dict[str, list[list[float]]]:
        """Beside those of all searches, a softmax of the words' cosines."""
        near = [
            [float(f"{weight:.4g}") for weight in own[one].softmax(dim=0).tolist()]
            for own, one in zip(self.cosines, places, strict=True)
        ]
        return {"by similarity": near, **super().weights(places)}

    @cached_property
    def cosines(self) -> Tensor:
        """The cosine of each word with the nearest of a label's names, `[labels, words]`."""
        table = self.lm.model.get_input_embeddings().weight.detach()
        words = F.normalize(table[torch.tensor(self.vocabulary.ids, device=table.device)].float(), dim=-1)
        return torch.stack([self._cosines(words, table, names) for names in self.names().values()]).cpu()

    def _cosines(self, words: Tensor, table: Tensor, names: list[str]) -> Tensor:
        ids = all_word_ids(self.lm.tokenizer, names, self.space_before_mask)
        centres = torch.stack([table[torch.tensor(own, device=table.device)].float().mean(dim=0) for own in ids])
        return (words @ F.normalize(centres, dim=-1).T).amax(dim=1)

    def names(self) -> dict[str, list[str]]:
        """What each label is called: by its own name, or by the run's label words.

        Raises:
            UserError: a label whose name is no word, or none that the model's vocabulary has.
        """
        if self.settings.names == "verbalizer":
            given = {label: list(own) for label, own in self.words.items()}
        else:
            given = {label: names_in(label) for label in self.labels}
        found = {label: self._known(names) for label, names in given.items()}
        if bare := [label for label, names in found.items() if not names]:
            raise UserError(
                f"search={self.settings.name} looks for neighbours of the labels' names, and '{bare[0]}' is no word of "
                "this model; with search.names=verbalizer it takes those of verbalizer=, such as "
                f"verbalizer='{{{bare[0]}: WORD, …}}'."
            )
        return found

    def _known(self, names: list[str]) -> list[str]:
        """Those of which the vocabulary has every token."""
        each = all_word_ids(self.lm.tokenizer, names, self.space_before_mask)
        return [name for name, ids in zip(names, each, strict=True) if self.lm.tokenizer.unk_token_id not in ids]


def names_in(label: str) -> list[str]:
    """The names in a label's: `Sci/Tech` has two, `not_entailment` is one of two words, `5` none."""
    parts = (" ".join(part.replace("_", " ").split()) for part in _BETWEEN_NAMES.split(label))
    return [part for part in parts if any(character.isalpha() for character in part)]
