"""Words that the prompted masked LM itself fills in, in place of a template's or between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from pet_cli.config import resolve
from pet_cli.config.schema import PetConfig
from pet_cli.prompts.batch import buckets
from pet_cli.prompts.encoder import PromptEncoder, word_ids
from pet_cli.prompts.template import Mask, Template, Text, source_of
from pet_cli.search import phrases as of
from pet_cli.search.base import UNSPACED
from pet_cli.search.bench import Bench

_TOGETHER = 64
"""Texts of which the scores of the whole vocabulary are held at a time."""


class Filling:
    """Asks the model for words of a template, on all examples jointly, each with its own label's word at the mask.

    Of a number the two labels are its low and its high half; an example of several labels counts for each of them.
    Texts without labels take turns with the labels' words.

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
        space = "" if self.config.task.language in UNSPACED else " "
        total = torch.zeros(1)
        with self.bench.context.clock.phase("fill in"):
            for own, rows in zip(self.words.values(), self._rows, strict=True):
                line = of.gap(some, first, last, source_of([Text(next(iter(own)))]), space)
                if rows:
                    total = total + self._log_probabilities(line, rows)
        return self._as_words(total.topk(min(8 * most, len(total))).indices.tolist(), Template.parse(line))[:most]

    @cached_property
    def _rows(self) -> list[list[Mapping[str, str]]]:
        """The texts that read each label's word."""
        texts, labels = self.bench.texts, len(self.words)
        if any(example.gold is None for example in texts.examples):
            return [texts.rows[label::labels] for label in range(labels)]
        strata = resolve.target(self.config).strata(texts.gold).values()
        return [[texts.rows[place] for place in places] for places in strata]

    def _log_probabilities(self, line: str, rows: Sequence[Mapping[str, str]]) -> Tensor:
        """The sum over rows of the vocabulary's log-probabilities at the mask of a template, `[vocabulary]`."""
        lm = self.lm
        most = self.config.trainer.max_length or min(256, lm.positions)
        prompts = PromptEncoder(lm.tokenizer, Template.parse(line), most, lm.mask_token).encode(rows)
        parts = buckets([len(prompt.ids) for prompt in prompts], self.config.trainer.eval_batch_size)
        with torch.inference_mode():
            states = torch.cat([lm.states(lm.collate([prompts[place] for place in part]))[:, 0] for part in parts])
            # A part at a time, since each row is as long as the vocabulary.
            each = [lm.word_scores(part, None).log_softmax(dim=-1).sum(dim=0) for part in states.split(_TOGETHER)]
            return torch.stack(each).sum(dim=0).cpu()

    def _as_words(self, ids: Sequence[int], template: Template) -> list[str]:
        """The words among tokens that are whole where the template's mask stands, without the label words."""
        known = {word.lower() for own in self.words.values() for word in own}
        found = []
        for token in ids:
            word = self.lm.tokenizer.decode([token]).strip()
            if word.isalpha() and word.lower() not in known and self._tokens(word, template) == [token]:
                found.append(word)
        return found

    def _tokens(self, word: str, template: Template) -> list[int]:
        """The tokens of a word in place of the template's mask."""
        if isinstance(template.parts[0], Mask):
            return list(self.lm.tokenizer(word, add_special_tokens=False)["input_ids"])
        return word_ids(self.lm.tokenizer, word, not template.mask_without_space())
