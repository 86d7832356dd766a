"""Tuning modes: what of a language model trains, and what is saved of it. One file for each, and a line in
`config/registry.py`.

The only rooms that know of gradients, besides the loop in `training`.
"""

from __future__ import annotations

from pet_cli.config import registry
from pet_cli.config.tuning import Tuning
from pet_cli.tuning.base import Encoded, Learner, PromptLearner


def learner_class(settings: Tuning) -> type[Learner]:
    """The learner of a mode."""
    found: type[Learner] = registry.implementation("tuning", settings.name)
    return found


__all__ = ["Encoded", "Learner", "PromptLearner", "learner_class"]
