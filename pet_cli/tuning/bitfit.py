"""BitFit: only the biases train (Ben Zaken et al., ACL 2022)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

from pet_cli.errors import UserError
from pet_cli.tuning.frozen import FrozenLearner, exchanged


class BitfitLearner(FrozenLearner):
    """Copies of the model's biases train, those of its norms included, and stand in for them in its forward.

    The bias of the vocabulary projection stays: of its thousands of numbers only the label words' would train.
    """

    def make(self) -> None:
        vocabulary = self.lm.model.config.vocab_size
        self.biases: dict[str, nn.Parameter] = {}
        self._places: list[tuple[nn.Module, str, nn.Parameter]] = []
        for path, module in self.lm.model.named_modules():
            for name, parameter in module.named_parameters(recurse=False):
                if name.endswith("bias") and len(parameter) != vocabulary:
                    own = nn.Parameter(parameter.detach().clone())
                    self.biases[f"{path}.{name}"] = own
                    self._places.append((module, name, own))
        if not self.biases:
            raise UserError(f"tuning={self.settings.name}: {type(self.lm.model).__name__} has no biases.")

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        with exchanged(self._places):
            yield

    def own_parameters(self) -> dict[str, nn.Parameter]:
        return self.biases
