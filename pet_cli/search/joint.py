"""Token sequences that continue many inputs at once, likely behind all of them together (Gao et al., ACL 2021).

    inputs ──► read once ──► log p(next token), summed over the inputs of each label ──► the best go on, … ──► Found

Only the newest token of each sequence is computed; keys and values of what was read and written are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pet_cli.models.decoder_only import DecoderOnlyLM
from pet_cli.models.encoder_decoder import T5LM
from pet_cli.prompts.batch import Prompt, buckets

_ROWS = 1024
"""The most rows that are computed in one go: inputs times sequences."""


class Joint:
    """Sequences behind all inputs, at first a single empty one.

    Args:
        lm: writes them.
        prompts: the inputs.
        groups: the number of each input's label, from 0.
        width: the most sequences there will be.
    """

    @torch.inference_mode()
    def __init__(self, lm: T5LM | DecoderOnlyLM, prompts: Sequence[Prompt], groups: Sequence[int], width: int) -> None:
        self.lm = lm
        self.sequences = 1
        self._groups = max(groups) + 1
        parts = buckets([len(prompt.ids) for prompt in prompts], max(1, _ROWS // width))
        self._written = [lm.begin(lm.collate([prompts[place] for place in part])) for part in parts]
        self._owners = [torch.tensor([groups[place] for place in part], device=lm.device) for part in parts]

    @torch.inference_mode()
    def log_probabilities(self) -> Tensor:
        """Of each token behind each sequence, summed over the inputs of a label, `[labels, sequences, vocabulary]`."""
        total: Tensor | None = None
        for written, owners in zip(self._written, self._owners, strict=True):
            own = self.lm.word_scores(written.state, None).log_softmax(dim=-1).unflatten(0, (-1, self.sequences))
            total = own.new_zeros(self._groups, *own.shape[1:]) if total is None else total
            total.index_add_(0, owners, own)
        assert total is not None
        return total

    @torch.inference_mode()
    def grow(self, parents: Sequence[int], tokens: Sequence[int]) -> None:
        """Goes on with sequences, each one of those before with one token more behind it."""
        device = self.lm.device
        added, kept = torch.tensor(tokens, device=device), torch.tensor(parents, device=device)
        for place, (written, owners) in enumerate(zip(self._written, self._owners, strict=True)):
            first = torch.arange(len(owners), device=device).unsqueeze(1) * self.sequences
            self._written[place] = self.lm.write(written, (first + kept).flatten(), added.repeat(len(owners)))
        self.sequences = len(tokens)


@dataclass(frozen=True)
class Spans:
    """A sequence in its spans, each closed by an end token.

    Attributes:
        score: the sum over all inputs of the log-probability of its tokens, ends included.
        spans: the tokens of each span without its end.
    """

    score: float
    spans: tuple[tuple[int, ...], ...]


def likely_spans(
    joint: Joint, ends: Sequence[int], allowed: Tensor, width: int, longest: int, go_on: Callable[[], bool]
) -> list[Spans]:
    """The sequences of as many spans as there are ends that a beam search finds likeliest, the best first.

    Those that are complete keep their place among the `width` best, as in the authors' code.

    Args:
        ends: the token that closes each span, in their order.
        allowed: the tokens that may stand in a span, `[vocabulary]`, boolean.
        longest: the most tokens of all spans together.
        go_on: asked before each step; what is not complete when it says no is lost.
    """
    done: list[Spans] = []
    live = [Spans(0.0, ((),))]
    while live and go_on():
        following = joint.log_probabilities().sum(dim=0)
        totals = torch.full_like(following, -torch.inf)
        for place, one in enumerate(live):
            end = ends[len(one.spans) - 1]
            if sum(map(len, one.spans)) < longest:
                totals[place, allowed] = following[place, allowed]
            totals[place, end] = following[place, end]
            totals[place] += one.score
        best = totals.flatten().topk(min(width, int(totals.isfinite().sum())))
        new: list[tuple[Spans, int, int]] = []
        for score, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            parent, token = divmod(place, totals.shape[1])
            before = live[parent].spans
            closed = token == ends[len(before) - 1]
            spans = (*before, ()) if closed else (*before[:-1], (*before[-1], token))
            new.append((Spans(score, spans), parent, token))
        ranked = sorted([*((one, -1, -1) for one in done), *new], key=lambda item: -item[0].score)[:width]
        done = [one for one, *_ in ranked if len(one.spans) > len(ends)]
        growing = [item for item in ranked if len(item[0].spans) <= len(ends)]
        live = [one for one, *_ in growing]
        if live:
            joint.grow([parent for _, parent, _ in growing], [token for *_, token in growing])
    return [Spans(one.score, one.spans[:-1]) for one in done]
