"""Convolutions over word vectors (Kim, EMNLP 2014): one layer, several widths of windows, the maximum over time.

Kim's limit on the norm of the last layer's weights is left out: it was found to matter little (Zhang and Wallace 2015).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pet_cli.config.method import CnnSettings
from pet_cli.methods.network import Body, NetworkMethod


class Convolutions(Body):
    """The strongest answer of each filter to any window that holds a word of the text, `[texts, filters * windows]`.

    Windows reach over both ends of the text, where zeros stand, so that its first and last word meet every place of a
    filter. Windows that lie in the padding alone do not count.

    Args:
        width: of a word vector.
        windows: how many words each kind of filter sees.
        filters: of each kind.
    """

    def __init__(self, width: int, windows: list[int], filters: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv1d(width, filters, window, padding=window - 1) for window in windows)
        self.windows = windows
        self.features = filters * len(windows)

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        across = vectors.transpose(1, 2)
        read = []
        for window, convolution in zip(self.windows, self.convolutions, strict=True):
            answers = F.relu(convolution(across))  # [texts, filters, words + window - 1]
            beyond = torch.arange(answers.shape[2]) >= (lengths + window - 1).unsqueeze(1)
            read.append(answers.masked_fill(beyond.unsqueeze(1).to(answers.device), 0).amax(dim=2))  # none is below 0
        return torch.cat(read, dim=1)


class CnnMethod(NetworkMethod):
    """A convolutional network."""

    @classmethod
    def make_body(cls, settings: CnnSettings, width: int) -> Convolutions:
        return Convolutions(width, list(settings.windows), settings.filters)
