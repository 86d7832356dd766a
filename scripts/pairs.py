#!/usr/bin/env python
"""Write pairs of pieces of text in their relations, as a data set for `pet`: task=relations data.path=OUT.

    python scripts/pairs.py corpus/ pairs/
    pet train task=relations data.path=pairs +experiment=ppt          # a soft prompt pretrained on them (PPT)
    pet train task=relations data.path=pairs method=nsp model.name=models/pairs          # a model's recalls

They are drawn as `scripts/pretrain.py --objective mlm+nsp` draws them: train.jsonl of the documents that it trains on,
validation.jsonl and test.jsonl of those that it holds out (by the former it sets the relations' biases, on the latter
it measures their recalls), where --seed, --block and the corpus are the same.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import transformers

from pet_cli.base.files import atomic
from pretrain import Parser, number, repeat
from pretraining.pairs import RELATIONS, PairCorpus, encode_pairs
from pretraining.text import UserError, read_corpus


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The settings, checked."""
    count = number(1, kind=int)
    parser = Parser(prog="pairs", description="Write pairs of pieces of text in their relations as a data set.")
    add = parser.add_argument
    text = (
        "folder of *.txt, *.txt.xz, *.txt.gz; a document is a line of several sentences or a block between blank lines"
    )
    add("corpus", type=Path, help=text)
    add("out", type=Path, help="folder to write: train.jsonl, validation.jsonl, test.jsonl")
    add("--repeat", type=repeat, default={}, metavar="NAME=X", help="0 leaves NAME.txt out; more after commas")
    add(
        "--tokenizer",
        type=Path,
        metavar="FOLDER",
        help="of this model, which counts tokens; default the embedded one's",
    )
    add("--block", type=number(16, kind=int), default=96, help="tokens of a pair, at most; default 96")
    add("--train", type=count, default=20_000, help="pairs to train on; default 20000")
    add("--heldout", type=count, default=1_500, help="pairs in each of the other files; default 1500")
    add("--seed", type=number(0, kind=int), default=0, help="default 0")
    return parser.parse_args(argv, argparse.Namespace(relations=len(RELATIONS)))


def pairs(corpus: PairCorpus, blocks: np.ndarray, most: int, rng: np.random.Generator) -> list[dict[str, str]]:
    """At most so many pairs of some blocks, each relation as often as the others; none that had to be cut."""
    rows: list[dict[str, str]] = []
    for block in rng.permutation(blocks):
        if len(rows) == most:
            break
        relation = len(rows) % len(RELATIONS)
        first, second = corpus.first[block], rng.choice(corpus.candidates(int(block), relation))
        if corpus.whole[[first, second]].all():
            texts = {"first": corpus.said[first], "second": corpus.said[second]}
            rows.append({**texts, "label": RELATIONS[relation]})
    return rows


def run(args: argparse.Namespace) -> None:
    """From the corpus folder to the data set."""
    transformers.logging.set_verbosity_error()
    folder = args.tokenizer or Path(__file__).parent.parent / "pet_cli" / "embedded" / "model"
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        args.out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise UserError(str(error).splitlines()[0]) from error
    lines = read_corpus(args.corpus, args.repeat, blank=True)
    corpus = encode_pairs(lines, [1.0] * len(lines), tokenizer, args)
    rows, _ = corpus.split()
    rng = np.random.default_rng([args.seed, 5])
    to_choose, to_measure = map(rng.permutation, corpus.held_out())
    parts = {"train": (rows, args.train)}
    parts |= {"validation": (to_choose, args.heldout), "test": (to_measure, args.heldout)}
    for name, (blocks, most) in parts.items():
        found = pairs(corpus, blocks, most, rng)
        with atomic(args.out / f"{name}.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found), encoding="utf-8")
        print(f"{args.out / name}.jsonl: {len(found):,} pairs")


def main(argv: Sequence[str] | None = None) -> int:
    """0 when done, 2 for what the user can put right, 130 when stopped from the keyboard."""
    try:
        run(parse(argv))
    except UserError as error:
        print(f"pairs: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("pairs: stopped; what was done is in the folder", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
