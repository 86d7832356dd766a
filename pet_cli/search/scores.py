"""What a prompt is worth, told without anything that a run scores: by labels of the training examples, or without."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pet_cli.config import resolve
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.data.parts import most_parts, others, parts
from pet_cli.errors import UserError
from pet_cli.methods.prompted import build_learner, to_learn, train_settings
from pet_cli.runs import nats
from pet_cli.runs.outcome import score
from pet_cli.runs.session import Session
from pet_cli.runs.store import softmax
from pet_cli.training.loop import balanced_weights, train
from pet_cli.tuning.base import Encoded


@dataclass(frozen=True)
class Score:
    """How good label scores are: the task's score, and the mean of -log p(what is right), in nats."""

    score: float
    loss: float


def judged(config: PetConfig, split: Split, scores: Tensor) -> Score:
    """Label scores `[examples, labels]` of labeled examples."""
    losses = nats.losses(scores.numpy(), split.gold, resolve.target(config))
    return Score(score(config, split, scores.numpy()), float(losses.mean()))


def information(scores: Tensor) -> float:
    """The mutual information of texts and predictions by label scores `[texts, labels]`; see `nats.information`."""
    return nats.information(softmax(scores.numpy()))


def folds(config: PetConfig, split: Split, most: int) -> list[list[int]]:
    """The places of the examples in stratified folds, the same whatever is tried on them: at most as many as the rarest
    label has examples. No fold where nothing can be held out."""
    target = resolve.target(config)
    try:
        return parts(split, target, min(most, most_parts(split, target)))
    except UserError:
        return []


def cross_validated(config: PetConfig, session: Session, split: Split, dealt: list[list[int]]) -> tuple[Score, int]:
    """How good a configuration is on examples that it has not learned from, and how many steps it trained for that.

    Where its tuning mode works on states of the frozen model, the model reads the examples once for all folds.
    """
    targets = to_learn(config, split)
    balanced = config.trainer.class_weights == "balanced"
    held_out = torch.zeros(len(split), len(resolve.labels(config)))
    steps = 0
    for number, held in enumerate(dealt):
        lm = session.language_model(config)
        torch.manual_seed(config.trainer.seed)
        learner = build_learner(config, lm, session)
        encoded = learner.encode(split.rows, split.fingerprint)
        seen = others(dealt, number)
        how = train_settings(config, lm, len(seen))
        weights = balanced_weights([split.gold[place] for place in seen], len(learner.labels)) if balanced else None
        train(learner, part(encoded, seen), targets[seen], how, class_weight=weights)
        held_out[held] = learner.predict(part(encoded, held))
        steps += how.steps
    session.language_model(config)  # restores the weights
    return judged(config, split, held_out), steps


def part(encoded: Encoded, places: list[int]) -> Encoded:
    """Some of the encoded examples."""
    states = None if encoded.states is None else encoded.states[places]
    return Encoded([encoded.prompts[place] for place in places], states)
