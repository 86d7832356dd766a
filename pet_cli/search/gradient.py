"""Trigger tokens by the gradient of the loss (AutoPrompt, Shin et al., EMNLP 2020; HotFlip, Ebrahimi et al., ACL 2018).

How much the training examples' loss would change with another token at a trigger's place, to first order, is the
gradient there times the difference of both tokens' embeddings. One pass tells it of the whole vocabulary:

    {text} [MASK] {mask}.   ──► the tokens that promise most ──► those whose text reads as they do ──► the bench
    {text} really {mask}.   ◄── the one with the least loss

The paper begins with all triggers as masks; here they come one after another, each as a mask where it is sought, so
that whatever is scored is a template that a run can take. Then the places take turns, and a flip that lowers the loss
stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count, cycle, islice
from typing import Any

import torch
from torch import Tensor

from pet_cli.config import resolve
from pet_cli.errors import UserError
from pet_cli.methods.prompted import to_learn
from pet_cli.models.base import evaluating
from pet_cli.models.masked import MaskedLM
from pet_cli.prompts.batch import Prompt, buckets
from pet_cli.prompts.encoder import PromptEncoder, word_ids
from pet_cli.prompts.template import Field, Mask, Part, Soft, Template, Text, source_of
from pet_cli.search.base import Candidate, Search
from pet_cli.search.bench import Scored
from pet_cli.search.generator import continuation, writable
from pet_cli.tuning import Learner, PromptLearner
from pet_cli.tuning.at_mask import AtMask
from pet_cli.tuning.slots import hard_template

_DEEPEST = 20
"""Of the tokens that promise most, so many times `samples` are looked at for such that can be written."""


@dataclass(frozen=True)
class TriggerSpan:
    """Triggers that stand side by side, by their token ids; the text of each has the space before it."""

    ids: tuple[int, ...]


@dataclass(frozen=True)
class Triggers:
    """A template whose triggers are known by their tokens.

    Attributes:
        parts: the template, with `TriggerSpan` where triggers stand.
    """

    parts: tuple[Part | TriggerSpan, ...]

    @property
    def ids(self) -> list[int]:
        """The tokens of all triggers, along the template."""
        return [token for part in self.parts if isinstance(part, TriggerSpan) for token in part.ids]

    def flipped(self, place: int, token: int) -> Triggers:
        """With another token at the place of a trigger, counted along the template."""
        ids = iter([*self.ids[:place], token, *self.ids[place + 1 :]])
        own = [TriggerSpan(tuple(islice(ids, len(p.ids)))) if isinstance(p, TriggerSpan) else p for p in self.parts]
        return Triggers(tuple(own))

    def grown(self, token: int) -> Triggers:
        """With one trigger more, behind all others."""
        last = max(place for place, part in enumerate(self.parts) if isinstance(part, TriggerSpan))
        own = [
            TriggerSpan((*p.ids, token)) if n == last and isinstance(p, TriggerSpan) else p
            for n, p in enumerate(self.parts)
        ]
        return Triggers(tuple(own))

    def slots(self) -> Template:
        """The template with a slot for each trigger, numbered along it."""
        parts: list[Part] = []
        for part in self.parts:
            if not isinstance(part, TriggerSpan):
                parts.append(part)
            elif part.ids:
                parts.append(Soft(len(part.ids)))
        return Template(source_of(parts), tuple(parts))

    def line(self, tokenizer: Any, space: str) -> str:
        """The template as a run takes it."""
        line = ""
        for part in self.parts:
            if not isinstance(part, TriggerSpan):
                line += source_of([part])
            elif part.ids:
                own = continuation(tokenizer, part.ids)
                line = line.rstrip() + source_of([Text(own if space else own.replace(" ", ""))])
        return line.strip()


class Gradient(Search):
    """Goes from no triggers, or from the words of the run's own template, by the flips that lower the loss most."""

    def run(self) -> None:
        if not isinstance(self.lm, MaskedLM):
            raise UserError(
                f"search=gradient: triggers are sought around the mask of a masked LM, and "
                f"model.name={self.config.model.name} is of the family {self.lm.family}."
            )
        grows, least = self.settings.start == "mask", float("inf")
        if grows:
            at = self.beside_the_mask()
        else:
            own = Candidate(resolve.template_source(self.config), "start", hand_written=True)
            at, [scored] = self.of_template(str(own.written)), self.bench.score([own])
            least = least if scored.refused else _loss(scored)
        places = self.settings.triggers if grows else len(at.ids)
        turns, waited = cycle(self._in_turn(places)), 0
        for step in count(1) if self.settings.steps is None else range(1, self.settings.steps + 1):
            growing = len(at.ids) < places
            if growing:
                at, least = at.grown(self.lm.tokenizer.mask_token_id), float("inf")
            place = len(at.ids) - 1 if growing else next(turns)
            found = self.best(at, place, f"trigger {place + 1}, step {step}")
            if found is not None and found[0] < least:
                (least, at), waited = found, 0
                continue
            waited += 1
            if growing or waited == places:
                return  # nothing can be written here, or no place has a flip that is better

    def _in_turn(self, places: int) -> list[int]:
        """The order of the places, drawn by the seed."""
        generator = torch.Generator().manual_seed(self.config.trainer.seed)
        return torch.randperm(places, generator=generator).tolist()

    # --- where triggers stand ---

    def beside_the_mask(self) -> Triggers:
        """No triggers yet: `{text}… {mask}.`, or, as the paper has them between two texts, `{a} {mask}… {b}`."""
        first, *rest = (Field(name) for name in self.config.task.fields)
        space = Text(self.space)
        if not rest:
            return Triggers((first, TriggerSpan(()), space, Mask(), Text("." if self.space else "。")))
        return Triggers((first, space, Mask(), TriggerSpan(()), *(part for field in rest for part in (space, field))))

    def of_template(self, source: str) -> Triggers:
        """The tokens of a template's words and marks; what cannot be written as it is read stays text.

        Raises:
            UserError: a template that has none, or that the model cannot read.
        """
        self.bench.learner(Candidate(source, ""))
        template = hard_template(
            Template.parse(source, list(self.config.task.fields)), self.config.tuning.name, leave_out=True
        )
        parts: list[Part | TriggerSpan] = []
        for number, part in enumerate(template.parts, start=1):
            ways = self._as_triggers(part) if isinstance(part, Text) and part.text.strip() else ()
            rest = template.parts[number:]
            parts += next((own for own in ways if self._reads_itself(Triggers((*parts, *own, *rest)))), [part])
        if not any(isinstance(part, TriggerSpan) for part in parts):
            raise UserError(f"search.start=template: '{source}' has no word that could be another; take start=mask.")
        return Triggers(tuple(parts))

    def _as_triggers(self, part: Text) -> Iterator[list[Part | TriggerSpan]]:
        """Literal text by its tokens: where it stands or, as some tokenizers read it behind a mask, by itself."""
        text, tokenizer = part.text.rstrip(), self.lm.tokenizer
        behind = [Text(part.text[len(text) :])] if len(text) < len(part.text) else []
        for ids in (
            word_ids(tokenizer, text.strip(), space=text[:1].isspace()),
            tokenizer(text.strip(), add_special_tokens=False)["input_ids"],
        ):
            yield [TriggerSpan(tuple(ids)), *behind]

    def _reads_itself(self, at: Triggers) -> bool:
        return self.reads(Candidate(at.line(self.lm.tokenizer, self.space), ""), self.prompts(at))

    # --- a step ---

    def best(self, at: Triggers, place: int, origin: str) -> tuple[float, Triggers] | None:
        """The token of a place with the least loss, of those that promise most, with that loss in nats an example.

        None where none of them can be used.
        """
        found: list[tuple[Triggers, Candidate]] = []
        with self.bench.context.clock.phase("gradient"):
            prompts, named = self.prompts(at), self._named(at)
            for token in self.promising(at, place, prompts):
                flipped = at.flipped(place, token)
                candidate = Candidate(flipped.line(self.lm.tokenizer, self.space), origin)
                if self._named(flipped) <= named and self.reads(candidate, _with(prompts, place, token)):
                    found.append((flipped, candidate))
                if len(found) == self.settings.samples:
                    break
        scored = self.bench.score([candidate for _, candidate in found])
        usable = [(_loss(one), flipped) for one, (flipped, _) in zip(scored, found, strict=True) if not one.refused]
        return min(usable, key=lambda one: one[0], default=None)

    def promising(self, at: Triggers, place: int, prompts: Sequence[Prompt]) -> Iterator[int]:
        """Other tokens for a place, those first that lower the loss most, to first order."""
        learner = self.bench.learner(Candidate(at.slots().source, ""))  # zero-shot leaves slots without words out
        changes = first_order(learner, prompts, at.ids, to_learn(self.config, self.looked.train))[place]
        changes = changes.masked_fill(~self._writable, torch.inf)
        changes[at.ids[place]] = torch.inf
        best = changes.topk(min(_DEEPEST * self.settings.samples, len(changes)), largest=False)
        yield from (token for token in best.indices.tolist() if changes[token] < torch.inf)

    def prompts(self, at: Triggers) -> list[Prompt]:
        """The training examples with the triggers' own tokens, whose places are those of slots."""
        most = self.config.trainer.max_length or min(256, self.lm.positions)
        encoder = PromptEncoder(self.lm.tokenizer, at.slots(), most, self.lm.mask_token)
        prompts = encoder.encode(self.looked.train.rows)
        for place, token in enumerate(at.ids):
            prompts = _with(prompts, place, token)
        return prompts

    def reads(self, candidate: Candidate, sought: Sequence[Prompt]) -> bool:
        """Whether the model reads of a template's line what was sought."""
        try:
            learner, train = self.bench.learner(candidate), self.looked.train
            read = Learner.encode(learner, train.rows, train.fingerprint).prompts  # without its states
        except UserError:
            return False
        return all((a.ids, a.types, a.masks) == (b.ids, b.types, b.masks) for a, b in zip(read, sought, strict=True))

    def _named(self, at: Triggers) -> int:
        """How many label words a template has among its own."""
        either = "|".join(re.escape(word) for own in self.words.values() for word in own)
        pattern = rf"(?<!\w)(?:{either})(?!\w)" if self.space else either
        return len(re.findall(pattern, at.line(self.lm.tokenizer, self.space), re.IGNORECASE))

    @cached_property
    def _writable(self) -> Tensor:
        size = len(self.lm.model.get_input_embeddings().weight)
        return writable(self.lm.tokenizer, size).to(self.lm.device)


def first_order(learner: PromptLearner, prompts: Sequence[Prompt], ids: Sequence[int], targets: Tensor) -> Tensor:
    """By how much the summed loss changes with other tokens at the triggers, to first order, `[triggers, vocabulary]`.

    Args:
        prompts: with the triggers' tokens, and their places as those of slots.
        ids: those tokens.
        targets: what is right, label indices `[prompts]` or probabilities `[prompts, labels]`.
    """
    embedding = learner.lm.model.get_input_embeddings()
    weight = embedding.weight.detach()
    gradient = torch.zeros(len(ids), weight.shape[1], device=weight.device, dtype=weight.dtype)
    with evaluating(*learner.modules()), torch.enable_grad():
        for places in buckets([len(prompt.ids) for prompt in prompts], learner.batch_size):
            mask = AtMask(learner, [prompts[place] for place in places])
            embeds = embedding(mask.batch.input_ids).detach().requires_grad_()
            mask.embeds = embeds
            loss = learner.verbalizer.loss(mask, targets[places].to(weight.device)) * len(places)
            [own] = torch.autograd.grad(loss, [embeds])
            assert mask.batch.soft is not None
            here = mask.batch.soft >= 0
            gradient.index_add_(0, mask.batch.soft[here], own[here].to(weight.dtype))
    return gradient @ weight.T - (gradient * weight[list(ids)]).sum(dim=1, keepdim=True)


def _loss(one: Scored) -> float:
    return one.scores["zero_shot"].loss


def _with(prompts: Sequence[Prompt], place: int, token: int) -> list[Prompt]:
    """Prompts with a token where they have a slot."""
    found = []
    for prompt in prompts:
        here = {position for position, slot in prompt.soft if slot == place}
        found.append(replace(prompt, ids=[token if n in here else own for n, own in enumerate(prompt.ids)]))
    return found
