"""The perplexity of a template filled with texts, for the model as it is (Gonen et al., EMNLP 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from pet_cli.choice.candidate import Candidate
from pet_cli.data.examples import Split
from pet_cli.data.sampling import capped
from pet_cli.errors import UserError
from pet_cli.methods.prompted import PromptMethod
from pet_cli.models.base import LanguageModel, evaluating
from pet_cli.prompts.batch import Prompt, buckets

MASKED = 32
"""The most texts of which a masked model is asked, once for each of their tokens."""


def perplexity(run: Candidate) -> dict[str, Any]:
    """The perplexity of a token of the prompt without its answer, text and template together, mean over texts (of
    the logarithm).

    A decoder-only model reads the prompt up to its mask, and predicts each token but the first from those before. A
    masked one predicts each token with that token masked, and the prompt's own mask in its place: a pseudo-perplexity
    (Salazar et al., ACL 2020). Special tokens count in neither.

    Raises:
        UserError: an encoder-decoder, which reads all of the prompt before it predicts anything.
    """
    method = run.as_it_is()
    assert isinstance(method, PromptMethod)
    learner, lm = method.learner, method.learner.lm
    if lm.family not in _SCORES:
        raise UserError(f"{lm.name} is an encoder-decoder, which predicts no token of its prompt.")
    texts = run.texts
    if lm.family == "masked":
        texts = Split("texts", tuple(capped(texts.examples, MASKED, run.config.data.seed)), notes=texts.notes)
    key = ("perplexity", lm.identity, learner.template.source, learner.max_length, texts.fingerprint)
    prompts = learner.encoder.encode(texts.rows)
    found = run.context.session.memo.get(key, lambda: surprise(lm, prompts, learner.batch_size))
    return {"score": float(np.exp(np.mean(found))), "examples": len(texts), "of": texts.notes[-1]}


@torch.inference_mode()
def surprise(lm: LanguageModel, prompts: Sequence[Prompt], batch_size: int) -> list[float]:
    """The mean of -log p over the tokens of each prompt, in nats."""
    special = {*lm.tokenizer.all_special_ids}
    totals, counts = [0.0] * len(prompts), [0] * len(prompts)
    with evaluating(lm.model):
        for owner, value in _SCORES[lm.family](lm, prompts, batch_size, special):
            totals[owner] += value
            counts[owner] += 1
    return [total / max(1, count) for total, count in zip(totals, counts, strict=True)]


def _masked(lm: LanguageModel, prompts: Sequence[Prompt], size: int, special: set[int]) -> Iterator[tuple[int, float]]:
    asked = [
        (owner, place, prompt.ids[place])
        for owner, prompt in enumerate(prompts)
        for place in range(len(prompt.ids))
        if prompt.ids[place] not in special
    ]
    for few in buckets([len(prompts[owner].ids) for owner, _, _ in asked], size):
        batch = lm.collate([prompts[asked[i][0]] for i in few])
        rows, places = torch.arange(len(few)), torch.tensor([asked[i][1] for i in few])
        gold = torch.tensor([asked[i][2] for i in few], device=lm.device)
        batch.input_ids[rows, places] = lm.tokenizer.mask_token_id
        logits = lm.word_scores(lm.encode(batch)[rows, places].float(), None)
        values = F.cross_entropy(logits, gold, reduction="none").tolist()
        yield from zip((asked[i][0] for i in few), values, strict=True)


def _left_to_right(
    lm: LanguageModel, prompts: Sequence[Prompt], size: int, special: set[int]
) -> Iterator[tuple[int, float]]:
    for few in buckets([len(prompt.ids) for prompt in prompts], size):
        batch = lm.collate([prompts[i] for i in few])
        hidden = lm.encode(batch)
        for row, owner in enumerate(few):
            own = batch.attention_mask[row].bool()
            ids, states = batch.input_ids[row][own], hidden[row][own].float()
            values = F.cross_entropy(lm.word_scores(states[:-1], None), ids[1:], reduction="none")
            yield from ((owner, v) for v, i in zip(values.tolist(), ids[1:].tolist(), strict=True) if i not in special)


_SCORES = {"masked": _masked, "decoder_only": _left_to_right}
