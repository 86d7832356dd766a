#!/usr/bin/env python
"""Pretrain a small language model on a folder of text: the recipe for the models that `pet` ships.

    corpus folder ─► lines ─► tokenizer ─► token ids ─► blocks ─► batches ─► model ─► model folder

The file reads in that order. `--objective mlm` makes a BERT that fills [MASK] (Devlin et al. 2019), `spans` a T5
v1.1 that fills <extra_id_0> (Raffel et al. 2020). Plain `transformers` reads the result; nothing needs a network.
Every batch is a function of the seed and the step, so `--resume` needs no more than the step, the weights, the
optimizer and the random state to go on as if nothing had happened.

    python scripts/pretrain.py corpus/ models/small --minutes 60
    python scripts/pretrain.py corpus/ models/better --init-from models/small --minutes 60
    python scripts/pretrain.py corpus/ models/small-t5 --objective spans --minutes 60 --store float16

In shapes: B blocks in a batch, L tokens in a row, D tokens for the decoder, M tokens to predict, V vocabulary.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import itertools
import json
import lzma
import math
import os
import shutil
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
import transformers
from rich.progress import BarColumn, Progress, TimeElapsedColumn, TimeRemainingColumn
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch.nn import functional as F

hf: Any = transformers  # its types hinder more than they help here

SENTINELS = [f"<extra_id_{i}>" for i in range(100)]
SHAPES: dict[str, dict[str, Any]] = {  # what an option is when it is not given
    "mlm": {"layers": 6, "hidden": 384, "heads": 6, "vocab_size": 10_240, "mask_rate": 0.25, "lr": 1e-3},
    "spans": {"layers": 3, "hidden": 256, "heads": 4, "vocab_size": 8_192, "mask_rate": 0.15, "lr": 1e-3},
}
TOKENIZER_LINES = 300_000  # more text changes the tokenizer little
HELDOUT_BLOCKS = 512  # or a twentieth of the corpus, if that is less
COMMONEST = 160  # token types that --rare-weight leaves alone
MEAN_SPAN = 3.0
# What may differ between a run and its --resume, as it decides no batch, no weight and no learning rate.
FREE = {"corpus", "out", "resume", "init_from", "save_every", "eval_every", "workers", "threads", "store"}
Batch = dict[str, torch.Tensor]
Settings = dict[str, Any]


class UserError(Exception):
    """Something the user can put right; shown as one line."""


# ------------------------------------------------------------------------------------------------------ lines


def read_corpus(folder: Path, repeats: dict[str, float]) -> dict[str, list[str]]:
    """The non-empty lines of each *.txt, *.txt.xz and *.txt.gz by its name without the ending; none for NAME=0."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        name, ending, packing = path.name.partition(".txt")
        if ending and packing in ("", ".xz", ".gz") and files.setdefault(name, path) != path:
            raise UserError(f"{folder} holds {name}.txt twice, packed in different ways")
    if unknown := repeats.keys() - files.keys():
        raise UserError(f"--repeat: no file {min(unknown)!r} in {folder}, which has {', '.join(files) or 'none'}")
    lines = {}
    for name in (name for name in files if repeats.get(name, 1)):
        opener: Any = {".xz": lzma.open, ".gz": gzip.open}.get(files[name].suffix, open)
        try:
            with opener(files[name], "rt", encoding="utf-8") as file:
                lines[name] = [line.strip() for line in file if line.strip()]
        except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError, zlib.error) as error:
            raise UserError(f"cannot read {files[name]}: {error}") from error
    if not any(lines.values()):
        raise UserError(f"no text in {folder}: it needs *.txt, *.txt.xz or *.txt.gz with one text a line")
    return lines


# ------------------------------------------------------------------------------------------------------ tokenizer


def train_tokenizer(lines: list[str], args: argparse.Namespace) -> Any:
    """A tokenizer for the objective, from lines spread evenly over the corpus."""
    sample = lines[:: math.ceil(len(lines) / TOKENIZER_LINES)]
    build = wordpiece if args.objective == "mlm" else sentence_pieces
    return build(sample, args.vocab_size, not args.cased, args.max_positions)


def alphabet(lines: list[str], normalizer: Any, most: int) -> list[str]:
    """The commonest characters, 99.99 % of the text. Said outright, as the trainers break ties by chance."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(normalizer.normalize_str(line))
    ranked = sorted(counts, key=lambda character: (-counts[character], character))
    enough = np.searchsorted(np.cumsum([counts[character] for character in ranked]), 0.9999 * counts.total()) + 1
    return ranked[: min(int(enough), most)]


def wordpiece(lines: list[str], size: int, lower: bool, longest: int) -> Any:
    """BERT's: words and punctuation apart, the rest of a word as ##pieces."""
    clean, words = normalizers.BertNormalizer(lowercase=lower), pre_tokenizers.BertPreTokenizer()

    def empty(vocabulary: dict[str, int]) -> Tokenizer:
        pieces = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        pieces.normalizer, pieces.pre_tokenizer, pieces.decoder = clean, words, decoders.WordPiece()
        return pieces

    first = [character for character in alphabet(lines, clean, size // 2) if not character.isspace()]
    inside = [f"##{c}" for c in first if len(words.pre_tokenize_str(clean.normalize_str("a" + c))) == 1]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    learner = empty({})
    # Left to itself the trainer numbers the ##characters by chance, and with them every merge.
    learner.train_from_iterator(lines, trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=special + inside, initial_alphabet=first, limit_alphabet=len(first),
        show_progress=False,
    ))  # fmt: skip
    pieces = empty(learner.get_vocab())
    pieces.add_special_tokens(special)
    pieces.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return hf.BertTokenizerFast(tokenizer_object=pieces, do_lower_case=lower, model_max_length=longest)


def sentence_pieces(lines: list[str], size: int, lower: bool, longest: int) -> Any:
    """T5's look (▁ begins a word, </s> ends a text, 100 sentinels come last) over byte-pair merges."""
    pieces = Tokenizer(models.BPE(unk_token="<unk>"))
    clean = [normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip(left=False)]
    pieces.normalizer = normalizers.Sequence(clean + [normalizers.Lowercase()] * lower)
    # Punctuation and digits stand alone, so that "great" is the same piece in "great." and as a label word.
    words, digits = pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Digits(individual_digits=True)
    pieces.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.Punctuation(), digits])
    pieces.decoder = decoders.Metaspace(prepend_scheme="first")
    first = [character.replace(" ", "▁") for character in alphabet(lines, pieces.normalizer, size // 2)]
    pieces.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=size - len(SENTINELS), special_tokens=["<pad>", "</s>", "<unk>"], initial_alphabet=first,
        limit_alphabet=len(first), show_progress=False,
    ))  # fmt: skip
    # A sentinel takes the space before it along, as the words it stands for do: "It was <extra_id_0>."
    pieces.add_special_tokens([AddedToken(s, lstrip=True, special=True, normalized=False) for s in SENTINELS[::-1]])
    pieces.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=pieces, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=longest,
        additional_special_tokens=SENTINELS, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------ blocks


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


# ------------------------------------------------------------------------------------------------------ batches


def padded(rows: Sequence[np.ndarray], fill: int) -> np.ndarray:
    """One row each, [B, L]; L is a multiple of 8, which keeps the number of different shapes small."""
    table = np.full((len(rows), -(-max(map(len, rows)) // 8) * 8), fill, dtype=np.int64)
    for place, row in zip(table, rows, strict=True):
        place[: len(row)] = row
    return table


def to_batch(**arrays: np.ndarray) -> Batch:
    """The arrays as int64 tensors."""
    return {name: torch.from_numpy(array.astype(np.int64, copy=False)) for name, array in arrays.items()}


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
        self.readiness[tokenizer.all_special_ids] = 0.0
        self.ordinary = np.flatnonzero(self.readiness)

    def border(self, start: int, stop: int, rng: np.random.Generator) -> int:
        """Where segment B begins in a block: after a line or a sentence, else anywhere inside."""
        first, last = np.searchsorted(self.corpus.starts, [start + 1, stop])
        sentences = np.flatnonzero(np.isin(self.corpus.ids[start : stop - 1], self.stops)) + start + 1
        borders = np.union1d(self.corpus.starts[first:last], sentences)
        return int(rng.choice(borders)) if len(borders) else int(rng.integers(start + 1, stop))

    def __call__(self, rows: np.ndarray, rng: np.random.Generator) -> Batch:
        cls, sep = [self.tokenizer.cls_token_id], [self.tokenizer.sep_token_id]
        texts, segments = [], []
        for start, stop in self.corpus.blocks[rows]:
            cut = self.border(start, stop, rng) if rng.random() < self.args.pair_share else stop
            second = [self.corpus.ids[cut:stop], sep] if cut < stop else []
            texts.append(np.concatenate([cls, self.corpus.ids[start:cut], sep, *second]))
            segments.append(np.arange(len(texts[-1])) >= cut - start + 2)
        ids = padded(texts, self.tokenizer.pad_token_id)
        readiness = self.readiness[ids]
        mean = readiness.sum(1, keepdims=True) / np.maximum(1, np.count_nonzero(readiness, axis=1)[:, None])
        chosen = rng.random(ids.shape) * mean < readiness * self.args.mask_rate
        chosen.flat[np.argmax(readiness)] |= not chosen.any()
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
        spans = min(max(1, round(noise / MEAN_SPAN)), len(text) - noise, len(SENTINELS) - 1)
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


# ------------------------------------------------------------------------------------------------------ model


def new_model(tokenizer: Any, args: argparse.Namespace) -> Any:
    """A model with random weights, in float32."""
    if args.objective == "mlm":
        return hf.BertForMaskedLM(hf.BertConfig(
            vocab_size=len(tokenizer), hidden_size=args.hidden, num_hidden_layers=args.layers,
            num_attention_heads=args.heads, intermediate_size=args.intermediate, pad_token_id=tokenizer.pad_token_id,
            max_position_embeddings=args.max_positions, hidden_dropout_prob=args.dropout,
            attention_probs_dropout_prob=args.dropout,
        ))  # fmt: skip
    return hf.T5ForConditionalGeneration(hf.T5Config(
        vocab_size=len(tokenizer), d_model=args.hidden, d_kv=args.hidden // args.heads, d_ff=args.intermediate,
        num_layers=args.layers, num_decoder_layers=args.decoder_layers, num_heads=args.heads,
        feed_forward_proj="gated-gelu", tie_word_embeddings=True, dropout_rate=args.dropout,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    ))  # fmt: skip


def load_model(folder: Path, args: argparse.Namespace) -> tuple[Any, Any, bool]:
    """Model (float32) and tokenizer of a folder, and whether its head is new (the folder held an encoder only)."""
    mlm = args.objective == "mlm"
    family, auto = ("bert", hf.AutoModelForMaskedLM) if mlm else ("t5", hf.AutoModelForSeq2SeqLM)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is not a model folder: it has no config.json")
    try:
        config = hf.AutoConfig.from_pretrained(folder, local_files_only=True)
        if config.model_type != family:
            raise UserError(f"--objective {args.objective} needs a {family} model; {folder} is a {config.model_type}")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob") if mlm else ("dropout_rate",):
            setattr(config, name, args.dropout)
        tokenizer = hf.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model, info = auto.from_pretrained(
            folder, config=config, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"cannot load {folder}: {str(error).splitlines()[0]}") from error
    lacking = [name for name in info["missing_keys"] if not name.startswith("cls.predictions.")]
    needed = ["[CLS]", "[SEP]", "[MASK]", "[PAD]"] if mlm else ["</s>", "<pad>", *SENTINELS]
    lacking += [token for token in needed if token not in tokenizer.get_vocab()]
    if lacking:
        raise UserError(f"{folder} lacks {', '.join(lacking[:3])}: it cannot be trained with {args.objective}")
    if mlm and args.block > config.max_position_embeddings:
        raise UserError(f"--block {args.block}: {folder} has {config.max_position_embeddings} positions only")
    return model, tokenizer, "cls.predictions.transform.dense.weight" in info["missing_keys"]


@torch.no_grad()
def start_head(model: Any, ids: np.ndarray, identity: bool) -> None:
    """A new BERT head guesses by frequency at first. On a trained encoder its transform passes vectors on as they
    are, since they lie near the word embeddings already, with which they are compared."""
    counts = np.bincount(ids, minlength=model.config.vocab_size) + 1
    model.cls.predictions.bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))
    if identity:
        torch.nn.init.eye_(model.cls.predictions.transform.dense.weight)
        torch.nn.init.zeros_(model.cls.predictions.transform.dense.bias)


def scores(model: Any, batch: Batch) -> torch.Tensor:
    """Logits [M, V] at the chosen places. BERT's head sees only these, which saves most of its work."""
    inputs = {name: values for name, values in batch.items() if name not in ("chosen", "targets")}
    if "decoder_input_ids" in batch:
        logits: torch.Tensor = model(**inputs, use_cache=False).logits.flatten(0, 1)[batch["chosen"]]
    else:
        logits = model.cls(model.bert(**inputs).last_hidden_state.flatten(0, 1)[batch["chosen"]])
    return logits


# ------------------------------------------------------------------------------------------------------ checkpoints


@dataclass
class Position:
    """How far a run is."""

    step: int = 0
    seconds: float = 0.0
    tokens: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def save_model(model: Any, tokenizer: Any, folder: Path, store: str) -> None:
    """A model folder. float16 halves it on disk only: its config asks for float32 (T5 overflows in half)."""
    model = copy.deepcopy(model).half() if store == "float16" else model
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text()) | {"dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def save_checkpoint(out: Path, model: Any, tokenizer: Any, state: dict[str, Any]) -> None:
    """OUT/checkpoint-STEP: a model folder with the state of the run. Written under another name and then renamed,
    with the one before it removed last, so that a crash at any moment leaves one that is whole."""
    draft = out / ".draft"
    shutil.rmtree(draft, ignore_errors=True)
    save_model(model, tokenizer, draft, "float32")
    torch.save(state | {"random": [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]}, draft / "state.pt")
    older = list(out.glob("checkpoint-*"))
    draft.rename(out / f"checkpoint-{state['position']['step']}")
    for folder in older:
        shutil.rmtree(folder)


def find_checkpoint(out: Path) -> Path | None:
    """The newest checkpoint in OUT, if there is any."""
    return max(out.glob("checkpoint-*"), key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)


def load_state(folder: Path, settings: Settings) -> dict[str, Any]:
    """The state of a run, if this one goes on under the same settings."""
    state: dict[str, Any] = torch.load(folder / "state.pt", weights_only=True, map_location="cpu")
    for name, value in settings.items():
        if (before := state["settings"].get(name)) != value:
            raise UserError(f"--resume: {name.replace('_', '-')} was {before} before and is {value} now")
    return state


# ------------------------------------------------------------------------------------------------------ training


def use_bf16(precision: str, device: str) -> bool:
    """Whether the forward pass runs in bfloat16: on `auto` only where the hardware multiplies in it."""
    if precision == "auto" and device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    features: dict[str, Any] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # newer than the oldest torch that will do
    return precision == "bf16" or (precision == "auto" and bool(features.get("amx_bf16")))


def make_optimizer(model: Any, args: argparse.Namespace) -> torch.optim.Optimizer:
    """AdamW, with weight decay on matrices only: a norm or a bias that shrinks helps nobody.

    T5's embeddings start 16 times as large as its matrices (for a width of 256) and would hardly move at their rate;
    Adafactor, with which T5 was trained, goes by a weight's size.
    """
    embeddings = model.shared.weight if args.objective == "spans" else None
    weights = [w for w in model.parameters() if w is not embeddings]
    groups: list[dict[str, Any]] = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": 0.01},
        {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
    ]
    if embeddings is not None:
        groups.append({"params": [embeddings], "weight_decay": 0.0, "faster": 10.0})
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6, fused=True)


def learning_rate(done: float, args: argparse.Namespace) -> float:
    """Up to --lr over the first --warmup of the run, then down to 0; `done` goes from 0 to 1."""
    rising = done / args.warmup if args.warmup else 1.0
    return float(args.lr * min(rising, (1 - done) / (1 - args.warmup)))


def loss_and_scores(
    compute: Callable[[Any, Batch], torch.Tensor], model: Any, batch: Batch, args: argparse.Namespace
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropy [] and logits [M, V], in float32."""
    with torch.autocast(args.device, torch.bfloat16, enabled=args.bf16):
        logits = compute(model, batch).float()
    return F.cross_entropy(logits, batch["targets"]), logits


@torch.no_grad()
def evaluate(model: Any, make: Maker, heldout: np.ndarray, args: argparse.Namespace) -> dict[str, float]:
    """Loss, and accuracy on words (no sentinels), on the held-out blocks, corrupted in the same way every time."""
    model.eval()
    special = torch.tensor(make.tokenizer.all_special_ids, device=args.device)
    loss = total = right = words = 0.0
    for number, i in enumerate(range(0, len(heldout), args.batch)):
        batch = make(heldout[i : i + args.batch], np.random.default_rng([args.seed, 4, number]))
        batch = {name: values.to(args.device) for name, values in batch.items()}
        mean, logits = loss_and_scores(scores, model, batch, args)
        loss += mean.item() * len(logits)
        total += len(logits)
        ordinary = torch.isin(batch["targets"], special, invert=True)
        right += (ordinary & (logits.argmax(-1) == batch["targets"])).sum().item()
        words += ordinary.sum().item()
    model.train()
    if not math.isfinite(loss):
        raise UserError("the loss is no longer a number: take a lower --lr")
    return {"heldout_loss": loss / total, "heldout_accuracy": right / max(1, words)}


def train(
    model: Any, make: Maker, args: argparse.Namespace, settings: Settings, state: dict[str, Any] | None
) -> Position:
    """The loop. It ends after --steps or --minutes, whichever is first, and leaves the weights in `model`."""
    rows, heldout = make.corpus.split()
    schedule = Schedule(make, rows, args)
    steps = args.steps or (None if args.minutes else schedule.steps)
    optimizer = make_optimizer(model, args)
    at = Position(**state["position"]) if state else Position()
    if state:
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"][0])
        torch.cuda.set_rng_state_all(state["random"][1:])
    loader = torch.utils.data.DataLoader(
        schedule, batch_size=None, sampler=range(at.step, steps) if steps else itertools.count(at.step),
        num_workers=args.workers, pin_memory=args.device == "cuda", generator=torch.Generator(),
    )  # fmt: skip
    compute = torch.compile(scores, dynamic=True) if args.compile else scores
    columns = ("{task.percentage:3.0f} %", BarColumn(), TimeElapsedColumn(), "<", TimeRemainingColumn())
    bar = Progress(*columns, "{task.description}")
    task = bar.add_task("", total=1.0)
    losses: list[torch.Tensor] = []

    def report() -> None:
        line = {"step": at.step, "minutes": at.seconds / 60, "tokens": at.tokens}
        line |= evaluate(model, make, heldout, args)
        line |= {"train_loss": torch.stack(losses).mean().item()} if losses else {}
        at.history.append({name: round(value, 4) for name, value in line.items()})
        text = "  ".join(f"{name} {value}" for name, value in at.history[-1].items())
        bar.console.print(text, highlight=False, soft_wrap=True)
        losses.clear()

    with bar:
        if not state:
            report()
        model.train()
        began, seconds_before, tokens_before = time.monotonic() - at.seconds, at.seconds, at.tokens
        for batch in loader:
            by_steps = (at.step + 1) / (steps + 1) if steps else 0.0
            done = max(by_steps, at.seconds / 60 / args.minutes if args.minutes else 0.0)
            if done >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(done, args) * group.get("faster", 1.0)
            at.tokens += int(batch["attention_mask"].sum())
            batch = {name: values.to(args.device, non_blocking=True) for name, values in batch.items()}
            loss, _ = loss_and_scores(compute, model, batch, args)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.detach())
            at.step, at.seconds = at.step + 1, time.monotonic() - began
            if at.step % 10 == 0:  # not at each step, as reading the loss makes a GPU wait
                speed = (at.tokens - tokens_before) / (at.seconds - seconds_before)
                text = f"step {at.step}, loss {loss.item():.3f}, {speed:,.0f} tokens/s"
                bar.update(task, completed=done, description=text)
            if at.step % args.eval_every == 0:
                report()
            if at.step % args.save_every == 0:
                now = {"position": asdict(at), "settings": settings, "optimizer": optimizer.state_dict()}
                save_checkpoint(args.out, model, make.tokenizer, now)
        if at.history[-1]["step"] != at.step:
            report()
    return at


# ------------------------------------------------------------------------------------------------------ command line


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def repeat(text: str) -> dict[str, float]:
    """`a=2,b=0.5` as a dict."""
    found = {name.strip(): float(number) for name, number in (item.split("=") for item in text.split(","))}
    if not all(0 <= number < math.inf for number in found.values()):
        raise ValueError
    return found


def split(text: str) -> list[float]:
    """`80/10/10` as shares of 1."""
    parts = [float(part) / 100 for part in text.split("/")]
    if len(parts) != 3 or min(parts) < 0 or abs(sum(parts) - 1) > 1e-6:
        raise ValueError
    return parts


def number(low: float, high: float = math.inf, kind: type = float) -> Callable[[str], float]:
    """A reader of numbers from `low` to `high`."""

    def read(text: str) -> float:
        value: float = kind(text)
        if not low <= value <= high:
            raise ValueError
        return value

    read.__name__ = f"{kind.__name__} from {low:g}" + ("" if high == math.inf else f" to {high:g}")
    return read


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The settings, checked and complete."""
    count, share, clock = number(1, kind=int), number(0, 1), number(0.01)
    parser = Parser(prog="pretrain", description="Pretrain a small BERT (mlm) or T5 (spans) on a folder of text.")
    add = parser.add_argument
    add("corpus", type=Path, help="folder of *.txt, *.txt.xz, *.txt.gz with one sentence or paragraph a line")
    add("out", type=Path, help="model folder to write, with pretrain.json (settings, losses) beside the model")
    add("--objective", choices=SHAPES, default="mlm", help="fill masks (BERT) or spans (T5); default mlm")
    add("--init-from", type=Path, metavar="FOLDER", help="start from this model, or bare encoder, and its tokenizer")
    text = "go X times through NAME.txt in a pass, 0 and 0.5 included; more after commas"
    add("--repeat", type=repeat, action="append", default=[], metavar="NAME=X", help=text)
    add("--resume", action="store_true", help="go on from the newest checkpoint in OUT, if there is one")

    add = parser.add_argument_group("shape (not with --init-from)").add_argument
    add("--layers", type=count, help="default 6; for T5 3 (of its encoder)")
    add("--decoder-layers", type=count, help="T5 only; default as --layers")
    add("--hidden", type=count, help="width; default 384, for T5 256")
    add("--heads", type=count, help="default 6, for T5 4")
    add("--intermediate", type=count, help="inner width; default 4 times --hidden, for T5 twice (it is gated)")
    add("--vocab-size", type=number(200, kind=int), help="default 10240, for T5 8192 with its 100 sentinels")
    add("--max-positions", type=count, help="longest input; default --block, as later positions learn nothing")
    add("--cased", action="store_true", default=None, help="keep capital letters")

    add = parser.add_argument_group("task").add_argument
    add("--block", type=number(16, kind=int), default=128, help="tokens in a block; default 128")
    add("--short-share", type=share, default=0.1, help="share of blocks cut shorter; default 0.1")
    add("--pair-share", type=share, default=0.3, help="mlm: share of blocks in two segments; default 0.3")
    add("--mask-rate", type=number(0.01, 0.9), help="share of tokens hidden; default 0.25, for spans 0.15")
    add("--mask-split", type=split, default="80/10/10", help="mlm: %% masked/random/kept; default 80/10/10")
    text = f"mlm: hide tokens but the {COMMONEST} commonest so many times as readily; default 1"
    add("--rare-weight", type=number(1), default=1.0, help=text)

    add = parser.add_argument_group("training").add_argument
    add("--steps", type=count, help="default: one pass over the corpus, unless --minutes is given")
    add("--minutes", type=clock, help="stop after that long; the learning rate then follows the clock")
    add("--batch", type=count, default=32, help="blocks; default 32")
    add("--lr", type=number(0), help="peak learning rate; default 1e-3, with --init-from 3e-4")
    add("--warmup", type=number(0, 0.99), default=0.05, help="share of the run; default 0.05")
    add("--dropout", type=share, default=0.0, help="default 0, as a short run sees little text twice")
    add("--seed", type=number(0, kind=int), default=0, help="default 0")
    add("--eval-every", type=count, default=500, help="steps; default 500")
    add("--save-every", type=count, default=500, help="steps; default 500")
    add("--store", choices=("float32", "float16"), default="float32", help="weights on disk; default float32")

    add = parser.add_argument_group("machine").add_argument
    add("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    add("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="auto: bf16 where hardware has it")
    add("--compile", action="store_true", help="torch.compile: a minute or two at first, then faster")
    add("--threads", type=count, help="CPU threads; default all")
    add("--workers", type=number(0, kind=int), default=0, help="processes that make batches; 4 help a GPU")

    args = parser.parse_args(argv)
    args.repeat = {name: x for given in args.repeat for name, x in given.items()}
    shape = ("layers", "decoder_layers", "hidden", "heads", "intermediate", "vocab_size", "max_positions", "cased")
    if args.init_from and (given := [name for name in shape if getattr(args, name) is not None]):
        raise UserError(f"--{given[0].replace('_', '-')} cannot be given with --init-from, which brings its own")
    defaults = SHAPES[args.objective] | {"max_positions": args.block, "cased": False}
    defaults |= {"lr": 3e-4} if args.init_from else {}
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    args.decoder_layers = args.decoder_layers or args.layers
    args.intermediate = args.intermediate or args.hidden * (4 if args.objective == "mlm" else 2)
    if args.hidden % args.heads:
        raise UserError(f"--hidden {args.hidden} cannot be split into --heads {args.heads}")
    if args.objective == "mlm" and args.block > args.max_positions and not args.init_from:
        raise UserError(f"--block {args.block} is more than --max-positions {args.max_positions}")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no GPU here")
    args.bf16 = use_bf16(args.precision, args.device)
    return args


def run(args: argparse.Namespace) -> None:
    """From the corpus folder to the model folder."""
    hf.logging.set_verbosity_error()
    hf.logging.disable_progress_bar()
    if args.threads:
        torch.set_num_threads(args.threads)
        os.environ["RAYON_NUM_THREADS"] = str(args.threads)  # the tokenizers' own pool
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {args.out}: {error.strerror}") from error
    if (args.out / "model.safetensors").exists():
        raise UserError(f"{args.out} holds a finished model: take another folder, or start from it by --init-from")
    checkpoint = find_checkpoint(args.out)
    if checkpoint and not args.resume:
        raise UserError(f"{checkpoint} is there: go on from it with --resume, or remove it")
    torch.manual_seed(args.seed)
    lines = read_corpus(args.corpus, args.repeat)
    print(f"{len(lines)} files, {sum(map(len, lines.values())):,} lines, now made into tokens", flush=True)
    source = checkpoint or args.init_from
    if source:
        model, tokenizer, new_head = load_model(source, args)
    else:
        tokenizer = train_tokenizer(list(itertools.chain(*lines.values())), args)
        model, new_head = new_model(tokenizer, args), args.objective == "mlm"
    corpus = encode(lines, [args.repeat.get(name, 1.0) for name in lines], tokenizer, args)
    if new_head and not checkpoint:
        start_head(model, corpus.ids, identity=args.init_from is not None)
    settings = {name: value for name, value in vars(args).items() if name not in FREE}
    settings["text"] = zlib.crc32(corpus.ids.tobytes())
    state = load_state(checkpoint, settings) if checkpoint else None
    share = np.bincount(corpus.ids)[np.unique(corpus.ids)] / len(corpus.ids)
    size = sum(weight.numel() for weight in model.parameters())
    print(f"{len(corpus.ids):,} tokens in {len(corpus.blocks):,} blocks, {size:,} weights, "
          f"{'bf16' if args.bf16 else 'fp32'} on {args.device}; guessing by frequency would have a loss of "
          f"{-(share * np.log(share)).sum():.3f}", flush=True)  # fmt: skip
    make = (MaskedBatches if args.objective == "mlm" else SpanBatches)(corpus, tokenizer, args)
    at = train(model.to(args.device), make, args, settings, state)
    draft = args.out / ".draft"
    shutil.rmtree(draft, ignore_errors=True)
    save_model(model.cpu(), tokenizer, draft, args.store)
    record = {"settings": settings, "files": list(lines), "weights": size, **asdict(at)}
    (draft / "pretrain.json").write_text(json.dumps(record, indent=1) + "\n")
    for path in sorted(draft.iterdir(), key=lambda path: path.name == "model.safetensors"):  # which says: finished
        path.replace(args.out / path.name)
    draft.rmdir()
    for old in args.out.glob("checkpoint-*"):
        shutil.rmtree(old)
    print(f"{args.out}: {at.step} steps, {at.tokens:,} tokens, {at.seconds / 60:.1f} minutes")


def main(argv: Sequence[str] | None = None) -> int:
    """0 when done, 2 for what the user can put right, 130 when stopped from the keyboard."""
    try:
        run(parse(argv))
    except UserError as error:
        print(f"pretrain: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("pretrain: stopped; the same command with --resume goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
