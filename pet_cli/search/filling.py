"""Words that the prompted masked LM itself fills in, in place of a template's or between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pet_cli.config.schema import PetConfig
from pet_cli.prompts.batch import buckets
from pet_cli.prompts.encoder import PromptEncoder, word_ids
from pet_cli.prompts.template import Template
from pet_cli.search import phrases as of
from pet_cli.search.base import UNSPACED
from pet_cli.search.bench import Bench


class Filling:
    """Asks the model for words of a template, on all examples jointly, each with its own label's word at the mask.

    Where examples have no label, they take turns with the labels' words.

    Args:
        words: the run's label words, which are no candidates.
    """

    def __init__(self, config: PetConfig, bench: Bench, words: Mapping[str, Mapping[str, float]]) -> None:
        self.config = config
        self.bench = bench
        self.words = words
        self.lm = bench.context.session.language_model(config)

    def likely(self, some: Sequence[of.Atom], first: int, last: int, most: int) -> list[str]:
        """The words that the model finds likeliest in place of `some[first:last]`."""
        key = ("likely", self.lm.identity, of.line(some), first, last, self.bench.texts.fingerprint, repr(self.words))
        return self.bench.context.session.memo.get((*key, most), lambda: self._likely(some, first, last, most))

    def _likely(self, some: Sequence[of.Atom], first: int, last: int, most: int) -> list[str]:
        labels = list(self.words)
        space = "" if self.config.task.language in UNSPACED else " "
        total = torch.zeros(1)
        with self.bench.context.clock.phase("fill in"):
            for index, label in enumerate(labels):
                line = of.gap(some, first, last, next(iter(self.words[label])), space)
                rows = [
                    example.fields
                    for number, example in enumerate(self.bench.texts.examples)
                    if (example.gold if isinstance(example.gold, int) else number % len(labels)) == index
                ]
                if rows:
                    total = total + self._log_probabilities(line, rows)
        return self._as_words(total.topk(min(8 * most, len(total))).indices.tolist())[:most]

    def _log_probabilities(self, line: str, rows: Sequence[Mapping[str, str]]) -> Tensor:
        """The sum over rows of the vocabulary's log-probabilities at the mask of a template, `[vocabulary]`."""
        lm = self.lm
        most = self.config.trainer.max_length or min(256, lm.positions)
        prompts = PromptEncoder(lm.tokenizer, Template.parse(line), most, lm.mask_token).encode(rows)
        parts = buckets([len(prompt.ids) for prompt in prompts], self.config.trainer.eval_batch_size)
        with torch.inference_mode():
            states = torch.cat([lm.states(lm.collate([prompts[place] for place in part]))[:, 0] for part in parts])
            return lm.word_scores(states, None).log_softmax(dim=-1).sum(dim=0).cpu()

    def _as_words(self, ids: Sequence[int]) -> list[str]:
        """The whole words among tokens, without the label words."""
        known = {word.lower() for own in self.words.values() for word in own}
        found = []
        for token in ids:
            word = self.lm.tokenizer.decode([token]).strip()
            if word.isalpha() and word.lower() not in known and word_ids(self.lm.tokenizer, word) == [token]:
                found.append(word)
        return found
