"""BERT's second objective: the relation of two pieces of text, told from how they stand in documents.

A piece is a sentence or several. The one behind it is the next (BERT's isNext), a piece of another document of the same
file is no continuation (notNext; Devlin et al. 2019), and with three relations, as Gu et al. (PPT, 2022) have them, one
of the same document that does not stand beside it is neither. For each first piece a second of each kind is at hand, of
the same class of lengths, that may as well have been the next of another one: neither source nor length nor place tells
the relation. In shapes: U pieces, D documents; the others as in `batches`.
"""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn

from .batches import HELDOUT_BLOCKS, INPUTS, Batch, Corpus, MaskedBatches, to_batch
from .text import UserError

hf: Any = transformers

RELATIONS = ("entailment", "contradiction", "neutral")
"""The next piece, one of another document, one of the same document; the first two are BERT's isNext and notNext."""

_END = re.compile(r"[.!?]+[\"'”’)\]]*\s+|[。！？]+[”’」』）]*")
_NO_END = re.compile(r"(?:^|[\s(\"'])(?:[a-z]|mr|mrs|ms|dr|st|vs|jr|sr|prof|gen|sen|rep)$", re.IGNORECASE)
_LEAST = 4  # tokens of a piece
_HELD_DOCUMENTS = 20  # one document in so many is held out


def sentences(text: str) -> list[str]:
    """The sentences of a text, by their final punctuation."""
    found, start = [], 0
    for match in _END.finditer(text):
        if match.group()[0] != "." or not _NO_END.search(text[start : match.start()]):
            found.append(text[start : match.end()].strip())
            start = match.end()
    return [*found, text[start:].strip()] if text[start:].strip() else found


def documents(lines: list[str]) -> list[list[str]]:
    """The documents of a file as their sentences: the blocks between its blank lines, or else its lines of several."""
    blocks = [list(block) for filled, block in itertools.groupby(lines, bool) if filled]
    if len(blocks) < 2:
        blocks = [[line] for line in lines if line]
    split = [[sentence for line in block for sentence in sentences(line)] for block in blocks]
    return [one for one in split if len(one) > 1]


@dataclass
class PairCorpus(Corpus):
    """Documents as pieces of text. A block is the first piece of a pair."""

    pieces: np.ndarray  # [U, 2] first place in `ids`, and the one after the last
    document: np.ndarray  # [U] the number of the document
    first: np.ndarray  # [N] the number of the piece that a block is
    held: np.ndarray  # [D] whether a document is held out
    seconds: dict[tuple[int, bool, int], np.ndarray]  # file, held out, class of length -> the pieces that may be second
    length: np.ndarray  # [U] the class of length
    wording: np.ndarray  # [U] equal where pieces are, token by token
    whole: np.ndarray  # [U] whether a piece need not be cut
    said: list[str] = field(default_factory=list)  # [U] the text of each

    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the blocks of documents to train on, and, at most `HELDOUT_BLOCKS` spread evenly, of those held
        out, of which nothing is trained on."""
        held = self.held[self.document[self.first]]
        heldout = np.flatnonzero(held)
        if len(heldout) > HELDOUT_BLOCKS:
            heldout = heldout[np.linspace(0, len(heldout) - 1, HELDOUT_BLOCKS).astype(int)]
        return np.flatnonzero(~held), heldout

    def held_out(self) -> tuple[np.ndarray, np.ndarray]:
        """All blocks of held-out documents: those of every other one, by which something may be chosen, and those of
        the rest, on which it is measured."""
        turn = np.cumsum(self.held) % 2
        own = self.document[self.first]
        held = self.held[own]
        return np.flatnonzero(held & (turn[own] == 1)), np.flatnonzero(held & (turn[own] == 0))

    def candidates(self, block: int, relation: int, most: int | None = None) -> np.ndarray:
        """The pieces [C] that stand in a relation to a block's; of another document's only the first `most` are looked
        at."""
        first = self.first[block]
        own = self.document[first]
        if relation == 0:
            return np.array([first + 1])
        there = self.seconds[int(self.source[block]), bool(self.held[own]), int(self.length[first + 1])]
        if relation == 1:
            there = there[:most]
            there = there[self.document[there] != own]
        else:
            begin, end = np.searchsorted(there, np.searchsorted(self.document, [own, own + 1]))
            there = there[begin:end]
            there = there[np.abs(there - first) > 1]
        words = self.wording[there]
        return there[(words != self.wording[first]) & (words != self.wording[first + 1])]


def length_class(lengths: np.ndarray) -> np.ndarray:
    """Lengths of one class differ by less than a third."""
    return np.floor(np.log(lengths) / np.log(1.3)).astype(int)


def room(args: argparse.Namespace) -> int:
    """The most tokens of a piece."""
    return int((args.block - 3) // 2)


def join(lengths: list[int], least: int, most: int) -> list[int]:
    """Whole sentences one behind the other until a piece has `least` tokens; where each piece ends."""
    ends, start, end = [], 0, 0
    for length in lengths:
        if end > start and end + length - start > most:  # better short than cut
            ends.append(end)
            start = end
        end += length
        if end - start >= least:
            ends.append(end)
            start = end
    return ends  # what is left over is shorter than any piece


def encode_pairs(
    lines: dict[str, list[str]], repeats: list[float], tokenizer: Any, args: argparse.Namespace
) -> PairCorpus:
    """The documents of the corpus as token ids, pieces and blocks. Files without any are told and left out.

    Raises:
        UserError: no file has documents, or none of them has pairs for each of the relations.
    """
    rng = np.random.default_rng([args.seed, 0])
    ids: list[np.ndarray] = []
    pieces: list[tuple[int, int]] = []
    said: list[str] = []
    document: list[int] = []
    source: list[int] = []  # of each document
    offset = 0
    without = []
    for number, (name, texts) in enumerate(lines.items()):
        found = documents(texts)
        if len(found) < 2:
            without.append(name)
            continue
        every = list(itertools.chain(*found))
        coded: list[np.ndarray] = []
        for i in range(0, len(every), 10_000):
            own = tokenizer.backend_tokenizer.encode_batch_fast(every[i : i + 10_000], add_special_tokens=False)
            coded += [np.array(sentence.ids, dtype=np.int32) for sentence in own]
        ids += coded
        rest = iter(coded)
        for one in found:
            lengths = [len(sentence) for sentence in itertools.islice(rest, len(one))]
            # Some documents in single sentences, some in several at once: a task's texts are short or long.
            drawn = int(rng.integers(_LEAST, max(_LEAST, room(args) // 2) + 1))
            ends = join(lengths, max(_LEAST, min(drawn, sum(lengths) // 6)), room(args))
            borders = np.array([0, *ends])
            pieces += zip(offset + borders[:-1], offset + borders[1:], strict=True)
            places = np.searchsorted(np.cumsum([0, *lengths]), borders)  # of sentences
            said += [" ".join(one[first:last]) for first, last in itertools.pairwise(places)]
            document += [len(source)] * len(ends)
            source.append(number)
            offset += sum(lengths)
    if not source:
        names = ", ".join(f"{name}.txt" for name in without)
        raise UserError(
            f"--objective mlm+nsp: {names} in {args.corpus} holds no documents; a document is a line of several "
            "sentences, or a block between blank lines"
        )
    if without:
        print(f"without documents, left out: {', '.join(without)}", flush=True)
    corpus = blocks_of(np.concatenate(ids), np.array(pieces), np.array(document), np.array(source), repeats, args)
    corpus.said = said
    return corpus


def blocks_of(
    ids: np.ndarray,
    pieces: np.ndarray,
    document: np.ndarray,
    source: np.ndarray,
    repeats: list[float],
    args: argparse.Namespace,
) -> PairCorpus:
    """The corpus of pieces [U, 2] with their documents [U], whose files are `source` [D]; blocks are the pieces that
    have a second one of each kind."""
    held = np.zeros(len(source), dtype=bool)
    for number in np.unique(source):
        own = np.flatnonzero(source == number)
        spread = max(2, len(own) // _HELD_DOCUMENTS) if len(own) > 3 else 0
        held[own[np.linspace(0, len(own) - 1, spread + 2)[1:-1].astype(int)]] = True
    long = np.diff(pieces)[:, 0]
    length = length_class(np.minimum(long, room(args)))
    codes: dict[bytes, int] = {}
    wording = np.array([codes.setdefault(ids[a:b].tobytes(), len(codes)) for a, b in pieces])
    follows = np.flatnonzero(document[1:] == document[:-1]) + 1  # the first piece of a document is no second one
    kinds: dict[tuple[int, bool, int], list[int]] = {}
    for piece in follows:
        own = document[piece]
        kinds.setdefault((int(source[own]), bool(held[own]), int(length[piece])), []).append(int(piece))
    first = follows - 1
    corpus = PairCorpus(
        ids, pieces[:, 0], pieces[first], source[document[first]], repeats, pieces, document, first, held,
        {kind: np.array(own) for kind, own in kinds.items()}, length, wording,
        long <= room(args),
    )  # fmt: skip
    whole = [
        wording[first[block]] != wording[first[block] + 1]
        and all(
            len(corpus.candidates(block, relation, 64)) or len(corpus.candidates(block, relation))
            for relation in range(1, args.relations)
        )
        for block in range(len(first))
    ]
    corpus.first, corpus.blocks, corpus.source = first[whole], corpus.blocks[whole], corpus.source[whole]
    if min(map(len, corpus.split())) < 1:
        raise UserError(
            f"--objective mlm+nsp: the documents of {args.corpus} are too few or too short for pairs of each relation"
        )
    return corpus


class PairBatches(MaskedBatches):
    """As `MaskedBatches`, of pairs, with relation [B]: an index of `RELATIONS`. A first piece stands in a batch with a
    second one of each kind, so that nothing is learned of first pieces alone; of the rows that leaves the first half or
    third. With --mask window the pairs stay whole, and behind them stand as many windows of first pieces, whose middles
    are to be told: then the relation is that of the first B rows."""

    corpus: PairCorpus

    def pair(self, block: int, relation: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The token ids of two pieces; of too long ones what stands next to the other is kept."""
        second = rng.choice(self.corpus.candidates(block, relation))
        (start, stop), (begin, end) = self.corpus.pieces[[self.corpus.first[block], second]]
        most = room(self.args)
        return self.corpus.ids[start:stop][-most:], self.corpus.ids[begin:end][:most]

    def __call__(self, rows: np.ndarray, rng: np.random.Generator) -> Batch:
        cls, sep = [self.tokenizer.cls_token_id], [self.tokenizer.sep_token_id]
        kinds = self.args.relations
        relations = np.tile(np.arange(kinds), max(1, len(rows) // kinds))
        rows = np.repeat(rows[: max(1, len(rows) // kinds)], kinds)
        texts, segments = [], []
        for block, relation in zip(rows, relations, strict=True):
            first, second = self.pair(block, relation, rng)
            texts.append(np.concatenate([cls, first, sep, second, sep]))
            segments.append(np.arange(len(texts[-1])) >= len(first) + 2)
        if self.args.mask == "window":
            texts += [np.concatenate([cls, *self.segments(block, rng), sep]) for block in rows]
            segments += [np.zeros(len(text)) for text in texts[len(rows) :]]
        return self.masked(texts, segments, rng) | to_batch(relation=relations)

    def choose(self, ids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Which tokens are to be told [B, L]; with --mask window those of the second half of the rows."""
        if self.args.mask != "window":
            return super().choose(ids, rng)
        pairs = len(ids) // 2
        return np.concatenate([np.zeros_like(ids[:pairs], dtype=bool), super().choose(ids[pairs:], rng)])


def whole_pairs(make: PairBatches, tables: Iterable[np.ndarray]) -> Iterator[Batch]:
    """A batch of pairs for each table of block numbers [B], with next to no word hidden."""
    args = argparse.Namespace(**(vars(make.args) | {"mask": "tokens", "mask_rate": 0.0}))
    plain = PairBatches(make.corpus, make.tokenizer, args)
    rng = np.random.default_rng([args.seed, 6])
    return (plain(rows, rng) for rows in tables)


class BertWithRelations(hf.BertForPreTraining):  # type: ignore[misc]
    """BERT that fills masks and, in place of its two classes, tells three relations. In a file it is a
    BertForSequenceClassification with the weights of BertForMaskedLM beside it, and either reads it."""

    def __init__(self, config: Any):
        super().__init__(config)
        del self.cls.seq_relationship
        self.classifier = nn.Linear(config.hidden_size, len(RELATIONS))
        self.post_init()

    read_by = "BertForSequenceClassification"


def model_class(relations: int) -> Any:
    """What is trained on so many relations."""
    return hf.BertForPreTraining if relations == 2 else BertWithRelations


def named(relations: int | None) -> dict[str, Any]:
    """What the configuration of such a model says of its classes."""
    names = RELATIONS if relations == 3 else ()
    return {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}} if names else {}


def relation_head(model: Any) -> Any:
    """The linear layer that tells relations."""
    return model.classifier if hasattr(model, "classifier") else model.cls.seq_relationship


def relation_scores(model: Any, pooled: torch.Tensor) -> torch.Tensor:
    """Logits [B, relations] from what the pooler makes of [CLS], [B, hidden]."""
    logits: torch.Tensor = relation_head(model)(pooled)
    return logits


@torch.no_grad()
def told(model: Any, batches: Iterable[Batch]) -> tuple[torch.Tensor, torch.Tensor]:
    """What a model says of pairs, logits [N, relations], and their relations [N]."""
    model.eval()
    scores, relations = [], []
    for batch in batches:
        pooled = model.bert(**{name: batch[name].to(model.device) for name in INPUTS}).pooler_output
        scores.append(relation_scores(model, pooled).float().cpu())
        relations.append(batch["relation"])
    return torch.cat(scores), torch.cat(relations)


@torch.no_grad()
def even_out(model: Any, batches: Iterable[Batch]) -> None:
    """Moves the relations' biases until as many pairs of each are told as such. What lies between the others, as the
    same document does, is seldom the likeliest for a model in doubt."""
    scores, relations = told(model, batches)
    own = torch.nn.functional.one_hot(relations, scores.shape[1]).float()
    own /= own.sum(0).clamp(min=1)
    bias = -scores.mean(0)
    spread = (scores + bias).std()
    for step in range(1_000):  # ever smaller ones, in units of what the pairs differ by
        right = (scores + bias).argmax(-1) == relations
        recall = right.float() @ own
        bias -= spread / (1 + step / 100) * (recall - recall.mean())
    relation_head(model).bias += bias.to(model.device)


def recalls(predicted: np.ndarray, wanted: np.ndarray, relations: int) -> dict[str, float]:
    """The share of each relation's pairs that are told as such, and their mean."""
    names = RELATIONS if relations == 3 else ("is_next", "not_next")
    found = {
        f"recall_{name}": float((predicted[wanted == index] == index).mean()) if (wanted == index).any() else 0.0
        for index, name in enumerate(names)
    }
    return found | {"recall_mean": float(np.mean(list(found.values())))}
