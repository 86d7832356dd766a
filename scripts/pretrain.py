#!/usr/bin/env python
"""Pretrain a small language model on a folder of text: the recipe for the models that `pet` ships.

    corpus folder ─► lines ─► tokenizer ─► token ids ─► blocks ─► batches ─► model ─► model folder

The modules of `pretraining` go along it: text, batches, models, loop. `--objective mlm` makes a BERT that fills [MASK]
(Devlin et al. 2019), `mlm+nsp` one that also tells whether a sentence follows another, `spans` a T5 v1.1 that fills
<extra_id_0> (Raffel et al. 2020). Plain `transformers` reads the result; nothing needs a network. Every batch is a
function of the seed and the step, so `--resume` needs no more than the step, the weights, the optimizer and the random
state to go on as if nothing had happened.

    python scripts/pretrain.py corpus/ models/small --minutes 60
    python scripts/pretrain.py corpus/ models/better --init-from models/small --minutes 60
    python scripts/pretrain.py corpus/ models/pairs --objective mlm+nsp --relations 3 --init-from models/small
    python scripts/pretrain.py corpus/ models/small-t5 --objective spans --minutes 60 --store float16

`--schedule wsd` goes on at a constant rate until it is stopped; a short run from any of its checkpoints then brings the
rate down, which is when the loss falls (Hu et al. 2024, MiniCPM):

    python scripts/pretrain.py corpus/ models/long --schedule wsd --keep 3
    python scripts/pretrain.py corpus/ models/ready --schedule wsd --decay-from models/long/checkpoint-9000
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
import transformers

from pretraining.batches import COMMONEST, MaskedBatches, SpanBatches, encode
from pretraining.comparing import start_comparing
from pretraining.loop import check_settings, checkpoints, read_state, save_model, train, use_bf16
from pretraining.models import load_model, new_model, start_head, start_spans
from pretraining.overlap import leave_out
from pretraining.pairs import PairBatches, encode_pairs, even_out, recalls, told, whole_pairs
from pretraining.text import UserError, read_corpus, train_tokenizer

SHAPES: dict[str, dict[str, Any]] = {  # what an option is when it is not given
    "mlm": {"layers": 6, "hidden": 384, "heads": 6, "vocab_size": 10_240, "mask_rate": 0.25, "lr": 1e-3},
    "mlm+nsp": {
        "layers": 6,
        "hidden": 384,
        "heads": 6,
        "vocab_size": 10_240,
        "mask_rate": 0.15,
        "lr": 1e-3,
        "relations": 2,
        "relation_weight": 1.0,
    },
    "spans": {"layers": 3, "hidden": 256, "heads": 4, "vocab_size": 8_192, "mask_rate": 0.15, "lr": 5e-4},
}
# The heads of a new model that begin in a way of their own.
NEW: dict[str, set[str]] = {"mlm": {"mlm"}, "mlm+nsp": {"mlm", "pairs"}, "spans": set()}
MAKERS: dict[str, Any] = {"mlm": MaskedBatches, "mlm+nsp": PairBatches, "spans": SpanBatches}
# What may differ between a run and its --resume, as it decides no batch, no weight and no learning rate.
FREE = {"corpus", "avoid", "out", "resume", "init_from", "decay_from", "embeddings", "save_every", "keep", "eval_every",
        "workers", "threads", "store"}  # fmt: skip


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
    parser = Parser(prog="pretrain", description="Pretrain a small BERT (mlm, mlm+nsp) or T5 (spans) on a folder.")
    add = parser.add_argument
    add("corpus", type=Path, help="folder of *.txt, *.txt.xz, *.txt.gz with one sentence or paragraph a line")
    add("out", type=Path, help="model folder to write, with pretrain.json (settings, losses) beside the model")
    add(
        "--objective",
        choices=SHAPES,
        default="mlm",
        help="fill masks (BERT), tell pairs too, or fill spans (T5); default mlm",
    )
    add("--init-from", type=Path, metavar="FOLDER", help="start from this model, or bare encoder, and its tokenizer")
    text = "go X times through NAME.txt in a pass, 0 and 0.5 included; more after commas"
    add("--repeat", type=repeat, action="append", default=[], metavar="NAME=X", help=text)
    text = "leave out lines that share a sentence with this file (*.jsonl, or lines); may be given several times"
    add("--avoid", type=Path, action="append", default=[], metavar="FILE", help=text)
    add("--resume", action="store_true", help="go on from the newest checkpoint in OUT, if there is one")

    add = parser.add_argument_group("shape (not with --init-from)").add_argument
    add("--layers", type=count, help="default 6; for T5 3 (of its encoder)")
    add("--decoder-layers", type=count, help="T5 only; default as --layers")
    add("--hidden", type=count, help="width; default 384, for T5 256")
    add("--heads", type=count, help="default 6, for T5 4")
    add("--intermediate", type=count, help="inner width; default 4 times --hidden, for T5 twice (it is gated)")
    add("--vocab-size", type=number(200, kind=int), help="default 10240, for T5 8192 with its 100 sentinels")
    add("--max-positions", type=count, help="longest input; default --block, as later positions learn nothing")
    add("--embeddings", type=Path, metavar="FOLDER", help="T5 only: its words begin as near each other as in this BERT")
    add("--cased", action="store_true", default=None, help="keep capital letters")

    add = parser.add_argument_group("task").add_argument
    add("--block", type=number(16, kind=int), default=128, help="tokens in a block; default 128")
    add("--short-share", type=share, default=0.1, help="share of blocks cut shorter; default 0.1")
    add("--pair-share", type=share, default=0.3, help="mlm: share of blocks in two segments; default 0.3")
    text = "mlm+nsp: 2, isNext and notNext, or 3, the same document too; default 2"
    add("--relations", type=int, choices=(2, 3), help=text)
    text = "mlm+nsp: of the pairs' loss beside that of masked words; BERT's is 1, more helps a short run; default 1"
    add("--relation-weight", type=number(0), help=text)
    add("--mask-rate", type=number(0.01, 0.9), help="share of tokens hidden; default 0.25, else 0.15")
    text = "mlm, mlm+nsp: single tokens, whole words, one to three of them, or the middle of a window; default tokens"
    add("--mask", choices=("tokens", "words", "ngrams", "window"), default="tokens", help=text)
    add("--window", type=number(3, kind=int), help="tokens in a window, an odd number; default 11")
    text = "mlm: words, with commas between, that are chosen four times as readily, such as label words"
    add("--favour", type=lambda words: words.split(","), default=[], metavar="WORDS", help=text)
    add("--span", type=number(1), default=3.0, help="spans: tokens in a hidden span, in the mean; default 3")
    add("--mask-split", type=split, default="80/10/10", help="mlm: %% masked/random/kept; default 80/10/10")
    text = f"mlm: hide tokens but the {COMMONEST} commonest so many times as readily; default 1"
    add("--rare-weight", type=number(1), default=1.0, help=text)

    add = parser.add_argument_group("soft targets (mlm)").add_argument
    text = "beside the masks, prompts whose [MASK] a larger model has told: what scripts/soft_targets.py wrote"
    add("--soft-targets", type=Path, metavar="FOLDER", help=text)
    add("--soft-batch", type=count, default=32, help="prompts in a step; default 32")
    add("--soft-weight", type=number(0), default=1.0, help="of their loss beside that of the masks; default 1")
    add("--soft-sharpness", type=number(0.1), default=2.0, help="the larger model's scores times this; default 2")
    text = "of how words of two poles stand to one another, beside --soft-weight's loss; default 2"
    add("--lean-weight", type=number(0), default=2.0, help=text)
    text = "how far the words of two poles are to part: by this many nats at a standard deviation; default 1.5"
    add("--lean-sharpness", type=number(0.1), default=1.5, help=text)

    add = parser.add_argument_group("training").add_argument
    add("--steps", type=count, help="default: one pass over the corpus, unless --minutes is given")
    add("--minutes", type=clock, help="stop after that long; the learning rate then follows the clock")
    text = "linear: down to 0 from the warm-up on; wsd: constant, without an end unless --steps is given, then down"
    add("--schedule", choices=("linear", "wsd"), default="linear", help=f"{text}; default linear")
    add("--decay-steps", type=count, metavar="N", help="wsd: the last steps, in which the rate falls; default 500")
    text = "wsd: a run of --decay-steps from this checkpoint of another run, which had the same settings"
    add("--decay-from", type=Path, metavar="CHECKPOINT", help=text)
    add("--batch", type=count, default=32, help="blocks; default 32")
    add("--lr", type=number(0), help="peak learning rate; default 1e-3, spans 5e-4, with --init-from 3e-4")
    add("--warmup", type=number(0, 0.99), help="linear: share of the run; default 0.05")
    add("--warmup-steps", type=number(0, kind=int), help="wsd: default 200")
    add("--dropout", type=share, default=0.0, help="default 0, as a short run sees little text twice")
    add("--seed", type=number(0, kind=int), default=0, help="default 0")
    add("--eval-every", type=count, default=500, help="steps; default 500")
    add("--save-every", type=count, default=500, help="steps; default 500")
    add("--keep", type=count, default=1, metavar="N", help="the newest checkpoints that stay during a run; default 1")
    add("--store", choices=("float32", "float16"), default="float32", help="weights on disk; default float32")

    add = parser.add_argument_group("machine").add_argument
    add("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    add("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="auto: bf16 where hardware has it")
    add("--compile", action="store_true", help="torch.compile: a minute or two at first, then faster")
    add("--threads", type=count, help="CPU threads; default all")
    add("--workers", type=number(0, kind=int), default=0, help="processes that make batches; 4 help a GPU")

    args = parser.parse_args(argv)
    args.repeat = {name: x for given in args.repeat for name, x in given.items()}
    shape = ("layers", "decoder_layers", "hidden", "heads", "intermediate", "vocab_size", "max_positions", "cased",
             "embeddings")  # fmt: skip
    if args.init_from and (given := [name for name in shape if getattr(args, name) is not None]):
        raise UserError(f"--{given[0].replace('_', '-')} cannot be given with --init-from, which brings its own")
    if args.embeddings and args.objective != "spans":
        raise UserError("--embeddings is for --objective spans; to go on with a BERT take --init-from")
    if args.relations and args.objective != "mlm+nsp":
        raise UserError(f"--relations {args.relations} is for --objective mlm+nsp, not {args.objective}")
    defaults = SHAPES[args.objective] | {"max_positions": args.block, "cased": False}
    defaults |= {"lr": 3e-4} if args.init_from else {}
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    args.decoder_layers = args.decoder_layers or args.layers
    args.intermediate = args.intermediate or args.hidden * (2 if args.objective == "spans" else 4)
    check_schedule(args)
    if args.soft_targets and args.objective != "mlm":
        raise UserError("--soft-targets is for --objective mlm")
    if args.mask != "tokens" and args.objective == "spans":
        raise UserError(f"--mask {args.mask} does not go with --objective {args.objective}")
    if args.window is not None and args.mask != "window":
        raise UserError("--window does nothing without --mask window")
    args.window = args.window or 11
    if args.window % 2 == 0:
        raise UserError(f"--window {args.window} has no middle: take an odd number")
    if args.hidden % args.heads:
        raise UserError(f"--hidden {args.hidden} cannot be split into --heads {args.heads}")
    if args.objective != "spans" and args.block > args.max_positions and not args.init_from:
        raise UserError(f"--block {args.block} is more than --max-positions {args.max_positions}")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no GPU here")
    args.bf16 = use_bf16(args.precision, args.device)
    return args


def check_schedule(args: argparse.Namespace) -> None:
    """Completes the options of the learning rate; raises `UserError` for those of the other schedule."""
    wsd = args.schedule == "wsd"
    foreign = ("warmup", "minutes") if wsd else ("warmup_steps", "decay_steps", "decay_from")
    if given := [name for name in foreign if getattr(args, name) is not None]:
        instead = "which counts steps: --steps, --warmup-steps, --decay-steps" if wsd else "only with --schedule wsd"
        raise UserError(f"--{given[0].replace('_', '-')} does not go with --schedule {args.schedule}, {instead}")
    if args.decay_from and (args.steps or args.init_from):
        raise UserError("--decay-from brings the weights and runs for --decay-steps: leave --steps and --init-from out")
    defaults = {"warmup_steps": 200, "decay_steps": 500} if wsd else {"warmup": 0.05}
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)


def run(args: argparse.Namespace) -> None:
    """From the corpus folder to the model folder."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if args.threads:
        torch.set_num_threads(args.threads)
        os.environ["RAYON_NUM_THREADS"] = str(args.threads)  # the tokenizers' own pool
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {args.out}: {error.strerror}") from error
    if (args.out / "model.safetensors").exists():
        raise UserError(f"{args.out} holds a finished model: take another folder, or start from it by --init-from")
    checkpoint = next(reversed(checkpoints(args.out)), None)
    if checkpoint and not args.resume:
        raise UserError(f"{checkpoint} is there: go on from it with --resume, or remove it")
    torch.manual_seed(args.seed)
    pairs = args.objective == "mlm+nsp"
    lines, left_out = leave_out(read_corpus(args.corpus, args.repeat, blank=pairs), args.avoid)
    for name, number in left_out.items():
        what = "lines of documents" if pairs else "lines"
        print(f"{name}: {number:,} {what} that share a sentence with a file of --avoid are left out", flush=True)
    print(f"{len(lines)} files, {sum(map(len, lines.values())):,} lines, now made into tokens", flush=True)
    begin = checkpoint or args.decay_from  # where the optimizer and the random state come from, too
    source = begin or args.init_from
    if source:
        model, tokenizer, new_heads = load_model(source, args)
    else:
        tokenizer = train_tokenizer(list(itertools.chain(*lines.values())), args)
        model, new_heads = new_model(tokenizer, args), NEW[args.objective]
        if args.objective == "spans":
            start_spans(model, tokenizer, args)
    corpus = (encode_pairs if pairs else encode)(lines, [args.repeat.get(name, 1.0) for name in lines], tokenizer, args)
    make = MAKERS[args.objective](corpus, tokenizer, args)
    rows, _ = corpus.split()

    def drawn(number: int) -> np.ndarray:
        """Blocks to train on, [number, B]."""
        return np.random.default_rng([args.seed, 7]).choice(rows, (number, args.batch))

    if "mlm" in new_heads and not begin:
        start_head(model, corpus.ids, identity=args.init_from is not None)
    if "pairs" in new_heads and not begin:
        start_comparing(model, tokenizer, corpus.ids, whole_pairs(make, drawn(16)))
    settings = {name: value for name, value in vars(args).items() if name not in FREE}
    settings["soft_targets"] = str(args.soft_targets) if args.soft_targets else None
    settings["text"] = zlib.crc32(corpus.ids.tobytes())
    state = read_state(begin) if begin else None
    if state and args.decay_from:
        args.steps = state["settings"]["steps"] if checkpoint else state["position"]["step"] + args.decay_steps
        settings["steps"] = args.steps
    if state:
        check_settings(state, settings)
    share = np.bincount(corpus.ids)[np.unique(corpus.ids)] / len(corpus.ids)
    size = sum(weight.numel() for weight in model.parameters())
    print(f"{len(corpus.ids):,} tokens in {len(corpus.blocks):,} blocks, {size:,} weights, "
          f"{'bf16' if args.bf16 else 'fp32'} on {args.device}; guessing by frequency would have a loss of "
          f"{-(share * np.log(share)).sum():.3f}", flush=True)  # fmt: skip
    at = train(model.to(args.device), make, args, settings, state)
    found = {}
    if pairs:
        rng = np.random.default_rng([args.seed, 8])
        to_choose, to_measure = (in_tables(rng.permutation(held), args.batch) for held in corpus.held_out())
        even_out(model, whole_pairs(make, to_choose or to_measure))
        scores, relations = told(model, whole_pairs(make, to_measure or to_choose))
        found = recalls(scores.argmax(-1).numpy(), relations.numpy(), args.relations)
        print("  ".join(f"{name} {value:.3f}" for name, value in found.items()), flush=True)
    draft = args.out / ".draft"
    shutil.rmtree(draft, ignore_errors=True)
    save_model(model.cpu(), tokenizer, draft, args.store)
    record = {"settings": settings, "files": list(lines), "left_out": left_out, "weights": size, **asdict(at)} | found
    (draft / "pretrain.json").write_text(json.dumps(record, indent=1) + "\n")
    for path in sorted(draft.iterdir(), key=lambda path: path.name == "model.safetensors"):  # which says: finished
        path.replace(args.out / path.name)
    draft.rmdir()
    for old in checkpoints(args.out):
        shutil.rmtree(old)
    print(f"{args.out}: {at.step} steps, {at.tokens:,} tokens, {at.seconds / 60:.1f} minutes")


def in_tables(blocks: np.ndarray, size: int, most: int = 128) -> list[np.ndarray]:
    """Blocks [N] in tables of about `size`, at most so many."""
    return np.array_split(blocks[: size * most], -(-min(len(blocks), size * most) // size)) if len(blocks) else []


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
