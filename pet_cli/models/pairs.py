"""Models that read two texts and say in which relation they stand: BERT's next-sentence head, and those trained on
inference, whose classes are its relations."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from pet_cli.config.method import NEXT, RELATIONS
from pet_cli.models.masked import MaskedLM
from pet_cli.prompts.batch import Prompt

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class PairModel:
    """A model with a head over pairs of texts.

    Attributes:
        name: how the user named it.
        body: its encoder, with the tokenizer, the device and how long a pair may be.
        model: the model of transformers, with its head.
        relations: the names of its classes, in their order.
        identity: as that of a `LanguageModel`.
    """

    def __init__(self, name: str, model: Any, body: MaskedLM, relations: Sequence[str]) -> None:
        self.name = name
        self.body = body
        self.model = model.to(body.device).eval()
        self.relations = tuple(relations)
        self.identity: tuple[Hashable, ...] = (name, str(body.device), body.bf16, object())  # `load_pairs` knows better
        self._takes = [name for name in _INPUTS if name in inspect.signature(model.forward).parameters]

    def log_probabilities(self, prompts: Sequence[Prompt]) -> Tensor:
        """Of the relations, `[prompts, relations]`, float32."""
        batch = self.body.collate(list(prompts))
        with torch.inference_mode(), self.body.autocast():
            logits: Tensor = self.model(**{name: getattr(batch, name) for name in self._takes}).logits
        return logits.float().log_softmax(-1)


def relations_of(labels: Any) -> tuple[str, ...] | None:
    """The relations that a classifier's configuration names (`id2label`), in their order; None where these are others.

    Names are taken in any case, as published models of inference write them.
    """
    names = tuple(str(name).lower() for _, name in sorted((labels or {}).items(), key=lambda item: int(item[0])))
    return names if NEXT in names and set(names) <= set(RELATIONS) else None
