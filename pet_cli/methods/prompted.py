"""Prompts and classifiers on a language model: what a tuning mode trains, as a method.

sample -> model -> learner -> training -> label scores
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pet_cli.base.clock import Clock
from pet_cli.base.progress import Progress
from pet_cli.config import registry, resolve
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.errors import UserError
from pet_cli.methods.base import CHUNK, Context, Method
from pet_cli.models.base import LanguageModel
from pet_cli.prompts.demonstrations import Demonstrations
from pet_cli.runs.outcome import score
from pet_cli.runs.session import Session
from pet_cli.training.loop import TrainReport, TrainSettings, balanced_weights, steps_for, train
from pet_cli.training.mlm import MaskedModelling
from pet_cli.tuning import Learner, PromptLearner, learner_class
from pet_cli.tuning.base import Encoded
from pet_cli.verbalizers.candidates import CandidatesVerbalizer


class PromptMethod(Method):
    """A learner on a language model.

    Args:
        learner: the tuning mode's learner, untrained or with what `load` read.
    """

    def __init__(self, config: PetConfig, learner: Learner, context: Context) -> None:
        super().__init__(config, context)
        self.learner = learner
        self.trained: tuple[TrainReport, TrainSettings] | None = None
        self.shortened: dict[str, int] = {}
        self.lacking: dict[str, int] = {}

    @classmethod
    def build(cls, config: PetConfig, context: Context) -> PromptMethod:
        with context.clock.phase("model"):
            lm = context.session.language_model(config)
        torch.manual_seed(config.trainer.seed)
        return cls(config, build_learner(config, lm, context.session), context)

    @classmethod
    def load(cls, folder: Path, config: PetConfig, context: Context) -> PromptMethod:
        config = with_saved_model(folder, replace(config, tuning=config.tuning.saved()))
        with torch.random.fork_rng(devices=[]):  # what is about to be loaded is drawn first
            learner = build_learner(config, context.session.language_model(config), context.session)
            learner.load(folder)
        if config.demonstrations.per_label:
            assert isinstance(learner, PromptLearner)
            learner.show(Demonstrations.load(folder, learner.labels, list(config.task.fields), **_how(config)))
        return cls(config, learner, context)

    def fit(
        self,
        splits: Mapping[str, Split],
        *,
        soft: Tensor | None = None,
        temperature: float = 1.0,
        auxiliary: Auxiliary | None = None,
    ) -> None:
        """Trains on `train`, with the checkpoint that does best on `dev`; demonstrations are of `train`, and a method
        that was not fitted shows none.

        Args:
            soft: label probabilities `[examples, labels]` to learn instead of the labels, at `temperature`.
            auxiliary: PET's masked-LM loss beside the labels'.
        """
        context, trainer = self.context, self.config.trainer
        if self.config.demonstrations.per_label:
            show(self.config, self.learner, self.sample(splits))
        if auxiliary is None and trainer.mlm_alpha > 0:
            if not splits.get("unlabeled"):
                raise UserError("trainer.mlm_alpha: there are no unlabeled texts; see data.unlabeled.")
            auxiliary = Auxiliary(splits["unlabeled"], trainer.mlm_batch_size, trainer.mlm_alpha)
        self.trained = fit(
            self.config,
            self.learner,
            splits,
            context.clock,
            context.progress,
            soft=soft,
            temperature=temperature,
            auxiliary=auxiliary,
        )

    def predict(self, split: Split) -> np.ndarray:
        scores, shortened, lacking = score_split(self.learner, split, self.context.clock, self.context.progress)
        self.shortened[split.name], self.lacking[split.name] = shortened, lacking
        return scores.numpy()

    def save(self, folder: Path, whole: bool = True) -> None:
        self.learner.save(folder, whole)
        if self.learner.in_context is not None:
            self.learner.in_context.demonstrations.save(folder)

    def facts(self, test: Split | None = None) -> dict[str, Any]:
        return facts(self.learner, self.trained, self.shortened.get("test", 0), test)

    def notes(self) -> list[str]:
        lacking = self.lacking.get("test", 0)
        return [f"{lacking} test examples left no room for all of their demonstrations"] if lacking else []


def facts(
    learner: Learner,
    trained: tuple[TrainReport, TrainSettings] | None,
    shortened: int,
    test: Split | None = None,
) -> dict[str, Any]:
    """What the metrics say of a learner: how it read the test examples, and how it was trained."""
    found: dict[str, Any] = {
        "shortened": shortened,
        "model_parameters": sum(parameter.numel() for parameter in learner.lm.model.parameters()),
    }
    if test:
        found["unknown_tokens"] = round(unknown_share(learner.lm, test), 4)
    return found | ({"trained_parameters": learner.trained_parameters()} | trained_facts(*trained) if trained else {})


def trained_facts(report: TrainReport, how: TrainSettings) -> dict[str, Any]:
    """What the metrics say of a training."""
    return {
        "steps": how.steps,
        "learning_rate": how.learning_rate,
        "first_loss": report.losses[0] if report.losses else None,
        "last_loss": float(np.mean(report.losses[-10:])) if report.losses else None,
        "dev_score": report.dev_score,
        "kept_step": report.kept_step,
    }


def unknown_share(lm: LanguageModel, split: Split, most: int = 256) -> float:
    """The share of a split's tokens, of its first `most` texts, that the model's vocabulary does not have."""
    unknown = lm.tokenizer.unk_token_id
    texts = [text for fields in split.rows[:most] for text in fields.values() if text.strip()]
    if unknown is None or not texts:
        return 0.0
    ids = [token for one in lm.tokenizer(texts, add_special_tokens=False)["input_ids"] for token in one]
    return ids.count(unknown) / max(1, len(ids))


def with_saved_model(folder: Path, config: PetConfig) -> PetConfig:
    """The settings with the model that a run saved in its folder in place of the one that it began with."""
    return saved_model(folder, config) if config.tuning.changes_model else config


def saved_model(folder: Path, config: PetConfig) -> PetConfig:
    """The settings with the trained model in a run's folder. Raises `UserError` where none was saved."""
    if not (folder / "model").is_dir():
        raise UserError(
            f"{folder}: the trained model was not saved (in a sweep, and an ensemble's members, it is on request). "
            "Train again with save_model=always."
        )
    return replace(config, model=replace(config.model, name=str(folder / "model"), revision=None))


def show(config: PetConfig, learner: Learner, sample: Split) -> None:
    """Puts demonstrations of the sample into every prompt of a learner. Raises `UserError` for too few, or too long."""
    assert isinstance(learner, PromptLearner)
    how = _how(config)
    learner.show(Demonstrations.of(sample.examples, learner.labels, seed=config.data.seed, **how))


def _how(config: PetConfig) -> dict[str, Any]:
    """How demonstrations are chosen, as `Demonstrations` takes it."""
    own = config.demonstrations
    return {"per_label": own.per_label, "draws": own.draws, "nearest": own.choose == "nearest"}


def max_length(config: PetConfig, lm: LanguageModel) -> int:
    """The most tokens of an input. Raises `UserError` for more than the model takes."""
    found = config.trainer.max_length or min(512 if config.demonstrations.per_label else 256, lm.positions)
    if found > lm.positions:
        raise UserError(f"trainer.max_length={found}: the model takes at most {lm.positions} tokens.")
    return found


def build_learner(config: PetConfig, lm: LanguageModel, session: Session) -> Learner:
    """The tuning mode's learner on a model. Raises `UserError` for words or lengths the model cannot take."""
    cls = learner_class(config.tuning)
    options: dict[str, Any] = {
        "settings": config.tuning,
        "labels": resolve.labels(config),
        "max_length": max_length(config, lm),
        "batch_size": config.trainer.eval_batch_size,
        "memo": session.memo,
    }
    if not issubclass(cls, PromptLearner):
        return cls(lm, resolve.input_template(config), **options)
    by = registry.implementation("scoring", config.scoring.name)
    if resolve.target(config).kind == "choice":
        by = CandidatesVerbalizer
    verbalizer = by(resolve.verbalizer_words(config), config.scoring)
    return cls(lm, resolve.prompt_template(config), verbalizer=verbalizer, **options)


def train_settings(config: PetConfig, lm: LanguageModel, n: int) -> TrainSettings:
    """Resolves what the configuration leaves open: steps by the number of examples, the learning rate by the model."""
    trainer = config.trainer
    rate = trainer.learning_rate or config.tuning.learning_rate or config.model.learning_rate
    steps = steps_for(n, trainer.max_steps, trainer.batch_size, config.tuning)
    return TrainSettings.of(trainer, steps, rate or lm.default_learning_rate)


@dataclass(frozen=True)
class Auxiliary:
    """PET's auxiliary task while a prompt trains: unlabeled texts, their number in a step, the share of the loss."""

    unlabeled: Split
    batch_size: int
    alpha: float


def fit(
    config: PetConfig,
    learner: Learner,
    splits: Mapping[str, Split],
    clock: Clock,
    progress: Progress,
    *,
    soft: Tensor | None = None,
    temperature: float = 1.0,
    auxiliary: Auxiliary | None = None,
) -> tuple[TrainReport, TrainSettings] | None:
    """Trains a learner on the run's sample; None where there is nothing to train, or nothing to train on.

    Args:
        soft: label probabilities `[examples, labels]` to learn instead of the labels, at `temperature`.
    """
    sample = splits.get("train")
    if not resolve.trains(config) or not sample:
        return None
    how = train_settings(config, learner.lm, len(sample))
    weights = None
    if config.trainer.class_weights == "balanced":
        weights = balanced_weights(sample.gold, len(learner.labels))
    with clock.phase("encode"), progress.stage("encode", len(sample)) as advance:
        encoded = encode_whole(learner, sample, advance)
        dev = None
        if splits.get("dev"):
            own = splits["dev"]
            dev = (encode_whole(learner, own), good_on(config, own))
        mlm = None
        if auxiliary is not None and auxiliary.alpha > 0 and learner.lm_loss_trains:
            assert isinstance(learner, PromptLearner)
            texts = auxiliary.unlabeled
            prompts = learner.queries(texts.rows, texts.fingerprint)
            mlm = MaskedModelling(learner, prompts, auxiliary.batch_size, how.seed, window=config.trainer.mlm_window)
    targets = to_learn(config, sample) if soft is None else soft
    with clock.phase("train"), progress.stage("train", how.steps) as advance:
        report = train(
            learner,
            encoded,
            targets.repeat(encoded.draws, *[1] * (targets.dim() - 1)),
            how,
            class_weight=weights,
            dev=dev,
            temperature=temperature,
            mlm=mlm,
            alpha=auxiliary.alpha if auxiliary and mlm else 0.0,
            advance=advance,
        )
    return report, how


def encode_whole(learner: Learner, split: Split, advance: Callable[[int], None] | None = None) -> Encoded:
    """A split ready for a learner; of a part, its share of the split that it is part of."""
    if split.whole is not None:
        return encode_whole(learner, split.whole, advance).part(split.places)
    return learner.encode(split.rows, split.fingerprint, advance, split.candidates)


def to_learn(config: PetConfig, sample: Split) -> Tensor:
    """What a learner learns of labeled examples: label indices `[examples]` or probabilities `[examples, labels]`."""
    wanted = torch.from_numpy(resolve.target(config).to_learn(sample.gold))
    return wanted.float() if wanted.is_floating_point() else wanted


def good_on(config: PetConfig, split: Split) -> Callable[[Tensor], float]:
    """The task's score of label scores `[examples, labels]` on a split."""
    return lambda scores: score(config, split, scores.numpy())


def score_split(learner: Learner, split: Split, clock: Clock, progress: Progress) -> tuple[Tensor, int, int]:
    """Label scores `[examples, labels]` of a split, how many of its examples were shortened, and how many had no room
    for all of their demonstrations.

    At most `CHUNK` examples are asked together, in a run and by `pet predict` alike: what shares a batch decides the
    last digits of a score.
    """
    rows, candidates, shortened, lacking, found = split.rows, split.candidates, 0, 0, []
    for start in range(0, max(1, len(rows)), CHUNK):
        part = rows[start : start + CHUNK]
        key = None
        if split.kept:
            key = split.fingerprint if len(rows) <= CHUNK else f"{split.fingerprint}/{start}"
        with clock.phase(f"encode {split.name}"), progress.stage("encode", len(part)) as advance:
            if split.whole is not None and len(part) == len(rows):
                encoded = encode_whole(learner, split, advance)
            else:
                own = None if candidates is None else candidates[start : start + CHUNK]
                encoded = learner.encode(part, key, advance, own)
        with clock.phase(f"evaluate {split.name}"), progress.stage("evaluate", len(part)) as advance:
            found.append(learner.predict(encoded, advance))
        shortened += encoded.shortened
        lacking += encoded.lacking
    most = max(scores.shape[1] for scores in found)  # candidates differ in number
    padded = [F.pad(scores, (0, most - scores.shape[1]), value=-torch.inf) for scores in found]
    return torch.cat(padded), shortened, lacking
