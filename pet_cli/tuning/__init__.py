"""Tuning modes: what of a language model trains, and what is saved of it. One file for each.

The only rooms that know of gradients, besides the loop in `training.py`.
"""

from __future__ import annotations

from pet_cli.tuning.base import Encoded, Learner, PromptLearner
from pet_cli.tuning.classifier import ClassifierLearner
from pet_cli.tuning.full import FullLearner
from pet_cli.tuning.head import HeadLearner
from pet_cli.tuning.zero_shot import ZeroShotLearner

LEARNERS: dict[str, type[Learner]] = {
    "zero_shot": ZeroShotLearner,
    "head": HeadLearner,
    "full": FullLearner,
    "classifier": ClassifierLearner,
}

__all__ = ["LEARNERS", "Encoded", "Learner", "PromptLearner"]
