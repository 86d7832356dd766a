"""What the modes with a frozen model share: something small trains beside the model, which stays as it is."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pet_cli.base.files import atomic
from pet_cli.errors import UserError
from pet_cli.models.base import LanguageModel
from pet_cli.tuning.base import Encoded, PromptLearner


class FrozenLearner(PromptLearner):
    """A prompt learner beside a frozen model.

    What it adds to the model's forward is there for one forward at a time (`attached`), so that the model, which
    other runs of the process share, is never changed, not even while this one trains. The model stays in eval mode
    (no dropout) unless `settings.dropout`.

    Where examples are few, a mode whose settings have an `anchor` is held to its start: the loss gains
    anchor * ((anchor_until / examples)^2 - 1) * `moved()`, nothing from `anchor_until` examples on. Thousands of
    numbers in front of every text learn 32 examples by heart and unlearn what the model knew; with 128 they need no
    holding.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._make()  # so that it can be asked where there is nothing to train on

    def begin(self) -> None:
        self.lm.model.train(self.settings.dropout)
        self.lm.model.requires_grad_(False)
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
        """What is saved, by name; where a network makes it, the network is folded away."""
        return self.own_parameters()

    def moved(self) -> Tensor:
        """How far what trains is from its start `[]`: the squared distances of all vectors, each divided by the squared
        length that such a vector has in the model."""
        raise NotImplementedError

    def hold(self, examples: int) -> Tensor | None:
        anchor, until = getattr(self.settings, "anchor", 0.0), getattr(self.settings, "anchor_until", 1)
        pull = anchor * max(0.0, (until / examples) ** 2 - 1)
        return pull * self.moved() if pull else None

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """The model with what this mode adds to it, within the block."""
        yield

    def word_scores(self, encoded: Encoded, indices: Sequence[int]) -> Tensor:
        with self.attached():
            return super().word_scores(encoded, indices)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        own = list(self.own_parameters().values())
        # No decay: a prompt has no reason to shrink towards nothing.
        return [{"params": own, "lr": learning_rate, "weight_decay": 0.0}, *super().parameter_groups(learning_rate)]

    def trained_parameters(self) -> int:
        """How many numbers trained, those of a network that has been folded away since included."""
        weights = [] if self.word_weights is None else [self.word_weights]
        return sum(parameter.numel() for parameter in [*self._made.values(), *weights])

    def small_parts(self) -> dict[str, Tensor]:
        return {**super().small_parts(), **self.own_parts()}

    def save(self, folder: Path, whole: bool) -> None:
        parts = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.small_parts().items()}
        with atomic(folder / "trained.safetensors") as temporary:
            save_file(parts, temporary, metadata={"model": fingerprint(self.lm)})
        if whole and self.trains_model:
            self.lm.save(folder / "model")

    def load(self, folder: Path) -> None:
        path = folder / "trained.safetensors"
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; what the run trained was not saved.") from None
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path} cannot be read: {error}.") from None
        if metadata.get("model", "") != fingerprint(self.lm):
            raise UserError(
                f"{path} was trained on another model than model.name={self.lm.name}, and means nothing to this one."
            )
        super().load(folder)


def fingerprint(lm: LanguageModel) -> str:
    """Identifies a model: the shapes of its weights, and 64 numbers of each."""
    digest = hashlib.sha256()
    for name, parameter in lm.model.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)}".encode())
        flat = parameter.detach().flatten()
        some = flat[:: max(1, len(flat) // 64)][:64]
        digest.update(some.to(torch.float32).cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


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
