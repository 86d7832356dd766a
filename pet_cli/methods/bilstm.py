"""A bidirectional LSTM over word vectors, its states pooled over the words (Conneau et al., EMNLP 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pet_cli.config.method import BilstmSettings
from pet_cli.methods.network import Body, NetworkMethod


class Recurrence(Body):
    """The states of both directions at each word, pooled over the text's own words, `[texts, 2 * hidden]`.

    Args:
        width: of a word vector.
        pooling: `max` or `mean`, of each number of the states.
    """

    def __init__(self, width: int, hidden: int, pooling: str) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        self.pooling = pooling
        self.features = 2 * hidden

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
        states, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)  # zeros in the padding
        if self.pooling == "mean":
            return states.sum(dim=1) / lengths.unsqueeze(1).to(states.device)  # type: ignore[no-any-return]
        beyond = torch.arange(states.shape[1]) >= lengths.unsqueeze(1)
        return states.masked_fill(beyond.unsqueeze(2).to(states.device), -torch.inf).amax(dim=1)  # type: ignore[no-any-return]


class BilstmMethod(NetworkMethod):
    """A recurrent network."""

    @classmethod
    def make_body(cls, settings: BilstmSettings, width: int) -> Recurrence:
        return Recurrence(width, settings.hidden, settings.pooling)
