"""Paraphrases of the hand-written templates: the masked LM itself puts other words in place of theirs.

    {text} It was {mask}.    ->  That was, It is, This is, …

Jiang et al. ("How can we know what language models know?", TACL 2020) paraphrase by translating there and back; here
the prompted model is asked what else may stand where a word stands, in all examples at once. Other than the search by
edits it does not go on by scores: they only choose among what was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product

from pet_cli.errors import UserError
from pet_cli.models.masked import MaskedLM
from pet_cli.prompts.template import Template
from pet_cli.search import phrases as of
from pet_cli.search.base import Candidate, Search
from pet_cli.search.filling import Filling


@dataclass(frozen=True)
class _Site:
    """A word of a template, by its place among the atoms, and what else may stand there, the likeliest first."""

    place: int
    words: Sequence[str]


class Paraphrase(Search):
    """Proposes the hand-written templates with one or a few of their words substituted, the likeliest words first."""

    def run(self) -> None:
        if not isinstance(self.lm, MaskedLM):
            raise UserError(
                f"search=paraphrase: a masked LM fills in words, and model.name={self.config.model.name} is of the "
                f"family {self.lm.family}."
            )
        templates = [one.candidate for one in self.bench.known.values() if one.candidate.hand_written]
        found = [paraphrase for one in templates for paraphrase in self.paraphrases(one)]
        if not found:
            raise UserError(
                "search=paraphrase: no template of the task has a word that could be another; give template=."
            )
        found.sort(key=lambda one: one[0])  # by ranks; those of one template stay in their order
        self.bench.score(candidate for _, candidate in found)

    @cached_property
    def filling(self) -> Filling:
        return Filling(self.config, self.bench, self.words)

    def paraphrases(self, template: Candidate) -> Iterator[tuple[int, Candidate]]:
        """Those of one template, each with the sum of its words' ranks, from 1, among what may stand there."""
        some = of.atoms(Template.parse(str(template.written)))
        sites = [
            _Site(place, [word for word in self._likely(some, place) if word.casefold() != atom.source.casefold()])
            for place, atom in enumerate(some)
            if atom.is_word
        ]
        for changed in range(1, self.settings.changes + 1):
            for chosen in combinations(sites, changed):
                for ranks in product(*(range(len(site.words)) for site in chosen)):
                    line = some
                    for site, rank in zip(chosen, ranks, strict=True):
                        line = of.atoms(Template.parse(of.substituted(line, site.place, site.words[rank])))
                    yield sum(ranks) + changed, Candidate(of.line(line), f"{template.origin} in other words")

    def _likely(self, some: Sequence[of.Atom], place: int) -> list[str]:
        return self.filling.likely(some, place, place + 1, self.settings.fill)
