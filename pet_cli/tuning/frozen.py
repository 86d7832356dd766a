"""What the modes with a frozen model share: something small trains beside the model, which stays as it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from pet_cli.tuning.base import PromptLearner


class FrozenLearner(PromptLearner):
    """A prompt learner beside a frozen model.

    What it adds to the model's forward is there for one forward at a time (`attached`), so that the model, which
    other runs of the process share, is never changed, not even while this one trains. The model stays in eval mode
    (no dropout) unless `settings.dropout`.

    Where examples are few, a mode whose settings have an `anchor` is held to its start: the loss gains
    anchor * ((anchor_until / examples)^2 - 1) * `distance()`, nothing from `anchor_until` examples on. Thousands of
    numbers in front of every text learn 32 examples by heart and unlearn what the model knew; with 128 they need no
    holding.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._make()  # so that it can be asked where there is nothing to train on

    def begin(self) -> None:
        self._make()

    def _make(self) -> None:
        self.make()
        self._made = self.own_parameters()

    def make(self) -> None:
        """Makes the trainable parameters, by draws from the global generator."""
        raise NotImplementedError

    def own_parameters(self) -> dict[str, nn.Parameter]:
        """What trains, by name."""
        raise NotImplementedError

    def own_parts(self) -> Mapping[str, Tensor]:
        """What is saved, by name; where a network makes it, what the network says."""
        return self.own_parameters()

    def distance(self) -> Tensor:
        """How far what trains is from its start `[]`: the squared distances of all vectors, each divided by the squared
        length that such a vector has in the model."""
        raise NotImplementedError

    def l2_sp(self, examples: int) -> Tensor | None:
        pull = self.settings.pull(examples)
        return pull * self.distance() if pull else None

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        own = list(self.own_parameters().values())
        # No decay: a prompt has no reason to shrink towards nothing.
        return [{"params": own, "lr": learning_rate, "weight_decay": 0.0}, *super().parameter_groups(learning_rate)]

    def trained_parameters(self) -> int:
        """How many numbers trained, those of a network that has been folded away since included."""
        return sum(parameter.numel() for parameter in [*self._made.values(), *self.verbalizer.parameters()])

    def trained_state(self) -> dict[str, Tensor]:
        return {**super().trained_state(), **self.own_parts()}


@contextlib.contextmanager
def exchanged(places: Sequence[tuple[nn.Module, str, Any]]) -> Iterator[None]:
    """Puts other parameters or modules in places `(owner, attribute, own)` of a model, within the block."""
    before = [getattr(owner, name) for owner, name, _ in places]
    try:
        for owner, name, own in places:
            setattr(owner, name, own)
        yield
    finally:
        for (owner, name, _), old in zip(places, before, strict=True):
            setattr(owner, name, old)
