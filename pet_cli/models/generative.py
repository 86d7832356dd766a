"""What encoder-decoder and decoder-only models share: label words of any number of tokens, scored by their likelihood.

A word's score is the log-probability of its tokens where the mask stands, each predicted from the prompt and the
word's tokens before it (teacher forcing). The prompt runs once for all words; only what follows it differs.
"""

from __future__ import annotations

import unicodedata
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pet_cli.models.base import AnswerTokens, Asked, LanguageModel
from pet_cli.prompts.batch import Batch
from pet_cli.prompts.template import Border, Mask, Part, Soft, Text

ROOM = 32
"""Positions left free behind a prompt for the label words, in models that number their positions."""


class WordTokens:
    """The tokens of answers that continue a prefix.

    The prefix predicts each answer's first token. All tokens of an answer but its last are inputs themselves, at most
    `T` of them over all answers of a query, laid side by side answer after answer; each predicts the answer's next
    token. There is one row for each query, or one alone where all queries share their answers.

    Attributes:
        inputs: `[rows, T]`.
        targets: what each input predicts, `[rows, T]`.
        owner: the answer of each input, `[rows, T]`; -2 in the padding of queries with fewer inputs.
        offset: how far behind the prefix each input stands, from 0, `[rows, T]`.
    """

    def __init__(self, answers: AnswerTokens) -> None:
        self.answers = answers
        rows = [
            [
                (token, target, owner, offset)
                for owner, (ids, length) in enumerate(zip(*pair, strict=True))
                for offset, (token, target) in enumerate(pairwise(ids[:length]))
            ]
            for pair in zip(answers.ids.tolist(), answers.lengths.tolist(), strict=True)
        ]
        longest = max(map(len, rows))
        padded = [row + [(0, 0, -2, 0)] * (longest - len(row)) for row in rows]
        table = torch.tensor(padded, dtype=torch.long, device=answers.ids.device).reshape(len(rows), longest, 4)
        self.inputs, self.targets, self.owner, self.offset = table.unbind(dim=-1)

    def __len__(self) -> int:
        return self.inputs.shape[1]

    def tree_mask(self, readable: Tensor) -> Tensor:
        """What may read what when the words' inputs follow the prefix in one sequence, as a tree of one root.

        A word's input reads the prefix and its own word up to itself (as the tree attention of SpecInfer, Miao et al.,
        ASPLOS 2024, lets many continuations share one pass), so all words are scored in one pass over the prefix.

        Args:
            readable: which positions of the prefix are not padding, `[batch, prefix]`, boolean.

        Returns:
            0 where reading is allowed and the least float elsewhere, `[batch, 1, prefix + T, prefix + T]`.
        """
        size, device = readable.shape[1] + len(self), readable.device
        group = F.pad(self.owner, (readable.shape[1], 0), value=-1)  # [rows, size]
        position = torch.arange(size, device=device)
        behind = position[:, None] >= position
        own = (group == -1).unsqueeze(1) | (group.unsqueeze(2) == group.unsqueeze(1))
        whole = F.pad(readable, (0, len(self)), value=True)
        # Padding reads itself: a softmax over nothing would be NaN.
        allowed = (behind & own & whole[:, None]) | (position[:, None] == position)
        mask = torch.zeros(allowed.shape, device=device).masked_fill(~allowed, torch.finfo(torch.float32).min)
        return mask.unsqueeze(1)

    def log_probabilities(self, first: Tensor, rest: Tensor) -> Tensor:
        """The log-probability of each answer's tokens, in the mean or in sum, `[batch, answers]`.

        Args:
            first: logits at the end of the prefix, `[batch, vocabulary]`.
            rest: logits at the inputs, `[batch, T, vocabulary]`.
        """
        size, asked = len(first), self.answers
        scores = first.log_softmax(-1).gather(1, asked.ids[:, :, 0].expand(size, -1))
        # gather, then subtract the log-normaliser: the log-probabilities of the whole vocabulary are never held
        own = rest.gather(2, self.targets.expand(size, -1).unsqueeze(2)).squeeze(2) - rest.logsumexp(-1)
        own = own.masked_fill(self.owner < 0, 0)
        scores = scores.scatter_add(1, self.owner.clamp(min=0).expand(size, -1), own)
        scores = scores / asked.lengths.clamp(min=1) if asked.mean else scores
        return scores.masked_fill(asked.lengths == 0, -torch.inf)


@dataclass(frozen=True)
class Written:
    """Inputs that a model has read, and what it wrote behind them token by token: what it needs to go on.

    Attributes:
        state: what predicts the next token of each row, `[rows, hidden]`, float32.
        cache: keys and values as transformers keeps them; writing on uses them up.
        mask: which tokens of the input, and of what was written if that stands in one sequence with it, are not
            padding, `[rows, length]`.
        encoded: an encoder's states, `[rows, length, hidden]`; None where there is no encoder.
    """

    state: Tensor
    cache: Any
    mask: Tensor
    encoded: Tensor | None = None


class GenerativeLM(LanguageModel):
    """A language model that writes the answer. Adds to `LanguageModel` how words of several tokens are scored."""

    room = ROOM

    @abstractmethod
    def answer(self, batch: Batch, words: WordTokens | None, embeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The states that predict the label words.

        Returns:
            Where the prompt ends and the answer begins, `[batch, hidden]`; at the words' inputs behind it,
            `[batch, T, hidden]` (`T` is 0 without `words`). Both float32.
        """

    def states(self, batch: Batch, embeds: Tensor | None = None) -> Tensor:
        return self.answer(batch, None, embeds)[0].unsqueeze(1)

    def score_answers(self, batch: Batch, answers: Asked, embeds: Tensor | None = None) -> Tensor:
        """Of answers of one token each, their logits, so that only their columns of the projection are computed;
        otherwise the log-probability of each answer's tokens over the vocabulary, in the mean or in sum.
        """
        asked = self.tokens(answers)
        if asked.longest == 1:
            return super().score_answers(batch, answers, embeds)
        words = WordTokens(asked)
        state, rest = self.answer(batch, words, embeds)
        return words.log_probabilities(self.word_scores(state, None), self.word_scores(rest, None))


def without_borders(parts: Sequence[Part]) -> list[Part]:
    """A template's parts for a model without segments: a border becomes a space, texts side by side become one."""
    parts = [Text(" ") if isinstance(part, Border) else part for part in parts]
    joined: list[Part] = []
    for is_text, group in groupby(parts, key=lambda part: isinstance(part, Text)):
        own = list(group)
        joined += [Text("".join(part.text for part in own if isinstance(part, Text)))] if is_text else own
    return joined


def close_up(parts: Sequence[Part]) -> list[Part]:
    """Drops the space in front of masks and trainable tokens.

    A word's tokens bring their own leading space here; a space before them would be a token that no text has there.
    """
    closed: list[Part] = []
    for part, after in zip(parts, [*parts[1:], None], strict=True):
        if isinstance(part, Text) and isinstance(after, (Mask, Soft)):
            part = Text(part.text.rstrip())
        if part != Text(""):
            closed.append(part)
    return closed


def is_punctuation(text: str) -> bool:
    """Whether a text holds nothing but spaces, punctuation and symbols."""
    return all(character.isspace() or unicodedata.category(character)[0] in "PS" for character in text)
