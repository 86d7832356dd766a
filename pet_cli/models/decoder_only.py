"""Decoder-only language models: the label word continues the prompt (GPT-2, Llama, Qwen2 and their kin).

The prompt ends where the template's mask stands. It runs once, whatever the number of label words: words of one token
need its last state alone, the further tokens of longer words ride along in the same pass (`WordTokens.tree_mask`).
"""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pet_cli.errors import UserError
from pet_cli.models.generative import (
    ROOM,
    GenerativeLM,
    WordTokens,
    Written,
    close_up,
    is_punctuation,
    without_borders,
)
from pet_cli.prompts.batch import Batch, Prompt, collate
from pet_cli.prompts.template import Mask, Template, Text

_RESCALED = ("final_logit_softcapping", "logit_scale", "logits_scaling")


class DecoderOnlyLM(GenerativeLM):
    """A pretrained causal LM. Batches are padded on the left, so that all prompts end in the same column."""

    family = "decoder_only"
    demonstrations_stand = "before"

    def __init__(self, name: str, model: Any, tokenizer: Any, device: torch.device, bf16: bool = False) -> None:
        if tokenizer.eos_token is None:
            raise UserError(f"model.name={name}: its tokenizer has no end-of-text token, which stands for the mask.")
        for key in _RESCALED:
            if getattr(model.config, key, None) not in (None, 1, 1.0):
                raise UserError(f"model.name={name}: it rescales its logits ({key}), which is not supported here.")
        super().__init__(name, model, tokenizer, device, bf16)
        self._takes_positions = "position_ids" in inspect.signature(model.base_model.forward).parameters
        self._read: dict[tuple[int, ...], Any] | None = None  # keys and values of contexts, within `remembering`

    @property
    def mask_token(self) -> str:
        """The end-of-text token; the model never reads it, since prompts end before it."""
        return str(self.tokenizer.eos_token)

    @property
    def positions(self) -> int:
        window = getattr(self.model.config, "sliding_window", None) or 10**9
        return min(super().positions, window) - ROOM

    def adapt(self, template: Template) -> Template:
        """Ends the template at its mask: punctuation behind it is left out, anything else cannot be read.

        Raises:
            UserError: text, a field or a trainable token behind the mask.
        """
        parts = without_borders(template.parts)
        places = [index for index, part in enumerate(parts) if isinstance(part, Mask)]
        if places:
            behind = parts[places[0] + 1 :]
            if not all(isinstance(part, Text) and is_punctuation(part.text) for part in behind):
                raise UserError(
                    f"template '{template.source}': {self.name} is a decoder-only model and reads from left to right, "
                    "so it cannot fill a mask that words follow. Move {mask} to the end, as in '{text} It was {mask}.'"
                )
            parts = parts[: places[0] + 1]
        return Template(template.source, tuple(close_up(parts)))

    def adapt_answered(self, template: Template) -> Template:
        return Template(template.source, tuple(close_up(without_borders(template.parts))))

    @contextlib.contextmanager
    def remembering(self) -> Iterator[None]:
        before, self._read = self._read, {}
        try:
            yield
        finally:
            self._read = before

    def collate(self, prompts: list[Prompt]) -> Batch:
        """Cuts the prompts at their masks and pads them on the left; `masks` are the positions that predict."""
        padding = self.tokenizer.pad_token_id
        if padding is None:
            padding = self.tokenizer.eos_token_id
        return collate([self._up_to_mask(prompt) for prompt in prompts], padding, self.device, left=True)

    def _up_to_mask(self, prompt: Prompt) -> Prompt:
        end = prompt.masks[0] if prompt.masks else len(prompt.ids)
        ids, types = prompt.ids[:end], prompt.types[:end]
        if not ids:  # an empty text alone: the answer then begins a new text
            start = self.tokenizer.bos_token_id
            ids, types = [self.tokenizer.eos_token_id if start is None else start], [0]
        masks = (len(ids) - 1,) if prompt.masks else ()
        return replace(prompt, ids=ids, types=types, masks=masks, soft=tuple(s for s in prompt.soft if s[0] < end))

    def encode(self, batch: Batch, embeds: Tensor | None = None) -> Tensor:
        return self._run(batch.input_ids, embeds, batch.attention_mask, _positions(batch.attention_mask))[0]

    def summary(self, hidden: Tensor, batch: Batch) -> Tensor:
        """The state of the last token, which alone has read the whole input."""
        return hidden[:, -1]

    def answer(self, batch: Batch, words: WordTokens | None, embeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if words is not None and not self._takes_positions:
            raise UserError(
                f"model.name={self.name}: {type(self.model).__name__} takes no position ids, so its label words must "
                "be one token each. Choose other words in verbalizer=."
            )
        size, own = len(batch), 0 if words is None else len(words)
        # What nothing trains on and all prompts begin with is read once, for one prompt.
        front = 0 if torch.is_grad_enabled() or not self._takes_positions else batch.shared
        cache = self._context(batch, front) if front else None
        ids = batch.input_ids[:, front:]
        embeds = None if embeds is None else embeds[:, front:]
        # Padding stands on the left: where the padded context would have stood, it now is.
        readable = F.pad(batch.attention_mask[:, : batch.attention_mask.shape[1] - front], (front, 0), value=1)
        attention, positions = readable, _positions(readable)[:, front:]
        if words is not None:
            ids = torch.cat([ids, words.inputs.expand(size, -1)], dim=1)
            if embeds is not None:
                more = self.model.get_input_embeddings()(words.inputs)
                embeds = torch.cat([embeds, more.expand(size, -1, -1)], dim=1)
            positions = torch.cat([positions, readable.sum(dim=1, keepdim=True) + words.offset], dim=1)
            attention = words.tree_mask(readable.bool())[:, :, front:]
        options: dict[str, Any] = {} if cache is None else {"use_cache": True, "past_key_values": cache}
        hidden = self._run(ids, embeds, attention, positions, **options)[0]
        end = hidden.shape[1] - own
        return hidden[:, end - 1].float(), hidden[:, end:].float()

    def _context(self, batch: Batch, front: int) -> Any:
        """Keys and values of the first `front` tokens of a batch's prompts, as many times as there are prompts."""
        longest = int(batch.attention_mask.sum(dim=1).argmax())  # it has no padding
        ids = batch.input_ids[longest, :front]
        known = {} if self._read is None else self._read
        key = tuple(ids.tolist())
        if key not in known:
            all_read = torch.ones_like(ids).unsqueeze(0)
            output = self._run(ids.unsqueeze(0), None, all_read, _positions(all_read), use_cache=True)
            known[key] = output.past_key_values
        cache = copy.deepcopy(known[key])  # it grows where it is used
        cache.batch_repeat_interleave(len(batch))
        return cache

    def begin(self, batch: Batch) -> Written:
        """Reads inputs, and stands behind each."""
        output = self._run(
            batch.input_ids, None, batch.attention_mask, _positions(batch.attention_mask), use_cache=True
        )
        return Written(output[0][:, -1].float(), output.past_key_values, batch.attention_mask)

    def write(self, before: Written, rows: Tensor, tokens: Tensor) -> Written:
        """Writes one token more behind some of the rows, each of which may be taken several times.

        Args:
            rows: of what was written before, `[new rows]`.
            tokens: what is written behind each of them, `[new rows]`.
        """
        before.cache.reorder_cache(rows)
        mask = F.pad(before.mask[rows], (0, 1), value=1)
        positions = mask.sum(dim=1, keepdim=True) - 1
        output = self._run(tokens.unsqueeze(1), None, mask, positions, use_cache=True, past_key_values=before.cache)
        return Written(output[0][:, -1].float(), output.past_key_values, mask)

    def _run(self, ids: Tensor, embeds: Tensor | None, attention: Tensor, positions: Tensor, **options: Any) -> Any:
        """The output of the body, its states first, `[batch, length, hidden]`."""
        inputs: dict[str, Any] = {"attention_mask": attention, "use_cache": False, **options}
        inputs |= {"input_ids": ids} if embeds is None else {"inputs_embeds": embeds}
        if self._takes_positions:
            inputs["position_ids"] = positions
        with self.autocast():
            return self.model.base_model(**inputs)


def _positions(attention: Tensor) -> Tensor:
    """Each token's place in its own prompt, `[batch, length]`; 0 in the padding before it."""
    return (attention.cumsum(dim=1) - 1).clamp(min=0)
