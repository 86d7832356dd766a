"""Templates that a decoder-only model writes between the texts and the label words.

    text ──► what comes next? ──► token by token ──► at each place: how likely is the label word here?

A beam search as LM-BFF's (Gao et al., ACL 2021), for a model that reads from left to right: what goes on is likely
behind all training texts at once, and so is each one's own label word behind it. The word, which a T5 reads beforehand,
has its say here when the sequences are compared, by its first token.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from pet_cli.models.decoder_only import DecoderOnlyLM
from pet_cli.prompts.encoder import PromptEncoder, word_ids
from pet_cli.prompts.template import Template, Text, source_of
from pet_cli.search.base import Candidate, Search
from pet_cli.search.generator import Read, continuation, load_generator, longest_input, shared_out, writable
from pet_cli.search.joint import Joint

_WANTED = "search=lm asks a decoder-only model what comes next, such as smollm2"


@dataclass(frozen=True)
class _Sequence:
    """What was written, and the sum over examples of its log-probability, and of the label words' behind it."""

    tokens: tuple[int, ...]
    own: float
    word: float

    @property
    def score(self) -> float:
        return self.own + self.word


class Lm(Search):
    """Proposes what a decoder-only model finds likely between the texts and label words of all examples."""

    @cached_property
    def generator(self) -> DecoderOnlyLM:
        return load_generator(self.settings.generator, self.config, self.bench.context.session, DecoderOnlyLM, _WANTED)

    def prepare(self) -> None:
        self.generator  # noqa: B018  # loaded, or refused, before the hand-written are scored

    def run(self) -> None:
        read = shared_out(self.config, self.looked.train, self.settings.examples)
        lm = self.generator
        texts = self.space.join(f"{{{name}}}" for name in self.config.task.fields)
        ranked = sorted(self.sequences(lm, texts, read), key=lambda one: -one.score)
        self.bench.score(
            Candidate(self.template(lm, texts, one), f"{one.score / len(read):.1f} nats an example") for one in ranked
        )

    def template(self, lm: DecoderOnlyLM, texts: str, one: _Sequence) -> str:
        return f"{texts}{source_of([Text(continuation(lm.tokenizer, one.tokens))])}{self.space}{{mask}}."

    def sequences(self, lm: DecoderOnlyLM, texts: str, read: Read) -> list[_Sequence]:
        """What the generator writes: all that were looked at, the empty one first. Half of the minutes are left."""
        settings = self.settings
        template = lm.adapt(Template.parse(f"{texts} {{mask}}"))
        most = longest_input(self.config, lm, settings.longest)
        rows = [self.looked.train.rows[place] for place, _ in read]
        first = [word_ids(lm.tokenizer, next(iter(own)), space=bool(self.space))[0] for own in self.words.values()]
        found: list[_Sequence] = []
        before: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
        allowed = writable(lm.tokenizer, len(lm.projection[0]))
        stage = self.bench.context.progress.stage("generate", settings.longest + 1)
        with self.bench.context.clock.phase("generate"), stage as advance:
            prompts = PromptEncoder(lm.tokenizer, template, most, lm.mask_token).encode(rows)
            joint = Joint(lm, prompts, [label for _, label in read], settings.width)
            for step in range(settings.longest + 1):
                following = joint.log_probabilities()
                words = torch.stack([own[:, token] for own, token in zip(following, first, strict=False)]).sum(dim=0)
                new = [_Sequence(*one, word) for one, word in zip(before, words.tolist(), strict=True)]
                found += new
                advance(1)
                if step == settings.longest or self.bench.left < self.bench.seconds / 2:
                    break
                # A sequence is worth going on with where the label words are likely behind it too.
                half = sorted(range(len(new)), key=lambda place: -new[place].score)[: max(1, settings.width // 2)]
                totals = following.sum(dim=0)[half]
                totals[:, ~allowed] = -torch.inf
                totals += totals.new_tensor([new[place].own for place in half]).unsqueeze(1)
                best = totals.flatten().topk(settings.width)
                parents = [half[place // totals.shape[1]] for place in best.indices.tolist()]
                tokens = [place % totals.shape[1] for place in best.indices.tolist()]
                before = [
                    ((*new[parent].tokens, token), own)
                    for parent, token, own in zip(parents, tokens, best.values.tolist(), strict=True)
                ]
                joint.grow(parents, tokens)
        return found
