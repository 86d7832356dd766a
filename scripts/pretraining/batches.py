"""From lines to token ids, to blocks of them, to batches with masks or spans.

In shapes: N blocks, B of them in a batch, L tokens in a row, D tokens for the decoder, M tokens to predict,
V vocabulary.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .text import SENTINELS, UserError

HELDOUT_BLOCKS = 512  # or a twentieth of the corpus, if that is less
COMMONEST = 160  # token types that --rare-weight leaves alone
FAVOUR = 4.0  # how much more readily words of --favour are chosen
NGRAMS = np.array([6, 3, 2]) / 11  # of one, two and three words: each the rarer the longer (Lan et al. 2020)
INPUTS = ("input_ids", "attention_mask", "token_type_ids")  # what a BERT reads of a batch
Batch = dict[str, torch.Tensor]


@dataclass
class Corpus:
    """The text as T token ids, and N blocks of it with at most --block less 3 tokens (the special ones)."""

    ids: np.ndarray  # [T] int32, one file after the other
    starts: np.ndarray  # [lines] where each line begins in `ids`
    blocks: np.ndarray  # [N, 2] first place, and the one after the last
    source: np.ndarray  # [N] the number of the file
    repeats: list[float]  # by file

    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the blocks to train on [N - H] and, evenly spread among them, to measure on [H]."""
        number = len(self.blocks)
        held = max(1, min(HELDOUT_BLOCKS, number // 20))
        heldout = np.linspace(0, number - 1, held + 2)[1:-1].astype(int)
        return np.setdiff1d(np.arange(number), heldout), heldout


def cut_blocks(lengths: list[int], room: int, short: float, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Blocks over the lines of a file, laid end to end. Whole lines while they fit, so that most blocks begin and
    end where a text does; a line is cut only where the block would stay half empty. A share of the blocks has
    less room: prompts are short, and the model must have seen an end at every position."""
    start = end = 0
    limit = room
    for length in lengths:
        line, end = end, end + length
        while end - start > limit:
            stop = line if line - start >= limit / 2 else start + limit
            yield start, stop
            start, limit = stop, int(rng.integers(8, room + 1)) if rng.random() < short else room
    if end - start >= 8:
        yield start, end


def encode(lines: dict[str, list[str]], repeats: list[float], tokenizer: Any, args: argparse.Namespace) -> Corpus:
    """The whole corpus as token ids and blocks."""
    rng = np.random.default_rng([args.seed, 0])
    ids, starts, blocks, source, offset = [], [], [], [], 0
    for number, texts in enumerate(lines.values()):
        lengths: list[int] = []
        for i in range(0, len(texts), 10_000):
            coded = tokenizer.backend_tokenizer.encode_batch_fast(texts[i : i + 10_000], add_special_tokens=False)
            ids += [np.array(text.ids, dtype=np.int32) for text in coded]
            lengths += [len(text.ids) for text in coded]
        cut = list(cut_blocks(lengths, args.block - 3, args.short_share, rng))
        blocks += [(offset + start, offset + stop) for start, stop in cut]
        source += [number] * len(cut)
        starts.append(offset + np.cumsum([0, *lengths])[:-1])
        offset += sum(lengths)
    if len(blocks) < 2:
        raise UserError(f"too little text: {offset} tokens do not make two blocks of {args.block}")
    return Corpus(np.concatenate(ids), np.concatenate(starts), np.array(blocks), np.array(source), repeats)


def padded(rows: Sequence[np.ndarray], fill: int) -> np.ndarray:
    """One row each, [B, L]; L is a multiple of 8, which keeps the number of different shapes small."""
    table = np.full((len(rows), -(-max(map(len, rows)) // 8) * 8), fill, dtype=np.int64)
    for place, row in zip(table, rows, strict=True):
        place[: len(row)] = row
    return table


def to_batch(**arrays: np.ndarray) -> Batch:
    """The arrays as int64 tensors."""
    return {name: torch.from_numpy(array.astype(np.int64, copy=False)) for name, array in arrays.items()}


def favoured(words: list[str], tokenizer: Any) -> list[int]:
    """The ids of words, each of which is one token."""
    pieces = [tokenizer.tokenize(word) for word in words]
    if split := [word for word, some in zip(words, pieces, strict=True) if len(some) != 1 or some == ["[UNK]"]]:
        raise UserError(f"--favour: {split[0]!r} is not one token of this model")
    return [int(tokenizer.convert_tokens_to_ids(some[0])) for some in pieces]


class MaskedBatches:
    """For `mlm`: input_ids, attention_mask, token_type_ids [B, L]; chosen [M], places in the flattened [B * L];
    targets [M], what stood there."""

    def __init__(self, corpus: Corpus, tokenizer: Any, args: argparse.Namespace):
        self.corpus, self.tokenizer, self.args = corpus, tokenizer, args
        stops = tokenizer.convert_tokens_to_ids([".", "!", "?", ";", "。", "！", "？"])
        self.stops = np.setdiff1d(stops, [tokenizer.unk_token_id])
        # [V] how readily a token is chosen: special ones never, rare ones (they carry the meaning) more often.
        commonest = np.argsort(-np.bincount(corpus.ids, minlength=len(tokenizer)), kind="stable")[:COMMONEST]
        self.readiness = np.full(len(tokenizer), args.rare_weight)
        self.readiness[commonest] = 1.0
        self.readiness[favoured(args.favour, tokenizer)] *= FAVOUR
        self.readiness[tokenizer.all_special_ids] = 0.0
        self.ordinary = np.flatnonzero(self.readiness)
        self.inside = np.array(
            [piece.startswith("##") for piece in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))]
        )

    def border(self, start: int, stop: int, rng: np.random.Generator) -> int:
        """Where segment B begins in a block: after a line or a sentence, else anywhere inside."""
        first, last = np.searchsorted(self.corpus.starts, [start + 1, stop])
        sentences = np.flatnonzero(np.isin(self.corpus.ids[start : stop - 1], self.stops)) + start + 1
        borders = np.union1d(self.corpus.starts[first:last], sentences)
        return int(rng.choice(borders)) if len(borders) else int(rng.integers(start + 1, stop))

    def segments(self, row: int, rng: np.random.Generator) -> list[np.ndarray]:
        """The tokens of a block as one text, as two (--pair-share), or with --mask window as one of its windows."""
        start, stop = self.corpus.blocks[row]
        if self.args.mask == "window":
            centre = int(rng.integers(start, stop))
            first = min(max(start, centre - self.args.window // 2), max(start, stop - self.args.window))
            return [self.corpus.ids[first : min(stop, first + self.args.window)]]
        cut = self.border(start, stop, rng) if rng.random() < self.args.pair_share else stop
        return [self.corpus.ids[start:cut], self.corpus.ids[cut:stop]][: 1 + (cut < stop)]

    def choose(self, ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Which tokens are to be told [B, L]."""
        readiness = self.readiness[ids]
        if self.args.mask == "window":
            tokens = np.count_nonzero(ids != self.tokenizer.pad_token_id, axis=1, keepdims=True) - 2
            chosen = (np.arange(ids.shape[1]) == 1 + tokens // 2) & (readiness > 0)
            chosen.flat[np.argmax(readiness)] |= not chosen.any()
            return chosen
        mean = readiness.sum(1, keepdims=True) / np.maximum(1, np.count_nonzero(readiness, axis=1)[:, None])
        share = self.args.mask_rate / (NGRAMS @ [1, 2, 3] if self.args.mask == "ngrams" else 1)
        chosen = rng.random(ids.shape) * mean < readiness * share
        if self.args.mask in ("words", "ngrams"):  # a word is chosen as its first piece is
            first = np.maximum.accumulate(np.where(self.inside[ids], 0, np.arange(ids.shape[1])), axis=1)
            chosen = np.take_along_axis(chosen, first, axis=1)
            if self.args.mask == "ngrams":  # and the one or two words behind it
                word = np.cumsum(~self.inside[ids], axis=1)
                length = np.take_along_axis(rng.choice([1, 2, 3], ids.shape, p=NGRAMS), first, axis=1)
                told = np.zeros((len(ids), word.max() + 3), dtype=bool)
                for behind in range(3):
                    rows, places = np.nonzero(chosen & (length > behind))
                    told[rows, word[rows, places] + behind] = True
                chosen = np.take_along_axis(told, word, axis=1)
            chosen &= readiness > 0
        chosen.flat[np.argmax(readiness)] |= not chosen.any()
        return chosen

    def __call__(self, rows: np.ndarray, rng: np.random.Generator) -> Batch:
        cls, sep = [self.tokenizer.cls_token_id], [self.tokenizer.sep_token_id]
        texts, segments = [], []
        for row in rows:
            parts = self.segments(row, rng)
            texts.append(np.concatenate([cls, *(piece for part in parts for piece in (part, sep))]))
            segments.append(np.arange(len(texts[-1])) >= len(parts[0]) + 2)
        return self.masked(texts, segments, rng)

    def masked(self, texts: Sequence[np.ndarray], segments: Sequence[np.ndarray], rng: np.random.Generator) -> Batch:
        """The batch of some texts, special tokens included, with the segment of each token."""
        ids = padded(texts, self.tokenizer.pad_token_id)
        chosen = self.choose(ids, rng)
        mask, swap, _ = self.args.mask_split
        fate = rng.random(ids.shape)
        shown = np.where(fate < mask + swap, rng.choice(self.ordinary, ids.shape), ids)
        shown = np.where(fate < mask, self.tokenizer.mask_token_id, shown)
        return to_batch(
            input_ids=np.where(chosen, shown, ids), attention_mask=padded([np.ones(len(t)) for t in texts], 0),
            token_type_ids=padded(segments, 0), chosen=np.flatnonzero(chosen), targets=ids[chosen],
        )  # fmt: skip


def composition(total: int, parts: int, rng: np.random.Generator) -> np.ndarray:
    """Whole numbers from 1 up [parts] that make `total`, every way equally likely."""
    cuts = np.sort(rng.choice(total - 1, parts - 1, replace=False)) + 1
    return np.diff(cuts, prepend=0, append=total)


class SpanBatches:
    """For `spans`: input_ids, attention_mask [B, L]; decoder_input_ids [B, D]; chosen [M], places in the flattened
    [B * D]; targets [M]. From `a b c d e` the encoder reads `a <0> d e </s>`, the decoder writes `<0> b c <1> </s>`."""

    def __init__(self, corpus: Corpus, tokenizer: Any, args: argparse.Namespace):
        self.corpus, self.tokenizer, self.args = corpus, tokenizer, args
        self.sentinels = tokenizer.convert_tokens_to_ids(SENTINELS)

    def corrupt(self, text: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """What the encoder reads, and what the decoder has to write."""
        noise = min(max(1, round(len(text) * self.args.mask_rate)), len(text) - 1)
        spans = min(max(1, round(noise / self.args.span)), len(text) - noise, len(SENTINELS) - 1)
        hidden = composition(noise, spans, rng)
        # The first and the last gap may be empty: a template can begin or end in its mask.
        kept = composition(len(text) - noise + 2, spans + 1, rng) - np.array([1] + [0] * (spans - 1) + [1])
        read, write = [], []
        for sentinel, gap, span in zip(self.sentinels, kept, hidden, strict=False):
            read += [text[:gap], [sentinel]]
            write += [[sentinel], text[gap : gap + span]]
            text = text[gap + span :]
        end = [self.tokenizer.eos_token_id]
        return np.concatenate([*read, text, end]), np.concatenate([*write, [self.sentinels[spans]], end])

    def __call__(self, rows: np.ndarray, rng: np.random.Generator) -> Batch:
        pairs = [self.corrupt(self.corpus.ids[start:stop], rng) for start, stop in self.corpus.blocks[rows]]
        read, write = zip(*pairs, strict=True)
        pad = self.tokenizer.pad_token_id
        wanted = padded(write, -100)
        given = np.pad(np.where(wanted < 0, pad, wanted), ((0, 0), (1, 0)), constant_values=pad)[:, :-1]
        return to_batch(
            input_ids=padded(read, pad), attention_mask=padded([np.ones(len(r)) for r in read], 0),
            decoder_input_ids=given, chosen=np.flatnonzero(wanted >= 0), targets=wanted[wanted >= 0],
        )  # fmt: skip


Maker = MaskedBatches | SpanBatches


class Schedule(torch.utils.data.Dataset[Batch]):
    """Step → batch. Each pass over the text has its own order; blocks of like length share a batch."""

    def __init__(self, make: Maker, rows: np.ndarray, args: argparse.Namespace):
        self.make, self.args = make, args
        self.files = [rows[make.corpus.source[rows] == number] for number in range(len(make.corpus.repeats))]
        self.steps = math.ceil(len(self.order(0)) / args.batch)  # in one pass
        self.epoch, self.table = -1, np.empty(0)

    def order(self, epoch: int) -> np.ndarray:
        """The blocks of one pass, shuffled. `--repeat a=1.5` brings all of `a` and half of it again, each time
        another half."""
        rng = np.random.default_rng([self.args.seed, 1, epoch])
        parts = []
        for rows, repeat in zip(self.files, self.make.corpus.repeats, strict=True):
            parts += [rows] * int(repeat) + [rng.choice(rows, round(len(rows) * (repeat % 1)), replace=False)]
        return rng.permutation(np.concatenate(parts))

    def batches(self, epoch: int) -> np.ndarray:
        """Block numbers [steps, B]."""
        order = np.resize(self.order(epoch), self.steps * self.args.batch)
        lengths = np.diff(self.make.corpus.blocks[order])[:, 0]
        order = order[np.lexsort((lengths, np.arange(len(order)) // (64 * self.args.batch)))]
        return np.random.default_rng([self.args.seed, 2, epoch]).permutation(order.reshape(-1, self.args.batch))

    def __getitem__(self, step: int) -> Batch:
        epoch, index = divmod(step, self.steps)
        if epoch != self.epoch:
            self.epoch, self.table = epoch, self.batches(epoch)
        return self.make(self.table[index], np.random.default_rng([self.args.seed, 3, step]))
