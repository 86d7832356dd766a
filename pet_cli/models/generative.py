"""What encoder-decoder and decoder-only models share: label words of any number of tokens, scored by their likelihood.

A word's score is the log-probability of its tokens where the mask stands, each predicted from the prompt and the
word's tokens before it (teacher forcing). The prompt runs once for all words; only what follows it differs.
"""

from __future__ import annotations

import unicodedata
from abc import abstractmethod
from collections.abc import Sequence
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from pet_cli.models.base import LanguageModel
from pet_cli.prompts.batch import Batch
from pet_cli.prompts.query import Answers
from pet_cli.prompts.template import Border, Mask, Part, Soft, Text

ROOM = 32
"""Positions left free behind a prompt for the label words, in models that number their positions."""


class WordTokens:
    """The tokens of label words that continue one shared prefix.

    The prefix predicts each word's first token. All tokens of a word but its last are inputs themselves, `T` of them
    over all words, laid side by side word after word; each predicts the word's next token.

    Attributes:
        first: the first token of each word, `[words]`.
        inputs: `[T]`.
        targets: what each input predicts, `[T]`.
        owner: the word of each input, `[T]`.
        offset: how far behind the prefix each input stands, from 0, `[T]`.
        lengths: the number of tokens of each word, `[words]`.
    """

    def __init__(self, word_ids: Sequence[Sequence[int]], device: torch.device) -> None:
        def tensor(values: list[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.long, device=device)

        self.first = tensor([ids[0] for ids in word_ids])
        self.inputs = tensor([token for ids in word_ids for token in ids[:-1]])
        self.targets = tensor([token for ids in word_ids for token in ids[1:]])
        self.owner = tensor([word for word, ids in enumerate(word_ids) for _ in ids[1:]])
        self.offset = tensor([offset for ids in word_ids for offset in range(len(ids) - 1)])
        self.lengths = tensor([len(ids) for ids in word_ids])

    def __len__(self) -> int:
        return len(self.inputs)

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
        group = torch.cat([torch.full((readable.shape[1],), -1, device=device), self.owner])
        position = torch.arange(size, device=device)
        behind = position[:, None] >= position
        own = (group == -1) | (group[:, None] == group)
        whole = F.pad(readable, (0, len(self)), value=True)
        # Padding reads itself: a softmax over nothing would be NaN.
        allowed = (behind & own & whole[:, None]) | (position[:, None] == position)
        mask = torch.zeros(allowed.shape, device=device).masked_fill(~allowed, torch.finfo(torch.float32).min)
        return mask.unsqueeze(1)

    def log_probabilities(self, first: Tensor, rest: Tensor, normalise: bool) -> Tensor:
        """The log-probability of each word, of its tokens in the mean where `normalise`, `[batch, words]`.

        Args:
            first: logits at the end of the prefix, `[batch, vocabulary]`.
            rest: logits at the inputs, `[batch, T, vocabulary]`.
        """
        scores = first.log_softmax(-1)[:, self.first]
        # gather, then subtract the log-normaliser: the log-probabilities of the whole vocabulary are never held
        own = rest.gather(2, self.targets.expand(len(rest), -1).unsqueeze(2)).squeeze(2) - rest.logsumexp(-1)
        scores = scores.index_add(1, self.owner, own)
        return scores / self.lengths if normalise else scores


class GenerativeLM(LanguageModel):
    """A language model that writes the answer. Adds to `LanguageModel` how words of several tokens are scored."""

    single_token_words = False

    @abstractmethod
    def answer(self, batch: Batch, words: WordTokens | None, embeds: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The states that predict the label words.

        Returns:
            Where the prompt ends and the answer begins, `[batch, hidden]`; at the words' inputs behind it,
            `[batch, T, hidden]` (`T` is 0 without `words`). Both float32.
        """

    def states(self, batch: Batch, embeds: Tensor | None = None) -> Tensor:
        return self.answer(batch, None, embeds)[0].unsqueeze(1)

    def score_words(self, batch: Batch, answers: Answers, embeds: Tensor | None = None) -> Tensor:
        """Of answers of one token each, their logits, so that only their columns of the projection are computed;
        otherwise the log-probability of each answer's tokens over the vocabulary, in the mean or in sum.
        """
        if answers.longest == 1:
            return self.word_scores(self.states(batch, embeds)[:, 0], self.first_tokens(answers))
        words = WordTokens(answers.ids, self.device)
        state, rest = self.answer(batch, words, embeds)
        return words.log_probabilities(self.word_scores(state, None), self.word_scores(rest, None), answers.mean)


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
