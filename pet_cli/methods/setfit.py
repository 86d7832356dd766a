"""SetFit (Tunstall et al. 2022): an encoder learns from pairs which texts share a label; then a linear model on it.

The loss is that of the paper and of sentence-transformers: the squared distance of a pair's cosine similarity from 1,
where both texts have one label, or from 0.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pet_cli.config.method import SetfitSettings
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.methods.base import Context
from pet_cli.methods.linear import LinearMethod
from pet_cli.methods.prompted import saved_model, trained_facts
from pet_cli.methods.sentences import SentenceEncoder
from pet_cli.models.base import evaluating
from pet_cli.prompts.batch import Prompt
from pet_cli.training.loop import TrainReport, TrainSettings, steps_for, train
from pet_cli.tuning.base import decay_groups, forget


@dataclass(frozen=True)
class Pairs:
    """Pairs of texts.

    Attributes:
        places: of both texts of each pair among the prompts, `[pairs, 2]`.
        alike: 1 where both have one label, else 0, `[pairs]`.
    """

    prompts: list[Prompt]
    places: Tensor
    alike: Tensor

    def __len__(self) -> int:
        return len(self.places)


def drawn_pairs(gold: Sequence[int], each: int, seed: int) -> tuple[Tensor, Tensor]:
    """Of each text `each` pairs with others of its label, if there are any, and as many with texts of other labels.

    Returns:
        The places of both texts `[pairs, 2]`, and whether they share a label, 1 or 0, `[pairs]`.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor(gold)
    places, alike = [], []
    for place, label in enumerate(gold):
        same = (labels == label).nonzero()[:, 0]
        for others, mark in ((same[same != place], 1.0), ((labels != label).nonzero()[:, 0], 0.0)):
            if len(others):
                drawn = others[torch.randint(len(others), (each,), generator=generator)]
                places += [[place, other] for other in drawn.tolist()]
                alike += [mark] * each
    return torch.tensor(places, dtype=torch.long).reshape(-1, 2), torch.tensor(alike)


class ContrastiveLearner:
    """An encoder, as the training loop trains it on pairs (`training.loop.Trainable`)."""

    def __init__(self, encoder: SentenceEncoder, settings: SetfitSettings) -> None:
        self.encoder = encoder
        self.settings = settings

    @property
    def device(self) -> torch.device:
        return self.encoder.lm.device

    @property
    def body(self) -> nn.Module:
        model: nn.Module = self.encoder.lm.model
        return model

    @property
    def on_overflow(self) -> str:
        return self.encoder.lm.on_overflow

    def begin(self) -> None:
        """There is nothing to draw."""

    def end(self) -> None:
        """There is nothing to fold away."""

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        with evaluating(self.body):
            self.body.train(self.settings.dropout)
            yield

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        return decay_groups(list(self.encoder.lm.model.base_model.named_parameters()), learning_rate)

    def loss(
        self, pairs: Pairs, indices: Sequence[int], targets: Tensor, weight: Tensor | None, temperature: float
    ) -> Tensor:
        """The mean squared distance of the pairs' cosine similarities from `targets` `[indices]`."""
        texts, own = pairs.places[list(indices)].unique(return_inverse=True)  # one that stands in several is read once
        vectors = self.encoder.vectors([pairs.prompts[place] for place in texts.tolist()])
        left, right = vectors[own[:, 0].to(self.device)], vectors[own[:, 1].to(self.device)]
        return F.mse_loss(F.cosine_similarity(left, right), targets)

    def predict(self, pairs: Pairs) -> Tensor:
        raise NotImplementedError("pairs have no label scores: no development set chooses a step")


class SetfitMethod(LinearMethod):
    """Contrastive training of the encoder, and one weight of each number of a vector for each label."""

    def __init__(self, config: PetConfig, context: Context) -> None:
        super().__init__(config, context)
        self.settings: SetfitSettings = config.method
        self.encoder = SentenceEncoder(config, context)
        self.trained: tuple[TrainReport, TrainSettings] | None = None

    @classmethod
    def build(cls, config: PetConfig, context: Context) -> SetfitMethod:
        return cls(config, context)

    def choose(self, train: Split) -> float:
        """As it is set: vectors that were trained on all examples tell nothing of any that is held out."""
        return self.settings.strength

    def learned(self, train: Split) -> np.ndarray:
        self._contrast(train)
        return self.features(train)

    def features(self, split: Split) -> np.ndarray:
        return self.encoder.of(split, frozen=False)

    def _contrast(self, sample: Split) -> None:
        """Trains the encoder on pairs; not where all examples are of one label."""
        if len(set(sample.gold)) < 2:
            return
        trainer, lm = self.config.trainer, self.encoder.lm
        pairs = Pairs(
            self.encoder.tokens.encode(sample.rows), *drawn_pairs(sample.gold, self.settings.pairs, trainer.seed)
        )
        rate = trainer.learning_rate or self.settings.learning_rate or self.config.model.learning_rate
        steps = steps_for(len(pairs), trainer.max_steps, trainer.batch_size, self.settings)
        how = TrainSettings.of(trainer, steps, rate or lm.default_learning_rate)
        with self.context.progress.stage("train", steps) as advance:
            report = train(ContrastiveLearner(self.encoder, self.settings), pairs, pairs.alike, how, advance=advance)
        self.trained = report, how

    def facts(self, test: Split | None = None) -> dict[str, Any]:
        found = self.encoder.facts(test) | super().facts(test)
        if self.trained is None:
            return found
        own = sum(parameter.numel() for parameter in self.encoder.lm.model.base_model.parameters())
        return found | trained_facts(*self.trained) | {"trained_parameters": found["trained_parameters"] + own}

    def save(self, folder: Path, whole: bool = True) -> None:
        forget(folder)
        self.write(folder)
        if whole:
            self.encoder.lm.save(folder / "model")

    @classmethod
    def load(cls, folder: Path, config: PetConfig, context: Context) -> SetfitMethod:
        own = cls(saved_model(folder, config), context)
        own.read(folder)
        return own
