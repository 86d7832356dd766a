"""Rules that go by labeled examples: those of training, or of development. Each scores one run."""

from __future__ import annotations

from typing import Any

import numpy as np

from pet_cli.choice.candidate import Candidate
from pet_cli.data.parts import most_parts, others, parts
from pet_cli.runs.nats import losses
from pet_cli.runs.outcome import score


def dev(run: Candidate) -> dict[str, Any]:
    """The task's score on the development examples, which chose the checkpoint too."""
    return {"score": score(run.config, run.dev, run.answers(run.dev)), "examples": len(run.dev)}


def cross_validation(run: Candidate) -> dict[str, Any]:
    """The mean loss of a training example when the others' parts alone are learned from (Perez et al. 2021)."""
    train, n = run.train, _folds(run)
    dealt = parts(train, run.target, n)
    found = []
    for number, places in enumerate(dealt):
        held = train.part(places, "test")
        seen = train.part(others(dealt, number), "train")
        found.append(losses(run.learned(seen, held), held.gold, run.target))
    return {"score": float(np.concatenate(found).mean()), "folds": n, "examples": len(train)}


def halves(run: Candidate) -> dict[str, Any]:
    """The mean of the task's score on one half after learning from the other, over random halves (multi-splits of
    FewNLU, Zheng et al., ACL 2022); the halves are the same for all runs that have the same sample."""
    train, times = run.train, run.config.choice.splits
    most_parts(train, run.target)
    found = []
    for seed in range(times):
        seen, held = parts(train, run.target, 2, seed)
        other = train.part(held, "test")
        found.append(score(run.config, other, run.learned(train.part(seen, "train"), other)))
    return {"score": float(np.mean(found)), "splits": times, "examples": len(train)}


def description_length(run: Candidate) -> dict[str, Any]:
    """The nats that it takes to write down the labels of the training examples block by block, each with the
    probabilities of what was learned from the blocks before it: the prequential code of minimum description length
    (Perez et al., NeurIPS 2021). The first block is written with the model as it is, or, where nothing asks a model
    with one prompt, with all labels equally likely."""
    train, n = run.train, _folds(run)
    dealt = parts(train, run.target, n)
    found = []
    for number, places in enumerate(dealt):
        held = train.part(places, "test")
        seen = train.part(sorted(place for own in dealt[:number] for place in own), "train")
        told = run.learned(seen, held) if number else run.untrained(held)
        found.append(float(losses(told, held.gold, run.target).sum()))
    return {"score": sum(found), "blocks": n, "examples": len(train)}


def _folds(run: Candidate) -> int:
    return min(run.config.choice.folds, most_parts(run.train, run.target))
