"""Masked language models: states at the mask, and the scores of words there (BERT, RoBERTa, and their kin).

Only the mask's position goes through the prediction head, and only the label words' columns through the vocabulary
projection. The prediction head is found by its structure, so a new model type with a known shape works as it is.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from pet_cli.errors import UserError
from pet_cli.models.base import Asked, LanguageModel
from pet_cli.prompts.batch import Batch
from pet_cli.prompts.query import Answers


class MaskedLM(LanguageModel):
    """A pretrained masked LM.

    Attributes:
        transform: the head before the vocabulary projection, `[..., hidden] -> [..., embedding]`; missing where the
            model is an encoder alone (`load(head=False)`), which nobody asks for words.
    """

    family = "masked"
    single_token_words = True

    def __init__(self, name: str, model: Any, tokenizer: Any, device: torch.device, bf16: bool = False) -> None:
        bare = model.base_model is model
        if tokenizer.mask_token is None and not bare:
            raise UserError(f"model.name={name}: its tokenizer has no mask token; a masked LM is needed.")
        super().__init__(name, model, tokenizer, device, bf16)
        if not bare:
            self.transform = _transform(model, name)
        self._takes_types = "token_type_ids" in inspect.signature(model.base_model.forward).parameters

    @property
    def mask_token(self) -> str:
        return str(self.tokenizer.mask_token or self.tokenizer.unk_token)

    @property
    def projection(self) -> tuple[Tensor, Tensor | None]:
        head = getattr(getattr(self.model, "lm_predictions", None), "lm_head", None)
        if head is not None:  # DeBERTa's own head projects by the input embeddings and keeps its bias apart
            return self.model.get_input_embeddings().weight, head.bias
        return super().projection

    @property
    def positions(self) -> int:
        """The most tokens the model takes."""
        config = self.model.config
        limit = int(getattr(config, "max_position_embeddings", 0) or 10**9)
        embeddings = getattr(self.model.base_model, "embeddings", None)
        padding: int | None = getattr(embeddings, "padding_idx", None)
        if padding is not None:
            limit -= padding + 1  # RoBERTa and MPNet number positions from behind their padding index
        return min(limit, int(self.tokenizer.model_max_length))

    def encode(self, batch: Batch, embeds: Tensor | None = None) -> Tensor:
        """Runs the encoder: `[batch, length, hidden]`. `embeds` replace the looked-up embeddings, for soft prompts."""
        inputs: dict[str, Any] = {"attention_mask": batch.attention_mask}
        if embeds is None:
            inputs["input_ids"] = batch.input_ids
        else:
            inputs["inputs_embeds"] = embeds
        if self._takes_types:
            inputs["token_type_ids"] = batch.token_type_ids
        with self.autocast():
            return self.model.base_model(**inputs)[0]

    def states(self, batch: Batch, embeds: Tensor | None = None) -> Tensor:
        """The encoder's states at the masks, `[batch, masks, hidden]`, float32."""
        hidden = self.encode(batch, embeds)
        rows = torch.arange(len(batch), device=hidden.device).unsqueeze(1)
        return hidden[rows, batch.masks].float()

    def features(self, states: Tensor) -> Tensor:
        return self.transform(states)  # type: ignore[no-any-return]

    def masks_for(self, answers: Answers) -> int:
        return answers.longest

    def reads_states(self, answers: Asked) -> bool:
        return True


def _transform(model: Any, name: str) -> nn.Module:
    """The prediction head up to the vocabulary projection, by its structure."""
    predictions = getattr(getattr(model, "cls", None), "predictions", None)
    if hasattr(predictions, "transform"):  # BERT, legacy DeBERTa
        return predictions.transform  # type: ignore[union-attr, no-any-return]
    if hasattr(model, "lm_predictions"):  # DeBERTa
        head = model.lm_predictions.lm_head
        return nn.Sequential(head.dense, _activation(head.transform_act_fn), head.LayerNorm)
    head = getattr(model, "lm_head", None)
    if hasattr(head, "dense") and hasattr(head, "layer_norm"):  # RoBERTa, XLM-R, MPNet
        return nn.Sequential(head.dense, nn.GELU(), head.layer_norm)  # type: ignore[union-attr]
    predictions = getattr(model, "predictions", None)
    if hasattr(predictions, "dense") and hasattr(predictions, "LayerNorm"):  # ALBERT
        return nn.Sequential(predictions.dense, _activation(predictions.activation), predictions.LayerNorm)  # type: ignore[union-attr]
    if hasattr(model, "generator_predictions"):  # ELECTRA's generator
        return model.generator_predictions  # type: ignore[no-any-return]
    if hasattr(model, "vocab_transform"):  # DistilBERT
        return nn.Sequential(model.vocab_transform, _activation(model.activation), model.vocab_layer_norm)
    if hasattr(model, "head") and hasattr(model, "decoder"):  # ModernBERT
        return model.head  # type: ignore[no-any-return]
    raise UserError(
        f"model.name={name}: the MLM head of {type(model).__name__} is of a shape unknown here; known are those of "
        "BERT, RoBERTa, XLM-R, MPNet, ALBERT, DeBERTa, ELECTRA, DistilBERT and ModernBERT."
    )


class _Function(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)  # type: ignore[no-any-return]


def _activation(function: Any) -> nn.Module:
    return function if isinstance(function, nn.Module) else _Function(function)
