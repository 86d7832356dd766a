"""P-tuning: pseudo tokens that come out of a small network, which is folded away when saved (Liu et al., 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pet_cli.errors import not_allowed
from pet_cli.prompts.template import Template
from pet_cli.tuning.slots import check_init, soft_template
from pet_cli.tuning.soft import SoftLearner

ENCODERS = ("lstm", "mlp")


class PromptNetwork(nn.Module):
    """`[slots, width] -> [slots, width]`: a bidirectional LSTM (or none) over the slots, then an MLP, and a shortcut.

    The MLP's last layer starts at 0, so the prompt starts as what goes in.
    """

    def __init__(self, width: int, hidden: int, lstm: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, hidden, num_layers=2, bidirectional=True, batch_first=True) if lstm else None
        first, last = nn.Linear(2 * hidden if lstm else width, hidden), nn.Linear(hidden, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(first, nn.ReLU(), last)

    def forward(self, vectors: Tensor) -> Tensor:
        inside = vectors if self.lstm is None else self.lstm(vectors.unsqueeze(0))[0][0]
        return vectors + self.mlp(inside)  # type: ignore[no-any-return]


class PTuningLearner(SoftLearner):
    """The soft slots' vectors are a network's output; the network trains with its input.

    Saving folds the network away: what is left is one vector for each slot, as of a soft prompt.
    """

    def __init__(self, lm: Any, template: Template, **options: Any) -> None:
        settings = options["settings"]
        check_init(settings.init, settings.text)
        if settings.encoder not in ENCODERS:
            raise not_allowed("tuning.encoder", settings.encoder, ENCODERS)
        super().__init__(lm, template, **options)

    def own_template(self, template: Template) -> Template:
        return soft_template(template, self.settings.name, self.settings.length)

    def make(self) -> None:
        super().make()
        width = self.vectors.shape[1]
        hidden = self.settings.hidden or width
        self.network: PromptNetwork | None = PromptNetwork(width, hidden, self.settings.encoder == "lstm")
        self.network.to(self.vectors)

    def prompt_vectors(self) -> Tensor:
        if self.network is None:
            return self.vectors
        return self.scale * self.network(self.vectors / self.scale)  # type: ignore[no-any-return]

    def own_parameters(self) -> dict[str, nn.Parameter]:
        named = {} if self.network is None else dict(self.network.named_parameters())
        return {**super().own_parameters(), **{f"network.{name}": parameter for name, parameter in named.items()}}

    def own_parts(self) -> Mapping[str, Tensor]:
        return {"vectors": self.vectors if self.network is None else self.prompt_vectors().detach()}

    def end(self) -> None:
        """Puts the network's output in its place."""
        if self.network is not None:
            with torch.no_grad():
                self.vectors = nn.Parameter(self.prompt_vectors().clone())
            self.network = None
