"""Logistic regression on sentence vectors of a frozen encoder: pretraining without any tuning of the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.errors import UserError
from pet_cli.methods.base import Context
from pet_cli.methods.linear import ValidatedMethod
from pet_cli.methods.sentences import SentenceEncoder


class SentenceLrMethod(ValidatedMethod):
    """Each text's vector, computed once in a process, and one weight of each of its numbers for each label."""

    def __init__(self, config: PetConfig, context: Context) -> None:
        super().__init__(config, context)
        self.encoder = SentenceEncoder(config, context)

    @classmethod
    def build(cls, config: PetConfig, context: Context) -> SentenceLrMethod:
        return cls(config, context)

    def learned(self, train: Split) -> np.ndarray:
        return self.features(train)

    def held_out(self, train: Split, seen: np.ndarray, unseen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        vectors = self.features(train)
        return vectors[seen], vectors[unseen]

    def features(self, split: Split) -> np.ndarray:
        return self.encoder.of(split)

    def facts(self, test: Split | None = None) -> dict[str, Any]:
        return self.encoder.facts(test) | super().facts(test)

    def save(self, folder: Path, whole: bool = True) -> None:
        self.write(folder, metadata={"model": self.encoder.lm.fingerprint()})

    @classmethod
    def load(cls, folder: Path, config: PetConfig, context: Context) -> SentenceLrMethod:
        own = cls(config, context)
        _, metadata = own.read(folder)
        lm = own.encoder.lm
        if metadata.get("model") != lm.fingerprint() or own.weights.shape[1] != lm.width:
            raise UserError(
                f"{folder / 'trained.safetensors'} was trained on another model than model.name={lm.name}, and means "
                "nothing to this one."
            )
        return own
