"""What searches for label words share: candidate words, how likely the model finds each at the mask, and verbalizers of
the best of each label, smaller and larger ones.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pet_cli.config import resolve
from pet_cli.data.examples import Split
from pet_cli.errors import UserError
from pet_cli.methods.prompted import to_learn
from pet_cli.search import vocabulary
from pet_cli.search.base import UNSPACED, Candidate, Search
from pet_cli.tuning import PromptLearner
from pet_cli.verbalizers.words import WEIGHTED, read_words

_TOGETHER = 64
"""Examples whose scores of the whole vocabulary are held at a time."""


class LabelWords(Search):
    """Proposes verbalizers of one to many words of each label."""

    def run(self) -> None:
        """See `Search.run`: `worth` tells how well each word stands for each label."""
        own = owned(self.worth())
        if bare := [label for label, places in zip(self.labels, own, strict=True) if not places]:
            notes = f" ({'; '.join(self.bench.notes)})" if self.bench.notes else ""
            raise UserError(
                f"search={self.settings.name}: no candidate word is left for the label '{bare[0]}'; more of them by "
                f"search.words=FILE may help{notes}."
            )
        self.bench.score(self.verbalizers(own))

    @abstractmethod
    def worth(self) -> Tensor:
        """How well each candidate word stands for each label, `[labels, words]`; -inf where it does not at all."""

    @cached_property
    def labels(self) -> list[str]:
        return resolve.labels(self.config)

    @property
    def space_before_mask(self) -> bool:
        return not resolve.prompt_template(self.config).mask_without_space()

    @cached_property
    def vocabulary(self) -> vocabulary.Vocabulary:
        """The candidate words: those of `search.words`, or of the model's own vocabulary.

        Raises:
            UserError: fewer words than labels.
        """
        tokenizer, space = self.lm.tokenizer, self.space_before_mask
        if self.settings.words is not None:
            listed = read_words(Path(self.settings.words).expanduser(), "search.words")
            found, key = vocabulary.of_words(tokenizer, space, listed), f"search.words={self.settings.words}"
        else:
            shortest = 1 if self.config.task.language in UNSPACED else 2
            found, key = vocabulary.of_model(tokenizer, space, shortest), f"model.name={self.config.model.name}"
        if len(found) < len(self.labels):
            raise UserError(
                f"{key}: words that are one token of this model where the template has its mask: {len(found)}, too "
                f"few for {len(self.labels)} labels."
            )
        if found.note:
            self.bench.notes.append(found.note)
        return found

    def verbalizers(self, own: Sequence[Sequence[int]]) -> Iterator[Candidate]:
        """Verbalizers of the first words of each label, for each of `search.sizes`, and where `scoring.combine` takes
        weights, each with weights too.

        Args:
            own: the places of each label's words, the best first.
        """
        by_weights = getattr(self.config.scoring, "combine", None) in WEIGHTED
        for size in self.settings.sizes:
            places = [one[:size] for one in own]
            origin = f"{self.settings.name}, {size} of each label"
            yield Candidate(self._written([[1.0] * len(one) for one in places], places), origin)
            for how, weights in self.weights(places).items() if by_weights else ():
                yield Candidate(self._written(weights, places), f"{origin}, {how}")

    def weights(self, places: Sequence[Sequence[int]]) -> dict[str, list[list[float]]]:
        """Weights for some words of each label, by a name for them: a word's probability is divided by its prior, so
        that words count alike whether they are common at the mask or rare (as KPT calibrates)."""
        mean = torch.cat([self.log_prior[one] for one in places]).mean()
        return {
            "divided by priors": [
                [float(f"{weight:.4g}") for weight in ((mean - self.log_prior[one]).exp() / len(one)).tolist()]
                for one in places
            ]
        }

    def _written(self, weights: Sequence[Sequence[float]], places: Sequence[Sequence[int]]) -> dict[str, Any]:
        """A verbalizer as a task's YAML writes it, without weights where all are 1."""
        words = [[self.vocabulary.words[place] for place in one] for one in places]
        plain = all(weight == 1 for one in weights for weight in one)
        each = words if plain else [dict(zip(*pair, strict=True)) for pair in zip(words, weights, strict=True)]
        return dict(zip(self.labels, each, strict=True))

    # --- what the model says ---

    @cached_property
    def learner(self) -> PromptLearner:
        """The run's template before the frozen model. It has to be bound to some words, which nothing asks for."""
        return self.bench.learner(Candidate(dict(zip(self.labels, self.vocabulary.words, strict=False)), ""))

    def log_probabilities(self, split: Split, tokens: Sequence[int] | None = None) -> Tensor:
        """Log-probabilities of tokens, by default of the candidate words, at the mask, `[examples, tokens]`.

        Only here the whole vocabulary is projected to, and only for these texts; their states are computed once.
        """
        ids = torch.tensor(self.vocabulary.ids if tokens is None else tokens, device=self.lm.device)
        with self.bench.context.clock.phase("encode"):
            states = self.learner.encode(split.rows, split.fingerprint).states
        assert states is not None  # the candidates are one token each
        with self.bench.context.clock.phase("words"), self.learner.asking():
            parts = [
                self.lm.word_scores(some[:, 0], None).float().log_softmax(dim=-1)[:, ids].cpu()
                for some in states.split(_TOGETHER)
            ]
        return torch.cat(parts)

    @cached_property
    def log_prior(self) -> Tensor:
        """The log of each candidate word's mean probability at the mask, `[words]`: over the labels' training examples,
        each label as much, or over unlabeled texts where there are none."""
        log_p = self.log_probabilities(self.bench.texts)
        if len(self.looked.train):
            log_p = mean_log_probabilities(log_p, self.shares)
        return torch.logsumexp(log_p, dim=0) - math.log(len(log_p))

    @cached_property
    def shares(self) -> Tensor:
        """How far each training example has each label, `[examples, labels]`.

        Raises:
            UserError: a label that no training example has.
        """
        found = to_learn(self.config, self.looked.train)
        found = found if found.is_floating_point() else F.one_hot(found, len(self.labels)).float()
        if bare := [label for label, n in zip(self.labels, found.sum(dim=0).tolist(), strict=True) if n == 0]:
            raise UserError(
                f"search={self.settings.name} learns from examples of every label, and none has the label '{bare[0]}'."
            )
        return found


def owned(worth: Tensor) -> list[list[int]]:
    """The words of each label, the best first: a word stands for the label alone for which it is worth most.

    Args:
        worth: `[labels, words]`; -inf where a word does not stand for a label.
    """
    best, places = worth.max(dim=0)
    owner = places.masked_fill(best.isneginf(), -1).tolist()
    orders = worth.argsort(dim=1, descending=True, stable=True).tolist()
    return [[place for place in order if owner[place] == label] for label, order in enumerate(orders)]


def mean_log_probabilities(log_p: Tensor, shares: Tensor) -> Tensor:
    """The log of each word's mean probability over each label's examples, `[labels, words]`.

    Args:
        log_p: log-probabilities `[examples, words]`.
        shares: how far each example has each label, `[examples, labels]`.
    """
    log_shares = (shares / shares.sum(dim=0)).log()
    return torch.stack([torch.logsumexp(log_p + own.unsqueeze(1), dim=0) for own in log_shares.T])
