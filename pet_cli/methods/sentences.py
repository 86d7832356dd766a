"""One vector for each text, of an encoder: what a linear model learns from, as it is or after contrastive training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pet_cli.base.memo import Memo
from pet_cli.config import resolve
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.methods.base import CHUNK, Context
from pet_cli.methods.prompted import max_length, unknown_share
from pet_cli.models.base import LanguageModel, evaluating
from pet_cli.prompts.batch import Prompt, buckets
from pet_cli.prompts.encoder import PromptEncoder


class SentenceEncoder:
    """Vectors of the plain text, all fields in one input as a classifier reads it.

    Args:
        lm: the language model, of which the body alone is asked.

    Attributes:
        shortened: split -> how many of its texts were.
    """

    def __init__(self, config: PetConfig, context: Context) -> None:
        with context.clock.phase("model"):
            self.lm: LanguageModel = context.session.language_model(config)
        self.context = context
        self.memo: Memo = context.session.memo
        self.pooling: str = config.method.pooling
        self.normalise: bool = config.method.normalise
        self.batch_size: int = config.trainer.eval_batch_size
        self.max_length = max_length(config, self.lm)
        self.template = resolve.input_template(config)
        self.tokens = PromptEncoder(
            self.lm.tokenizer, self.lm.adapt(self.template), self.max_length, self.lm.mask_token
        )
        self.shortened: dict[str, int] = {}

    def vectors(self, prompts: Sequence[Prompt]) -> Tensor:
        """`[prompts, hidden]`, float32, in the mode that the model is in."""
        found = self.lm.pooled(self.lm.collate(list(prompts)), self.pooling)
        return F.normalize(found, dim=1) if self.normalise else found

    def of(self, split: Split, frozen: bool = True) -> np.ndarray:
        """The vectors of a split's texts, `[examples, hidden]`, float64.

        Args:
            frozen: whether the model is as it was loaded, so that they are computed once in a process.
        """
        with self.context.clock.phase(f"encode {split.name}"):
            if frozen and split.kept and split.whole is not None:
                found = self.of(split.whole)[list(split.places)]
            elif not (frozen and split.kept):
                found, self.shortened[split.name] = self._computed(split)
            else:
                how = (self.template.source, self.max_length, self.pooling, self.normalise, self.batch_size)
                key = ("sentences", self.lm.identity, *how, split.fingerprint)
                found, self.shortened[split.name] = self.memo.get(key, lambda: self._computed(split))
        return found

    def _computed(self, split: Split) -> tuple[np.ndarray, int]:
        found, shortened = np.zeros((len(split), self.lm.width)), 0
        with (
            self.context.progress.stage("encode", len(split)) as advance,
            torch.inference_mode(),
            evaluating(self.lm.model),
        ):
            for start in range(0, len(split), CHUNK):  # what shares a batch decides the last digits
                prompts = self.tokens.encode(split.rows[start : start + CHUNK])
                shortened += sum(prompt.cut > 0 for prompt in prompts)
                for indices in buckets([len(prompt.ids) for prompt in prompts], self.batch_size):
                    vectors = self.vectors([prompts[index] for index in indices]).cpu().numpy()
                    found[[start + index for index in indices]] = vectors
                    advance(len(indices))
        return found, shortened

    def facts(self, test: Split | None) -> dict[str, Any]:
        """What the metrics say of how the test examples were read."""
        found: dict[str, Any] = {
            "shortened": self.shortened.get("test", 0),
            "model_parameters": sum(parameter.numel() for parameter in self.lm.model.parameters()),
        }
        return found | ({"unknown_tokens": round(unknown_share(self.lm, test), 4)} if test else {})
