"""Encoder-decoder language models: the decoder writes what stands at the encoder's mask (T5, mT5, Flan-T5, BART).

The encoder runs once for an example, whatever the number of label words; the decoder's part up to the mask too.
"""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import AddedToken
from torch import Tensor

from pet_cli.errors import UserError
from pet_cli.models.generative import ROOM, GenerativeLM, WordTokens, Written, close_up, without_borders
from pet_cli.prompts.batch import Batch
from pet_cli.prompts.template import Template

_SENTINEL = "<extra_id_0>"


class EncoderDecoderLM(GenerativeLM):
    """A pretrained encoder-decoder. `encode` gives the encoder's states."""

    family = "encoder_decoder"

    def encode(self, batch: Batch, embeds: Tensor | None = None) -> Tensor:
        inputs = {"input_ids": batch.input_ids} if embeds is None else {"inputs_embeds": embeds}
        with self.autocast():
            return self.model.get_encoder()(attention_mask=batch.attention_mask, **inputs)[0]

    def summary(self, hidden: Tensor, batch: Batch) -> Tensor:
        """The state of the end token: the first one of T5 is a word of the text."""
        last = batch.attention_mask.sum(dim=1) - 1
        return hidden[torch.arange(len(hidden), device=hidden.device), last]

    def _decode(self, encoded: Tensor, batch: Batch, **inputs: Any) -> Any:
        """The decoder's output over the encoder's states `[batch, length, hidden]`."""
        with self.autocast():
            return self.model.get_decoder()(
                encoder_hidden_states=encoded, encoder_attention_mask=batch.attention_mask, **inputs
            )

    @property
    def _start(self) -> int:
        """The token the decoder starts with."""
        return int(self.model.config.decoder_start_token_id)


class T5LM(EncoderDecoderLM):
    """T5, mT5, Flan-T5: span corruption (Raffel et al., JMLR 2020) as the cloze.

    The encoder reads the first sentinel where the mask stands; the decoder is given it as the first token of the
    target, and the word's tokens are scored behind it: `<extra_id_0> word`. The sentinel that would close the span is
    not part of a word's score. T5 knows no segments: a template's border is a space.
    """

    def __init__(self, name: str, model: Any, tokenizer: Any, device: torch.device, bf16: bool = False) -> None:
        # mT5's vocabulary writes its sentinels with SentencePiece's mark.
        self._sentinel = next((text for text in (_SENTINEL, f"▁{_SENTINEL}") if text in tokenizer.get_vocab()), None)
        if self._sentinel is None:
            raise UserError(
                f"model.name={name}: its tokenizer has no sentinel '{_SENTINEL}', which stands for the mask. "
                "Choose a T5 whose tokenizer kept them, such as google/t5-v1_1-base."
            )
        if self._sentinel != _SENTINEL or _SENTINEL not in tokenizer.all_special_tokens:
            # In mT5 an ordinary piece of the vocabulary: it keeps its id, and is now read as one token anywhere.
            tokenizer.add_tokens([AddedToken(self._sentinel, normalized=False, special=True)], special_tokens=True)
        super().__init__(name, model, tokenizer, device, bf16)
        self._sentinel_id: int = tokenizer.convert_tokens_to_ids(self._sentinel)
        self._scale = _output_scale(self.model, device) if hasattr(model, "decoder") else 1.0  # an encoder alone

    demonstrations_stand = "inside"  # T5 knows no segments

    @property
    def mask_token(self) -> str:
        return str(self._sentinel)

    def adapt(self, template: Template) -> Template:
        return Template(template.source, tuple(close_up(without_borders(template.parts))))

    def features(self, states: Tensor) -> Tensor:
        return states * self._scale

    def answer(self, batch: Batch, words: WordTokens | None, embeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        size = len(batch)
        encoded = self.encode(batch, embeds)
        begin = torch.tensor([self._start, self._sentinel_id], device=self.device).expand(size, -1)
        output = self._decode(encoded, batch, input_ids=begin, use_cache=words is not None)
        state = output[0][:, -1].float()
        if words is None:
            return state, state.new_zeros(size, 0, state.shape[-1])
        # T5's distances between positions cannot be told to it, so words do not share a sequence here: each has a row,
        # with the keys and values of the encoder's states, computed above, repeated.
        real = words.owner >= 0
        line = ((words.offset == 0) & real).cumsum(dim=1) - 1  # of each input's answer among those of several tokens
        line, lines = line.clamp(min=0), int(line.max()) + 1
        query = torch.arange(len(line), device=self.device).unsqueeze(1).expand_as(line)
        ids = torch.full((len(line), lines, words.answers.longest - 1), self._sentinel_id, device=self.device)
        ids[query[real], line[real], words.offset[real]] = words.inputs[real]
        cache = output.past_key_values
        cache.batch_repeat_interleave(lines)
        ids_, attention, types, masks = (t.repeat_interleave(lines, dim=0) for t in _tensors(batch))
        rows = Batch(ids_, attention, types, masks)
        output = self._decode(
            encoded.repeat_interleave(lines, dim=0),
            rows,
            input_ids=ids.expand(size, -1, -1).flatten(0, 1),
            past_key_values=cache,
            use_cache=True,
        )
        hidden = output[0].unflatten(0, (size, lines))  # [batch, lines, tokens, hidden]
        each = torch.arange(size, device=self.device).unsqueeze(1)
        return state, hidden[each, line, words.offset].float()

    def sentinels(self, number: int) -> list[int]:
        """The tokens of the first `number` sentinels. Raises `UserError` where the tokenizer has fewer."""
        names = [self.mask_token.replace("0", str(place)) for place in range(number)]
        if missing := [name for name in names if name not in self.tokenizer.get_vocab()]:
            raise UserError(f"model.name={self.name}: its tokenizer has no sentinel '{missing[0]}'.")
        return list(self.tokenizer.convert_tokens_to_ids(names))

    def begin(self, batch: Batch) -> Written:
        """Reads inputs, and stands in front of what the first sentinel hides in each."""
        encoded = self.encode(batch)
        first = torch.tensor([self._start, self._sentinel_id], device=self.device).expand(len(batch), -1)
        output = self._decode(encoded, batch, input_ids=first, use_cache=True)
        return Written(output[0][:, -1].float(), output.past_key_values, batch.attention_mask, encoded[:1])

    def write(self, before: Written, rows: Tensor, tokens: Tensor) -> Written:
        """Writes one token more behind some of the rows, each of which may be taken several times.

        Args:
            rows: of what was written before, `[new rows]`.
            tokens: what is written behind each of them, `[new rows]`.
        """
        cache, mask = before.cache, before.mask[rows]
        cache.self_attention_cache.reorder_cache(rows)
        cache.cross_attention_cache.reorder_cache(rows)
        assert before.encoded is not None
        with self.autocast():
            output = self.model.get_decoder()(
                input_ids=tokens.unsqueeze(1),
                encoder_hidden_states=before.encoded.expand(len(rows), -1, -1),  # for its shape: keys are kept
                encoder_attention_mask=mask,
                past_key_values=cache,
                use_cache=True,
            )
        return Written(output[0][:, -1].float(), output.past_key_values, mask, before.encoded)


class BartLM(EncoderDecoderLM):
    """BART: text infilling (Lewis et al., ACL 2020) as the cloze.

    BART was trained to write the whole text again. So the decoder is given the prompt up to its mask, and the word's
    tokens are scored behind it, all words in one pass (`WordTokens.tree_mask`). Trainable tokens of a soft prompt
    stand in the decoder's text as in the encoder's.
    """

    def __init__(self, name: str, model: Any, tokenizer: Any, device: torch.device, bf16: bool = False) -> None:
        if tokenizer.mask_token is None:
            raise UserError(f"model.name={name}: its tokenizer has no mask token, which BART fills.")
        super().__init__(name, model, tokenizer, device, bf16)

    @property
    def mask_token(self) -> str:
        return str(self.tokenizer.mask_token)

    @property
    def positions(self) -> int:
        return super().positions - ROOM

    @property
    def projection(self) -> tuple[Tensor, Tensor | None]:
        return self.model.lm_head.weight, self.model.final_logits_bias[0]

    def answer(self, batch: Batch, words: WordTokens | None, embeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        size = len(batch)
        encoded = self.encode(batch, embeds)
        mask = batch.masks[:, 0]
        longest = int(mask.max())
        embed = self.model.get_input_embeddings()
        text = embed(batch.input_ids) if embeds is None else embeds
        # Shifted by the start token: what stands in the decoder at the mask's position predicts the mask's token.
        start = embed(torch.tensor([self._start], device=self.device)).expand(size, 1, -1)
        inputs = torch.cat([start, text[:, :longest]], dim=1)
        options: dict[str, Any] = {}
        if words is not None:
            inputs = torch.cat([inputs, self._placed(words, mask, longest + 1)], dim=1)
            readable = torch.arange(longest + 1, device=mask.device) <= mask.unsqueeze(1)
            options["attention_mask"] = words.tree_mask(readable)
        hidden = self._decode(encoded, batch, inputs_embeds=inputs, use_cache=False, **options)[0]
        state = hidden[torch.arange(size, device=mask.device), mask].float()
        return state, hidden[:, longest + 1 :].float()

    def _placed(self, words: WordTokens, mask: Tensor, begin: int) -> Tensor:
        """Embeddings of the words' inputs `[batch, T, hidden]` that stand at `begin` and count from each mask.

        BART numbers its decoder's positions from the left and takes no others. What it will add for where an input
        stands in the sequence is taken away here, and what belongs to its place behind the mask added.
        """
        table = self.model.get_decoder().embed_positions
        if begin + len(words) + table.offset > len(table.weight):
            raise UserError(
                f"verbalizer: the label words take {len(words)} further tokens, too many behind this prompt for "
                f"{self.name}. Choose shorter words, or a smaller trainer.max_length."
            )
        wanted = mask.unsqueeze(1) + 1 + words.offset
        given = begin + torch.arange(len(words), device=mask.device)
        shift = table.weight[wanted + table.offset] - table.weight[given + table.offset]
        return self.model.get_input_embeddings()(words.inputs) + shift


@torch.inference_mode()
def _output_scale(model: Any, device: torch.device) -> float:
    """What the decoder's states are multiplied by before the vocabulary projection.

    T5 1.0 shrinks them, T5 1.1 and mT5 do not, and releases of transformers differ in how a configuration says so, or
    whether it does. So one token runs through the model and tells.
    """
    seen: list[Tensor] = []
    hooks = [
        model.get_decoder().register_forward_hook(lambda module, inputs, output: seen.append(output[0])),
        model.get_output_embeddings().register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0])),
    ]
    try:
        token = torch.tensor([[model.config.decoder_start_token_id]], device=device)
        model(input_ids=token, decoder_input_ids=token, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    states, projected = (tensor.float() for tensor in seen)
    return float(projected.norm() / states.norm())


def _tensors(batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return batch.input_ids, batch.attention_mask, batch.token_type_ids, batch.masks


KINDS: dict[str, type[EncoderDecoderLM]] = {"t5": T5LM, "mt5": T5LM, "umt5": T5LM, "bart": BartLM}
"""The class for each model type of transformers."""
