"""What a prompt is worth, told without anything that a run scores: by labels of the training examples, or without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pet_cli.config import resolve
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.data.sampling import strata
from pet_cli.methods.prompted import build_learner, to_learn, train_settings
from pet_cli.runs.outcome import score
from pet_cli.runs.session import Session
from pet_cli.runs.store import softmax
from pet_cli.training.loop import train
from pet_cli.tuning.base import Encoded


@dataclass(frozen=True)
class Score:
    """How good label scores are: the task's score, and the mean of -log p(what is right), in nats."""

    score: float
    loss: float


def judged(config: PetConfig, split: Split, scores: Tensor) -> Score:
    """Label scores `[examples, labels]` of labeled examples."""
    loss = F.cross_entropy(scores, to_learn(config, split))
    return Score(score(config, split, scores.numpy()), float(loss))


def information(scores: Tensor) -> float:
    """The mutual information of texts and predictions, in nats: the entropy of the mean prediction less the mean
    entropy. High where predictions are sure, and not all the same (Sorensen et al., ACL 2022).

    Args:
        scores: label scores `[texts, labels]`.
    """
    shares = softmax(scores.numpy())
    return _entropy(shares.mean(axis=0)) - float(np.mean([_entropy(line) for line in shares]))


def _entropy(shares: np.ndarray) -> float:
    some = shares[shares > 0]
    return float(-(some * np.log(some)).sum())


def folds(config: PetConfig, split: Split, most: int) -> list[list[int]]:
    """The examples' places in stratified folds, at most as many as the rarest label has examples; the same whatever
    is tried on them. Fewer than two where nothing can be held out."""
    place = {example.row: number for number, example in enumerate(split.examples)}
    groups = [
        [place[example.row] for example in own] for own in strata(split.examples, resolve.target(config)).values()
    ]
    n = min([most, *(len(own) for own in groups if own)])
    order = list(dict.fromkeys(one for own in groups for one in own))
    return [order[start::n] for start in range(n)]


def cross_validated(config: PetConfig, session: Session, split: Split, parts: list[list[int]]) -> tuple[Score, int]:
    """How good a configuration is on examples that it has not learned from, and how many steps it trained for that.

    Where its tuning mode works on states of the frozen model, the model reads the examples once for all folds.
    """
    targets = to_learn(config, split)
    held_out = torch.zeros(len(split), len(resolve.labels(config)))
    steps = 0
    for held in parts:
        lm = session.language_model(config)
        torch.manual_seed(config.trainer.seed)
        learner = build_learner(config, lm, session)
        encoded = learner.encode(split.rows, split.fingerprint)
        seen = sorted(set(range(len(split))) - set(held))
        how = train_settings(config, lm, len(seen))
        train(learner, part(encoded, seen), targets[seen], how)
        held_out[held] = learner.predict(part(encoded, held))
        steps += how.steps
    session.language_model(config)  # restores the weights
    return judged(config, split, held_out), steps


def part(encoded: Encoded, places: list[int]) -> Encoded:
    """Some of the encoded examples."""
    states = None if encoded.states is None else encoded.states[places]
    return Encoded([encoded.prompts[place] for place in places], states)
