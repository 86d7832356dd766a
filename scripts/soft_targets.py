#!/usr/bin/env python
"""What a larger model would say at the end of prompts: soft targets at [MASK] for `pretrain.py --soft-targets`.

    corpus folder ─► sentences ─► the larger model's next word after each of several prompts ─► targets folder

A decoder-only model reads a sentence and goes on after " It was", " In short:" and the like. The log-probability of
each word of the smaller model's vocabulary, less its mean over all sentences or those of its file (so that no word is
likelier by itself, as in Zhao et al. 2021), and averaged over the prompts, says what the sentence makes of the word:
the distillation of Hinton et al. (2015), of a prompt's mask alone. No label is seen, and no text of a data set:
`--avoid` its test files.

    python scripts/soft_targets.py corpus/ targets/ --teacher smollm2/ --student models/small
    python scripts/pretrain.py corpus/ models/better --init-from models/small --soft-targets targets/

In shapes: N sentences, A prompts, W words that are one token for both models, K of them kept, L tokens.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file

from pretraining.loop import use_bf16
from pretraining.overlap import leave_out
from pretraining.text import UserError, read_corpus

PROMPTS = Path(__file__).parent / "pretraining" / "prompts.json"
SHORTEST, LONGEST = 4, 45  # words of a sentence that is taken
MOST_TOKENS = 60  # of a sentence, for the larger model
TOKENS_AT_ONCE = 2400


def sentences(lines: list[str], number: int, rng: random.Random) -> list[str]:
    """So many sentences from anywhere in a file, each as a reader would write it."""
    found = []
    for line in rng.sample(lines, len(lines)):
        parts = [part for part in re.split(r"(?<=[.!?])\s+", line) if SHORTEST <= len(part.split()) <= LONGEST]
        for part in rng.sample(parts, min(len(parts), max(1, 2 * number // len(lines)))):
            text = re.sub(r" (?=[,.;:!?]|n't|'(?:s|re|ve|ll|d|m)\b)", "", part)
            text = text[0].upper() + text[1:]
            found.append(text if text[-1] in ".!?\"'" else text + ".")
        if len(found) >= number:
            break
    return found[:number]


class Teacher:
    """A decoder-only model, and the words that are one token for it and for the student."""

    def __init__(self, folder: Path, student: Path, dtype: torch.dtype):
        self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        loaded = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
        self.model: Any = loaded.eval()
        pieces: Any = transformers.AutoTokenizer.from_pretrained(student, local_files_only=True)
        known = {word: number for word, number in pieces.get_vocab().items() if word.isascii() and word.isalpha()}
        plain = {word: self.ids(" " + word) for word in sorted(known)}
        self.words = [word for word, ids in plain.items() if len(ids) == 1]
        self.student_ids = torch.tensor([known[word] for word in self.words])
        self.plain = torch.tensor([plain[word][0] for word in self.words])
        capital = [self.ids(" " + word.capitalize()) for word in self.words]
        self.capital = torch.tensor([ids[0] if len(ids) == 1 else -1 for ids in capital])

    def ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    @torch.inference_mode()
    def next_words(self, texts: list[str], prompts: list[str]) -> torch.Tensor:
        """Log-probabilities [N, A, W], a word with a capital letter counted in. A text is read once: its prompts
        stand side by side behind it, each of which sees the text and itself."""
        asked = [self.ids(prompt) for prompt in prompts]
        read = [self.ids(text)[:MOST_TOKENS] for text in texts]
        room, length = max(map(len, read)), max(map(len, read)) + sum(map(len, asked))
        ids = torch.zeros(len(texts), length, dtype=torch.long)
        places, sees = torch.zeros_like(ids), torch.zeros(len(texts), 1, length, length, dtype=torch.bool)
        ends = [room + sum(map(len, asked[: i + 1])) - 1 for i in range(len(asked))]
        for row, text in enumerate(read):
            ids[row, : len(text)] = torch.tensor(text)
            places[row, :room] = torch.arange(room)
            sees[row, 0, :room, :room] = torch.ones(room, room).tril().bool()
            for prompt, end in zip(asked, ends, strict=True):
                here = slice(end + 1 - len(prompt), end + 1)
                ids[row, here] = torch.tensor(prompt)
                places[row, here] = len(text) + torch.arange(len(prompt))
                sees[row, 0, here, : len(text)] = True
                sees[row, 0, here, here] = torch.ones(len(prompt), len(prompt)).tril().bool()
        mask = torch.zeros(sees.shape, dtype=self.model.dtype)
        mask.masked_fill_(~sees, torch.finfo(mask.dtype).min)
        states = self.model.base_model(input_ids=ids, attention_mask=mask, position_ids=places, use_cache=False)[0]
        scores = self.model.get_output_embeddings()(states[:, ends]).float().log_softmax(-1)
        capital = scores[..., self.capital.clamp(min=0)].where(self.capital >= 0, -torch.inf)
        return torch.logaddexp(scores[..., self.plain], capital)

    def ask(self, texts: list[str], prompts: list[str]) -> Iterator[tuple[list[int], torch.Tensor]]:
        """`next_words` of many texts: numbers of texts of like length, and theirs."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        behind = sum(len(self.ids(prompt)) for prompt in prompts)
        while order:
            longest = len(self.ids(texts[order[min(len(order), 64) - 1]])[:MOST_TOKENS])
            some = order[: max(1, min(64, TOKENS_AT_ONCE // (longest + behind)))]
            order = order[len(some) :]
            yield some, self.next_words([texts[i] for i in some], prompts)


def targets(
    teacher: Teacher, texts: list[str], groups: list[str], prompts: list[str], keep: int, always: set[str]
) -> dict[str, Any]:
    """scores [N, K]: log-probabilities less their mean in a text's group, the mean over the prompts; words [K]: the
    student's ids. Kept are the words that are the likeliest in the mean, and those of `always`."""
    answers = torch.empty(len(texts), len(prompts), len(teacher.words), dtype=torch.float16)
    done = 0
    for numbers, scores in teacher.ask(texts, prompts):
        answers[numbers] = scores.half()
        done += len(numbers)
        print(f"\r{done:,} of {len(texts):,} sentences", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    mean = sum(part.float().mean(0) for part in answers.unbind(1))  # [W]
    likely = set(mean.topk(min(keep, len(teacher.words))).indices.tolist())
    kept = torch.tensor(sorted(likely | {i for i, word in enumerate(teacher.words) if word in always}))
    scores = answers[:, :, kept].float().mean(1)
    for group in set(groups):
        own = torch.tensor([i for i, name in enumerate(groups) if name == group])
        scores[own] -= scores[own].mean(0)
    return {"scores": scores.half().contiguous(), "words": teacher.student_ids[kept]}


def main(argv: Sequence[str] | None = None) -> int:
    """0 when done, 2 for what the user can put right."""
    parser = argparse.ArgumentParser(prog="soft_targets", description=str(__doc__).partition("\n")[0])
    add = parser.add_argument
    add("corpus", type=Path, help="folder of text, as of pretrain.py")
    add("out", type=Path, help="folder to write: NAME.safetensors and NAME.json for each kind of prompt")
    add("--teacher", type=Path, required=True, metavar="FOLDER", help="a decoder-only model")
    add("--student", type=Path, required=True, metavar="FOLDER", help="the BERT that is to learn, for its vocabulary")
    add("--prompts", type=Path, default=PROMPTS, help="kinds of prompts as JSON; default pretraining/prompts.json")
    add("--share", type=float, default=1.0, help="of the numbers of sentences that the prompts' file says; default 1")
    add("--keep", type=int, default=300, metavar="K", help="the likeliest words; default 300")
    add("--words", type=lambda text: set(text.split(",")), default=set(), help="words to keep in any case")
    add("--avoid", type=Path, action="append", default=[], metavar="FILE", help="as of pretrain.py")
    add("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    transformers.utils.logging.disable_progress_bar()
    try:
        kinds = json.loads(args.prompts.read_text(encoding="utf-8"))
        corpus = read_corpus(args.corpus, {})
        if lacking := {name for kind in kinds.values() for name in kind["files"]} - corpus.keys():
            raise UserError(f"{args.prompts}: no file {min(lacking)!r} in {args.corpus}")
        args.out.mkdir(parents=True, exist_ok=True)
        teacher = Teacher(args.teacher, args.student, torch.bfloat16 if use_bf16("auto", "cpu") else torch.float32)
        rng = random.Random(0)
        for name, kind in kinds.items():
            drawn = {file: sentences(corpus[file], round(args.share * n), rng) for file, n in kind["files"].items()}
            drawn, left_out = leave_out(drawn, args.avoid)
            texts = [text for some in drawn.values() for text in some]
            print(f"{name}: {len(texts):,} sentences, {sum(left_out.values())} left out", flush=True)
            groups = [file if kind["centre"] == "file" else "" for file, some in drawn.items() for _ in some]
            found = targets(teacher, texts, groups, kind["ask"], args.keep, args.words)
            save_file(found, args.out / f"{name}.safetensors")
            about = {"fill": kind["fill"], "ask": kind["ask"], "left_out": left_out, "texts": texts}
            (args.out / f"{name}.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
    except (UserError, OSError, ValueError) as error:
        print(f"soft_targets: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
