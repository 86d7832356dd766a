"""How a BERT begins that is to tell the relation of two texts: as one that compares them.

A small budget would go by before one that fills masks finds out how: the relation tells nothing as long as no layer
knows which words both texts have, and no layer learns that as long as the relation is told from nothing. So the way is
laid, in six dimensions and one head of each of two layers, and training goes on from there:

    words ──► which of them the other text has ──► how many, and how rare ──► [CLS] ──► pooler

In shapes: H hidden size, D size of a head, T tokens of some pairs, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from .batches import INPUTS, Batch

_SAME, _ACROSS, _NONE = 18.0, 14.0, 18.0
"""Attention scores: of a word for itself, of the other text beside its own, of [CLS] where the other text lacks it."""
_COMMON, _RARE = 5.5, 10.5  # nats by which a word is rarer than all: what counts nothing, and what counts most


def affine(
    states: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor | None = None, penalty: float = 1e-4
) -> tuple[torch.Tensor, torch.Tensor]:
    """What comes nearest to `wanted` [T, k] of states [T, H], each as heavy as `weights` [T] say: a matrix [k, H] and
    an offset [k]. The penalty is a share of the states' mean variance."""
    x, y = states.double(), wanted.double()
    share = torch.ones(len(x), dtype=x.dtype) if weights is None else weights.double()
    share = (share / share.sum()).unsqueeze(1)
    x_mean, y_mean = (share * x).sum(0), (share * y).sum(0)
    spread = (share * (x - x_mean)).T @ (x - x_mean)
    spread += penalty * spread.diagonal().mean() * torch.eye(len(spread), dtype=x.dtype)
    matrix = torch.linalg.solve(spread, (share * (x - x_mean)).T @ (y - y_mean))
    return matrix.T.float(), (y_mean - x_mean @ matrix).float()


def empty(model: Any, places: list[int]) -> None:
    """Takes some dimensions from all that is read, written and normed, so that they hold what is put there alone."""
    bert, embeddings = model.bert, model.bert.embeddings
    tables = [embeddings.word_embeddings, embeddings.position_embeddings, embeddings.token_type_embeddings]
    norms, readers, writers = [embeddings.LayerNorm], [model.cls.predictions.transform.dense], []
    for layer in bert.encoder.layer:
        attention = layer.attention
        norms += [attention.output.LayerNorm, layer.output.LayerNorm]
        readers += [attention.self.query, attention.self.key, attention.self.value, layer.intermediate.dense]
        writers += [attention.output.dense, layer.output.dense]
    for module in [*tables, *readers]:
        module.weight[:, places] = 0
    for module in writers:
        module.weight[places] = 0
        module.bias[places] = 0
    for norm in norms:
        norm.weight[places] = 1
        norm.bias[places] = 0


def directions(words: torch.Tensor, shares: torch.Tensor, number: int) -> torch.Tensor:
    """Word vectors [V, number] of one size that are the nearer the more alike the words' embeddings [V, H] are in
    their principal directions, where words count by their shares [V] of the text."""
    words = words - (shares.unsqueeze(1) * words).sum(0)
    values, vectors = torch.linalg.eigh((shares.unsqueeze(1) * words).T @ words)
    turned = words @ vectors[:, -number:] / values[-number:].clamp(min=1e-12).sqrt()
    return torch.nn.functional.normalize(turned, dim=1) * number**0.5


@torch.no_grad()
def start_comparing(model: Any, tokenizer: Any, ids: np.ndarray, batches: Iterable[Batch]) -> list[int]:
    """Lays the way that the module tells of.

    Args:
        model: a BERT for masked words with a pooler, of two layers at least.
        ids: the tokens of the corpus, by which words are rare or not.
        batches: some pairs of it, on which the model's own directions are read off.

    Returns:
        The dimensions: which text, whether [CLS]; of words, whether the other text has them and how rare that is; and
        of all states, the means of the last two. None where the model is too small for it, which is said.
    """
    bert, config = model.bert, model.config
    size = config.hidden_size // config.num_attention_heads
    if config.num_hidden_layers < 2 or size < 8:
        print("too small to begin as a model that compares texts: that takes two layers and heads of 8", flush=True)
        return []
    text, first, shared, rare, shared_mean, rare_mean = places = list(range(config.hidden_size - 6, config.hidden_size))
    model.eval()  # what is read off its states must not depend on dropout
    empty(model, places)
    embeddings, words = bert.embeddings, bert.embeddings.word_embeddings.weight
    pairs = [{name: batch[name] for name in INPUTS} for batch in batches]
    some = pairs[0]
    raw = words[some["input_ids"]] + embeddings.position_embeddings.weight[: some["input_ids"].shape[1]]
    unit = raw[some["attention_mask"].bool()].std(dim=-1).mean()
    embeddings.token_type_embeddings.weight[:, text] = 2 * unit * torch.tensor([-1.0, 1.0])
    words[tokenizer.cls_token_id, text] = 2 * unit  # [CLS] belongs to neither text
    words[tokenizer.cls_token_id, first] = 6 * unit

    # What the first layer reads, of each token: its word, its text, whether it is [CLS], how rare it is.
    there = [pair["attention_mask"].bool() for pair in pairs]
    begin = [embeddings(input_ids=pair["input_ids"], token_type_ids=pair["token_type_ids"]) for pair in pairs]
    states = torch.cat([state[mask] for state, mask in zip(begin, there, strict=True)])
    tokens = torch.cat([pair["input_ids"][mask] for pair, mask in zip(pairs, there, strict=True)])
    segments = torch.cat([pair["token_type_ids"][mask] for pair, mask in zip(pairs, there, strict=True)])
    is_first = tokens == tokenizer.cls_token_id
    special = torch.isin(tokens, torch.tensor(tokenizer.all_special_ids))
    even = torch.where(is_first, (~is_first).sum() / is_first.sum() / 2, 1.0)
    counts = torch.from_numpy(np.bincount(ids, minlength=len(words)) + 1.0).float()
    capped = counts.clamp(max=float(counts.quantile(0.99)))
    wanted = directions(words, capped / capped.sum(), size - 2)[tokens] * ~special.unsqueeze(1)
    word, word_0 = affine(states, wanted, penalty=1e-3)
    which, which_0 = affine(states, ((2.0 * segments - 1) * ~is_first).unsqueeze(1), even)
    none, none_0 = affine(states, is_first.float().unsqueeze(1), even)
    nats = -(counts / counts.sum()).log()[tokens]
    rarity = ((nats - _COMMON) / (_RARE - _COMMON)).clamp(0, 1) * 2 * ~special
    how_rare, how_rare_0 = affine(states, rarity.unsqueeze(1), even)

    head = slice(0, size)
    attention = bert.encoder.layer[0].attention
    same = (_SAME * size**0.5 / (states @ word.T + word_0)[~special].square().sum(1).mean()).sqrt()
    across, alone = (_ACROSS / 2 * size**0.5) ** 0.5, (_NONE * size**0.5) ** 0.5
    query, key = attention.self.query, attention.self.key
    query.weight[head] = torch.cat([same * word, across * which, 0 * none])
    query.bias[head] = torch.cat([same * word_0, across * which_0, torch.tensor([alone])])
    key.weight[head] = torch.cat([same * word, -across * which, alone * none])
    key.bias[head] = torch.cat([same * word_0, -across * which_0, alone * none_0])
    passes_on(attention, head, torch.cat([-none, how_rare]), torch.cat([1 - none_0, how_rare_0]), [shared, rare], 2.0)

    # The second layer's head looks at all words alike, and reads what the first has written, in its own units.
    after = read(model, pairs, 1)
    found = after[~special][:, [shared, rare]]
    mean, spread = found.mean(0), found.std(0).clamp(min=1e-3)
    attention = bert.encoder.layer[1].attention
    for module in (attention.self.query, attention.self.key):
        module.weight[head] = 0
        module.bias[head] = 0
    attention.self.query.bias[0], attention.self.key.weight[0, first] = size**0.5, -1.5
    reads = torch.zeros(2, config.hidden_size)
    reads[0, shared], reads[1, rare] = 1 / spread
    passes_on(attention, head, reads, -mean / spread, [shared_mean, rare_mean], 6.0)
    last = read(model, pairs, config.num_hidden_layers)[is_first][:, [shared_mean, rare_mean]]
    pooler = bert.pooler.dense
    pooler.weight[:2] = 0
    pooler.weight[[0, 1], [shared_mean, rare_mean]] = 1 / last.std(0).clamp(min=1e-3)
    pooler.bias[:2] = -last.mean(0) / last.std(0).clamp(min=1e-3)
    return places


def read(model: Any, pairs: list[Batch], layer: int) -> torch.Tensor:
    """The states [T, H] behind a layer (from 1) of all tokens."""
    states = [model.bert(**pair, output_hidden_states=True).hidden_states[layer] for pair in pairs]
    return torch.cat([state[pair["attention_mask"].bool()] for state, pair in zip(states, pairs, strict=True)])


def passes_on(
    attention: Any, head: slice, matrix: torch.Tensor, offset: torch.Tensor, places: list[int], factor: float
) -> None:
    """Lets a head write to some dimensions what `matrix` [k, H] reads where it looks, and nothing else."""
    value, out = attention.self.value, attention.output.dense
    value.weight[head] = 0
    value.bias[head] = 0
    value.weight[head][: len(matrix)] = matrix
    value.bias[head][: len(matrix)] = offset
    out.weight[:, head] = 0
    for index, place in enumerate(places):
        out.weight[place, index] = factor
