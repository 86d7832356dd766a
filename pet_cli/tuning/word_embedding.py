"""Word embeddings of the template: its own literal words become trainable vectors that start as themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from pet_cli.errors import UserError
from pet_cli.prompts.batch import Prompt
from pet_cli.prompts.encoder import PromptEncoder, _Rendered
from pet_cli.prompts.template import Field, Template, Text
from pet_cli.tuning.base import decay_groups
from pet_cli.tuning.slots import look_up
from pet_cli.tuning.soft import SoftLearner


class WordEncoder(PromptEncoder):
    """An encoder that also finds the tokens of the template's literal text; each is a slot that starts as itself.

    How a tokenizer cuts literal text may depend on what stands beside it. The slots are numbered on a prompt with
    short fields; in another prompt a token of the literal text that is none of those stays a plain token, so that
    untrained vectors never change a prompt.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._literals: list[tuple[int, list[int]]] = []  # (first slot, token ids) of every literal text
        self._soft_slots = self.slots
        reference = self._found(dict.fromkeys(self.template.fields, "a"))
        for literal in range(sum(isinstance(part, Text) for part in self.template.parts)):
            ids = [reference.ids[position] for position, slot in reference.soft if self._literal(slot) == literal]
            self._literals.append((self.slots, ids))
            self.slot_texts.update(dict(enumerate(ids, start=self.slots)))
            self.slots += len(ids)

    def encode(self, rows: Sequence[Mapping[str, str]], masks: Sequence[int] | None = None) -> list[Prompt]:
        counts = [1] * len(rows) if masks is None else masks
        return [self._numbered(self._found(row, count)) for row, count in zip(rows, counts, strict=True)]

    def _found(self, row: Mapping[str, str], masks: int = 1) -> Prompt:
        """The prompt, with the tokens of literal texts under provisional slots (see `_literal`)."""
        rendered = self._render(row, masks)
        return self._careful(rendered, pair=len(rendered.segments) > 1)

    def _literal(self, slot: int) -> int:
        """Which literal text a provisional slot belongs to; below 0 for the template's soft slots."""
        return (slot - self._soft_slots) // self.max_length

    def _render(self, row: Mapping[str, str], masks: int = 1) -> _Rendered:
        self._added: list[tuple[int, int, int]] = []
        rendered = super()._render(row, masks)
        texts = [part for part in self.template.parts if isinstance(part, (Text, Field))]
        spans = [span for part, span in zip(texts, self._added, strict=True) if isinstance(part, Text)]
        for literal, span in enumerate(spans):
            rendered.softs.append((*span, self._soft_slots + literal * self.max_length))
        return rendered

    def _add(self, out: _Rendered, text: str, behind: int) -> tuple[int, int, int]:
        span = super()._add(out, text, behind)
        self._added.append(span)
        return span

    def _numbered(self, prompt: Prompt) -> Prompt:
        """The provisional slots of literal texts as those of their tokens, in order."""
        soft = []
        at: dict[int, int] = {}
        for position, slot in prompt.soft:
            literal = self._literal(slot)
            if literal < 0:
                soft.append((position, slot))
                continue
            first, ids = self._literals[literal]
            start = at.get(literal, 0)
            if prompt.ids[position] in ids[start:]:
                index = ids.index(prompt.ids[position], start)
                soft.append((position, first + index))
                at[literal] = index + 1
        return replace(prompt, soft=tuple(soft))


class WordEmbeddingLearner(SoftLearner):
    """The template's words train as vectors, and the model too unless `settings.freeze_model`.

    Soft slots in the template train along.
    """

    def own_template(self, template: Template) -> Template:
        return template

    def make_encoder(self, template: Template) -> PromptEncoder:
        encoder = WordEncoder(self.lm.tokenizer, template, self.max_length, self.lm.mask_token)
        if not encoder.slots:
            raise UserError(
                f"tuning={self.settings.name}: template '{template.source}' has no words of its own that could train."
            )
        return encoder

    def initial(self) -> Tensor:
        if len(self.encoder.slot_texts) < self.encoder.slots:
            return super().initial()
        return look_up(self.lm, [self.encoder.slot_texts[slot] for slot in range(self.encoder.slots)])

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        groups = super().parameter_groups(learning_rate)
        if self.trains_model:
            rate = self.settings.model_learning_rate or self.lm.default_learning_rate
            groups += decay_groups(list(self.lm.model.named_parameters()), rate)
        return groups

    def trained_parameters(self) -> int:
        model = sum(parameter.numel() for parameter in self.lm.model.parameters()) if self.trains_model else 0
        return super().trained_parameters() + model
