"""What label scores tell, in nats: how far they are from what is right, and how much a text tells of its label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pet_cli.tasks.targets import Target


def losses(scores: np.ndarray, gold: Sequence[object], target: Target) -> np.ndarray:
    """The cross-entropy of each example in nats, `[examples]`, by label scores `[examples, labels]`."""
    own = np.asarray(scores, dtype=np.float64)
    own = own - own.max(axis=1, keepdims=True)
    logs = own - np.log(np.exp(own).sum(axis=1, keepdims=True))
    wanted = target.to_learn(gold)
    if wanted.ndim == 1:
        return np.asarray(-logs[np.arange(len(logs)), wanted])
    shares = np.zeros_like(logs)
    shares[:, : wanted.shape[1]] = wanted
    return np.asarray(-(shares * np.where(shares > 0, logs, 0.0)).sum(axis=1))


def information(probabilities: np.ndarray) -> float:
    """Mutual information in nats of texts, each as likely as another, and labels `[texts, labels]`: the entropy of the
    mean prediction, without the mean entropy of a prediction (Sorensen et al., ACL 2022)."""
    return float(_entropy(probabilities.mean(axis=0)) - _entropy(probabilities).mean())


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    logs = np.log(np.where(probabilities > 0, probabilities, 1.0))
    return np.asarray(-(probabilities * logs).sum(axis=-1))
