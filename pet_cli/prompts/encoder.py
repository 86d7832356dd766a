"""From examples to prompts: token ids, the mask's position, soft positions, and what was shortened.

Works on text and token ids, knows nothing of a model. Where nothing is cut, the ids are the tokenizer's own for
the full string, so spacing and special tokens are whatever the model was pretrained with.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pet_cli.errors import UserError
from pet_cli.prompts.batch import Prompt
from pet_cli.prompts.template import Border, Field, Mask, Soft, Template, Text


@dataclass
class _Rendered:
    segments: list[str] = field(default_factory=lambda: [""])
    fields: list[tuple[int, int, int]] = field(default_factory=list)  # (segment, start, end), shortenable
    masks: list[tuple[int, int, int]] = field(default_factory=list)
    softs: list[tuple[int, int, int, int]] = field(default_factory=list)  # (segment, start, end, first slot)

    def add(self, text: str) -> tuple[int, int, int]:
        start = len(self.segments[-1])
        self.segments[-1] += text
        return len(self.segments) - 1, start, len(self.segments[-1])


class PromptEncoder:
    """Encodes examples by one template for one tokenizer.

    Args:
        tokenizer: a fast tokenizer of transformers.
        template: the parsed template.
        max_length: the most tokens a prompt may have, special tokens included.
        mask_token: the text of the mask, by default the tokenizer's own; it also stands in for pseudo tokens,
            whose embeddings are replaced.
    """

    def __init__(self, tokenizer: Any, template: Template, max_length: int, mask_token: str | None = None) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.max_length = max_length
        self.mask_token: str = mask_token or tokenizer.mask_token or tokenizer.eos_token
        self.mask_id: int = tokenizer.convert_tokens_to_ids(self.mask_token)
        specials = sorted({t for t in tokenizer.all_special_tokens if len(t) > 1}, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, specials))) if specials else None
        self._reach = len(specials[0]) - 1 if specials else 0
        for part in template.parts:
            if isinstance(part, Text) and self.mask_token in part.text:
                raise UserError(f"template '{template.source}': '{self.mask_token}' is the mask; write {{mask}}.")
        self.slots, self.slot_texts = self._number_slots()

    def _number_slots(self) -> tuple[int, dict[int, int]]:
        """Numbers the trainable vectors along the template; places of one name share theirs."""
        total = 0
        self._places: list[tuple[int, int]] = []  # (first slot, how many) of every place
        named: dict[str, tuple[int, int]] = {}
        texts: dict[int, int] = {}  # slot -> token id it starts as
        for soft in self.template.soft:
            ids = [] if soft.text is None else word_ids(self.tokenizer, soft.text)
            count = len(ids) or soft.count
            if soft.name is not None and soft.name in named:
                first, own = named[soft.name]
                if count > own:
                    raise UserError(
                        f"template '{self.template.source}': '{soft.name}' has {own} trainable tokens where it first "
                        f"stands, and {count} later; write the longer one first."
                    )
                self._places.append((first, count))
                continue
            self._places.append((total, count))
            if soft.name is not None:
                named[soft.name] = (total, count)
            texts.update(dict(enumerate(ids, start=total)))
            total += count
        return total, texts

    def within(self, max_length: int) -> PromptEncoder:
        """The same encoder with another limit."""
        other = copy.copy(self)
        other.max_length = max_length
        return other

    def encode(self, rows: Sequence[Mapping[str, str]], masks: Sequence[int] | None = None) -> list[Prompt]:
        """Encodes the rows (field name to text).

        Args:
            masks: how many masks stand in each row's prompt where the template has one; 1 by default.

        Raises:
            UserError: the template's literal text alone is longer than `max_length`.
        """
        masks = [1] * len(rows) if masks is None else masks
        rendered = [self._render(row, count) for row, count in zip(rows, masks, strict=True)]
        if not rendered:
            return []
        pair = len(rendered[0].segments) > 1
        encoded = self.tokenizer(
            [r.segments[0] for r in rendered],
            [r.segments[1] for r in rendered] if pair else None,
            return_token_type_ids=True,
            return_attention_mask=False,
            verbose=False,
        )
        soft = bool(self.template.soft)
        prompts = []
        for index, ids in enumerate(encoded["input_ids"]):
            types = encoded["token_type_ids"][index]
            if len(ids) > self.max_length or soft:
                prompts.append(self._careful(rendered[index], pair))
            else:
                found = tuple(i for i, token in enumerate(ids) if token == self.mask_id)
                if (
                    len(found) != self.template.masks * masks[index]
                ):  # a text that normalises to the mask, such as XLM-R's full-width
                    prompts.append(self._careful(rendered[index], pair))
                else:
                    prompts.append(Prompt(ids, types, found))
        return prompts

    def _render(self, row: Mapping[str, str], masks: int = 1) -> _Rendered:
        out = _Rendered()
        places = iter(self._places)
        behind = 0  # where the text behind the last mask starts
        for part in self.template.parts:
            if isinstance(part, Text):
                self._add(out, part.text, behind)
            elif isinstance(part, Mask):
                out.masks.append(out.add(self.mask_token * masks))
                behind = len(out.segments[-1])
            elif isinstance(part, Border):
                out.segments.append("")
                behind = 0
            elif isinstance(part, Soft):
                first, count = next(places)
                out.softs.append((*out.add(self.mask_token * count), first))
                behind = len(out.segments[-1])
            elif isinstance(part, Field):
                text = part.value(row)
                if self._special is not None:
                    # A text that holds "[MASK]" must not smuggle a mask into the prompt.
                    text = self._special.sub(lambda m: m.group()[0] + " " + m.group()[1:], text)
                span = self._add(out, text, behind)
                if not part.keep:
                    out.fields.append(span)
        return out

    def _add(self, out: _Rendered, text: str, behind: int) -> tuple[int, int, int]:
        """Adds text so that it forms no special token with the text before it, as "MASK" would behind "[".

        A lone surrogate, which JSON can hold and a tokenizer cannot read, becomes a question mark.
        """
        text = text.encode(errors="replace").decode()
        before = out.segments[-1][behind:][-self._reach :]
        if self._special is not None and before and text:
            matches = self._special.finditer(before + text[: self._reach])
            if any(match.start() < len(before) < match.end() for match in matches):
                text = " " + text
        return out.add(text)

    def _careful(self, rendered: _Rendered, pair: bool) -> Prompt:
        """One prompt by its offsets: finds masks and soft tokens, and shortens the longest field first."""
        encoded = self.tokenizer(  # as a batch: alone, an empty segment B would not count as one
            [rendered.segments[0]],
            [rendered.segments[1]] if pair else None,
            return_token_type_ids=True,
            return_offsets_mapping=True,
            verbose=False,
        )
        ids, types = encoded["input_ids"][0], encoded["token_type_ids"][0]
        segment_of = encoded.sequence_ids(0)
        spans = [
            _trimmed(rendered.segments, segment, start, end) if segment is not None else None
            for segment, (start, end) in zip(segment_of, encoded["offset_mapping"][0], strict=True)
        ]

        def inside(token: int, span: tuple[int, int, int]) -> bool:
            own = spans[token]
            if own is None or own[0] != span[0] or own[2] > span[2]:
                return False
            return own[1] >= span[1] if own[1] < own[2] else own[1] > span[1]  # a space belongs to what it ends

        slots: dict[int, int] = {}
        for *span, first in rendered.softs:
            within = [t for t in range(len(ids)) if _overlaps(spans[t], span)]
            slots.update({token: first + i for i, token in enumerate(within)})
        masks = {t for t in range(len(ids)) if any(_overlaps(spans[t], span) for span in rendered.masks)}
        masks = {t for t in masks if ids[t] == self.mask_id}
        if self.tokenizer.unk_token_id is not None:
            for t, own in enumerate(spans):  # text that normalises to the mask is not one
                if own is not None and ids[t] == self.mask_id and t not in masks and t not in slots:
                    ids[t] = self.tokenizer.unk_token_id
        dropped: set[int] = set()
        excess = len(ids) - self.max_length
        if excess > 0:
            owned = [[t for t in range(len(ids)) if inside(t, span)] for span in rendered.fields]
            if sum(map(len, owned)) < excess:
                raise UserError(
                    f"trainer.max_length={self.max_length}: the text of template '{self.template.source}' that is "
                    f"never shortened takes {len(ids) - sum(map(len, owned))} tokens. Give a larger one or a "
                    "shorter template."
                )
            for _ in range(excess):
                dropped.add(max(owned, key=len).pop())
        kept = [t for t in range(len(ids)) if t not in dropped]
        return Prompt(
            ids=[ids[t] for t in kept],
            types=[types[t] for t in kept],
            masks=tuple(i for i, t in enumerate(kept) if t in masks),
            soft=tuple((i, slots[t]) for i, t in enumerate(kept) if t in slots),
            cut=len(dropped),
        )


def _trimmed(segments: Sequence[str], segment: int, start: int, end: int) -> tuple[int, int, int]:
    """Where a token's text stands without the space before it, which byte-level tokenizers count to it or not."""
    while start < end and segments[segment][start].isspace():
        start += 1
    return segment, start, end


def _overlaps(own: tuple[int, int, int] | None, span: Sequence[int]) -> bool:
    return own is not None and own[0] == span[0] and own[1] < span[2] and own[2] > span[1]


def word_ids(tokenizer: Any, word: str, space: bool = True) -> list[int]:
    """The token ids of a word as it stands inside a text: behind a space, or glued to the character before.

    Encoding it behind a short context and taking the context away again gives what each family's tokenizer does
    there (RoBERTa's leading space, SentencePiece's mark, WordPiece's nothing) without a case for each.
    """
    return all_word_ids(tokenizer, [word], space)[0]


def all_word_ids(tokenizer: Any, words: Sequence[str], space: bool = True) -> list[list[int]]:
    """As `word_ids`, of many words at once."""
    context = "a" if space else "("
    before = tokenizer(context, add_special_tokens=False)["input_ids"]
    texts = [context + (" " if space else "") + word for word in words]
    found = []
    for word, ids in zip(words, tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else [], strict=True):
        if ids[: len(before)] == before and len(ids) > len(before):
            found.append(list(ids[len(before) :]))
        else:
            found.append(list(tokenizer(word, add_special_tokens=False)["input_ids"]))
    return found
