"""Edits of a hand-written template: delete, swap, substitute and add phrases, and keep what scores better.

Prasad et al., "GrIPS: Gradient-free, edit-based instruction search for prompting large language models", EACL 2023.
Three things are ours, for a template has five words where an instruction has fifty: phrases are runs of up to three
words, no parser's; where the paper paraphrases with another model, the masked LM itself fills in words, those it finds
likely in all training examples at once, each with its own label's word at the mask; and templates stand by the task's
score and the loss, as in all searches here, where the paper has the mean recall of the labels and the entropy of
what is predicted.

    beam ──► edits of its templates ──► a draw of `samples` ──► scored zero-shot ──► the best `width` are the beam
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, combinations, zip_longest

from pet_cli.config import resolve
from pet_cli.errors import UserError
from pet_cli.models.masked import MaskedLM
from pet_cli.prompts.template import Template
from pet_cli.search import phrases as of
from pet_cli.search.base import Candidate, Search
from pet_cli.search.bench import Scored
from pet_cli.search.filling import Filling

_LONGEST = 3
"""The most words of a phrase."""
_FAR = 8
"""The most words from the first to the last of two phrases that are swapped."""


@dataclass(frozen=True)
class Edit:
    """An edit that may be drawn.

    Attributes:
        operation: `delete`, `swap`, `substitute` or `add`.
        site: tells it apart from other edits.
        make: the templates that it makes: one, or one for each word that the masked LM fills in.
    """

    operation: str
    site: str
    make: Callable[[], Iterable[str]]


class Edits(Search):
    """Goes from the run's own template by the best of its edits, until none has been better for a while."""

    def run(self) -> None:
        settings = self.settings
        beam = self.bench.score([Candidate(resolve.template_source(self.config), "start", hand_written=True)])
        if beam[0].refused:
            raise UserError(beam[0].refused)
        tried, deleted = {str(beam[0].candidate.written)}, list[str]()
        waited, step = 0, 0
        while waited < settings.patience and (settings.steps is None or step < settings.steps):
            step += 1
            edits = [edit for one in beam for edit in self.edits(str(one.candidate.written), deleted)]
            drawn = list(self._drawn(edits, step, tried))
            best = self._best([*beam, *self.bench.score(drawn)])
            waited = waited + 1 if best[0] is beam[0] else 0
            beam = best

    def _best(self, scored: Sequence[Scored]) -> list[Scored]:
        usable = {id(one): one for one in scored if not one.refused}
        return sorted(usable.values(), key=lambda one: one.by("zero_shot"), reverse=True)[: self.settings.width]

    def _drawn(self, edits: Sequence[Edit], step: int, tried: set[str]) -> Iterator[Candidate]:
        """`samples` templates that have not been tried, the operations in turn, the same for equal seeds."""
        seed = self.config.trainer.seed
        by_operation: dict[str, list[Edit]] = defaultdict(list)
        for edit in sorted(edits, key=lambda edit: _drawn_by(f"{seed}/{step}/{edit.operation}/{edit.site}")):
            by_operation[edit.operation].append(edit)
        n = 0
        for edit in filter(None, chain.from_iterable(zip_longest(*by_operation.values()))):
            if n >= self.settings.samples:
                return
            for line in edit.make():
                if line not in tried:
                    tried.add(line)
                    n += 1
                    yield Candidate(line, f"{edit.operation}, step {step}")

    # --- the four operations ---

    def edits(self, template: str, deleted: list[str]) -> Iterator[Edit]:
        """All edits of a template.

        Args:
            deleted: phrases that were deleted before, which may be added again; what an edit deletes it notes there.
        """
        some = of.atoms(Template.parse(template))
        spans = of.phrases(some, _LONGEST)

        def delete(span: of.Span) -> list[str]:
            phrase = of.line(some[slice(*span)])
            if phrase not in deleted:
                deleted.append(phrase)
            return [of.deleted(some, span)]

        for span in spans:
            yield Edit("delete", f"{template}/{span}", partial(delete, span))
        for one, other in combinations(spans, 2):
            if one[1] <= other[0] and other[1] - one[0] <= _FAR:
                yield _single("swap", of.swapped(some, one, other))
        yield from (_single("swap", line) for line in of.turned(some, self.space))
        for place in of.boundaries(some):
            yield from (_single("add", of.added(some, place, phrase, self.space)) for phrase in deleted)
            if self.filling:
                yield Edit("add", f"{template}/{place}", partial(self._add, some, place))
        for place, atom in enumerate(some):
            if atom.is_word and self.filling:
                yield Edit("substitute", f"{template}/{place}", partial(self._substitute, some, place))

    def _add(self, some: Sequence[of.Atom], place: int) -> list[str]:
        return [of.added(some, place, word, self.space) for word in self._likely(some, place, place)]

    def _substitute(self, some: Sequence[of.Atom], place: int) -> list[str]:
        return [of.substituted(some, place, word) for word in self._likely(some, place, place + 1)]

    @cached_property
    def filling(self) -> Filling | None:
        return Filling(self.config, self.bench, self.words) if isinstance(self.lm, MaskedLM) else None

    def _likely(self, some: Sequence[of.Atom], first: int, last: int) -> list[str]:
        assert self.filling is not None
        return self.filling.likely(some, first, last, self.settings.fill)


def _single(operation: str, line: str) -> Edit:
    return Edit(operation, line, lambda: [line])


def _drawn_by(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
