"""Training examples that are shown with every text, answered: how many, which, and what they do not go with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pet_cli.config.bounds import Settings, bounded, one_of
from pet_cli.errors import Unfit, UserError

if TYPE_CHECKING:
    from pet_cli.config.schema import PetConfig


@dataclass(kw_only=True)
class DemonstrationsConfig(Settings):
    """The section `demonstrations`."""

    per_label: int = bounded(0, 1000)
    choose: str = one_of("random", "nearest")
    draws: int = bounded(1, 1000)


def check_demonstrations(config: PetConfig, trains: bool) -> None:
    """Raises `UserError` for a run that cannot show any, as far as can be seen without data or a model.

    Args:
        trains: whether the run has anything to train.
    """
    wanted = config.demonstrations.per_label
    if not wanted:
        return
    key = f"demonstrations.per_label={wanted}"
    if not config.method.tunes:
        raise Unfit(f"{key}: method={config.method.name} reads no prompt to show examples in; leave it at 0.")
    if not config.tuning.uses_prompt:
        raise Unfit(f"{key}: tuning={config.tuning.name} has no prompt to show examples in; leave it at 0.")
    if config.task.target != "label":
        raise Unfit(f"{key}: only for task.target=label, not {config.task.target}; leave it at 0.")
    if config.ensemble.several and config.ensemble.models == "shared":
        raise Unfit(f"{key}: goes with ensemble.models=separate, not shared.")
    shots = config.data.shots
    if shots is not None and shots < wanted + trains:
        why = ", since a text never demonstrates itself" if trains and shots == wanted else ""
        raise Unfit(f"{key}: needs data.shots of at least {wanted + trains}, or null{why}; it is {shots}.")


def check_none(config: PetConfig, what: str) -> None:
    """Raises `UserError` where demonstrations are asked of something that shows none."""
    if config.demonstrations.per_label:
        raise UserError(f"demonstrations.per_label={config.demonstrations.per_label}: {what}; leave it at 0.")
