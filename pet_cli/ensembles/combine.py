"""Combining the members of an ensemble: what each says of an example, how much it counts, and the answer.

Works on log-probabilities `[members, examples, labels]` alone, -inf where an example has fewer candidates than another;
knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

COMBINATIONS = ("probabilities", "logits", "vote")
_TIE = 1e-12
"""Shares of votes that differ by no more than this differ by rounding alone."""


def combine(log_probabilities: np.ndarray, how: str, weights: np.ndarray | None = None) -> np.ndarray:
    """The ensemble's log-probabilities `[examples, labels]`.

    Args:
        log_probabilities: `[members, examples, labels]`.
        how: `probabilities`: their weighted mean. `logits`: the weighted mean of label scores, which is the
            normalised geometric mean of probabilities. `vote`: each member votes for its best label with its weight;
            among labels with equal votes the one with the higher mean probability wins.
        weights: `[members]`, or `[members, examples]`, >= 0; None is uniform. They are normalised here; an example
            for which every weight is 0 counts all members alike.
    """
    members, examples, _ = log_probabilities.shape
    weight = np.ones((members, examples)) if weights is None else np.asarray(weights, dtype=float)
    if weight.ndim == 1:
        weight = np.repeat(weight[:, None], examples, axis=1)
    weight = np.where(weight.sum(axis=0) > 0, weight, 1.0)
    weight = (weight / weight.sum(axis=0))[:, :, None]
    if how == "logits":  # a member without weight says nothing, not even that a candidate is none of the example's
        weighed = np.multiply(weight, log_probabilities, out=np.zeros_like(log_probabilities), where=weight > 0)
        return log_softmax(weighed.sum(axis=0))
    probabilities = np.exp(log_softmax(log_probabilities))
    mean = (weight * probabilities).sum(axis=0)
    if how == "probabilities":
        with np.errstate(divide="ignore"):
            return np.log(mean)
    votes = np.zeros_like(probabilities)
    np.put_along_axis(votes, probabilities.argmax(axis=2)[:, :, None], 1.0, axis=2)
    return log_softmax(np.log(_ranked((weight * votes).sum(axis=0), mean) + 1e-300))


def _ranked(share: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Shares of votes `[examples, labels]` with so little of the mean probabilities that they settle ties alone.

    A hundredth of a vote is enough for that, or half of what lies between the winner and the next label where that is
    less: however close the weights, the mean lifts no label over one with more votes.
    """
    most = share.max(axis=1, keepdims=True)
    tied = share >= most - _TIE
    share = np.where(tied, most, share)
    gap = most - np.where(tied, -np.inf, share).max(axis=1, keepdims=True)
    little = np.minimum(0.01, gap / 2)
    answer: np.ndarray = (1 - little) * share + little * mean
    return answer


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Over the last axis, in float64."""
    scores = np.asarray(scores, dtype=float)
    scores = scores - scores.max(axis=-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))


def confidence_weights(log_probabilities: np.ndarray) -> np.ndarray:
    """Weights `[members, examples]`: a member counts for 1 - entropy / log(labels) of its answer to an example, of
    candidates as many as the example itself has."""
    probabilities = np.exp(log_probabilities)
    entropy = -(probabilities * np.maximum(log_probabilities, -1e30)).sum(axis=2)  # 0 log 0 is 0
    candidates = np.maximum(np.isfinite(log_probabilities).sum(axis=2), 2)
    return np.maximum(1 - entropy / np.log(candidates), 1e-6)


def fit_weights(log_probabilities: np.ndarray, gold: np.ndarray | Sequence[int], steps: int = 100) -> np.ndarray:
    """Weights `[members]` of a mixture that make the development labels most likely, by expectation-maximisation.

    Args:
        gold: label indices `[examples]`, or the labels' shares `[examples, labels]`.
    """
    wanted = np.asarray(gold)
    if wanted.ndim == 1:
        logs = log_probabilities[:, np.arange(len(wanted)), wanted]  # (M, N)
    else:
        with np.errstate(divide="ignore"):  # a label without a share counts for nothing
            logs = np.logaddexp.reduce(log_probabilities + np.log(wanted), axis=2)
    likelihood = np.exp(logs - logs.max(axis=0))  # an example's scale cancels in its shares, and may not underflow
    weights = np.full(len(likelihood), 1 / len(likelihood))
    for _ in range(steps):
        share = weights[:, None] * likelihood
        weights = (share / share.sum(axis=0)).mean(axis=1)
    return weights
