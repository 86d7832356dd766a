"""Tuning modes: what of a language model trains, and what is saved of it. One file for each.

The only rooms that know of gradients, besides the loop in `training.py`.
"""

from __future__ import annotations

from pet_cli.tuning.base import Encoded, Learner, PromptLearner
from pet_cli.tuning.bitfit import BitfitLearner
from pet_cli.tuning.classifier import ClassifierLearner
from pet_cli.tuning.full import FullLearner
from pet_cli.tuning.head import HeadLearner
from pet_cli.tuning.lora import LoraLearner
from pet_cli.tuning.p_tuning import PTuningLearner
from pet_cli.tuning.prefix import PrefixLearner
from pet_cli.tuning.soft_prompt import SoftPromptLearner
from pet_cli.tuning.word_embedding import WordEmbeddingLearner
from pet_cli.tuning.zero_shot import ZeroShotLearner

LEARNERS: dict[str, type[Learner]] = {
    "zero_shot": ZeroShotLearner,
    "head": HeadLearner,
    "full": FullLearner,
    "classifier": ClassifierLearner,
    "soft_prompt": SoftPromptLearner,
    "word_embedding": WordEmbeddingLearner,
    "p_tuning": PTuningLearner,
    "prefix": PrefixLearner,
    "lora": LoraLearner,
    "bitfit": BitfitLearner,
}

__all__ = ["LEARNERS", "Encoded", "Learner", "PromptLearner"]
