#!/usr/bin/env python
"""What a larger model would say at the end of prompts: soft targets at [MASK] for `pretrain.py --soft-targets`.

    corpus folder ─► sentences ─► the larger model's next word after each of several prompts ─► targets folder

A decoder-only model reads a sentence and goes on after " It was", " In short:" and the like. The log-probability of
each word of the smaller model's vocabulary, less its mean over all sentences or those of its file (so that no word is
likelier by itself, as in Zhao et al. 2021), and averaged over the prompts, says what the sentence makes of the word:
the distillation of Hinton et al. (2015), of a prompt's mask alone. Where the prompts' file names `poles`, words for
one side and for the other, it also says to which side a sentence leans. A kind of prompt that is the student's `own` is
answered by the student as it is, so that it keeps these answers while it learns the others. No label is seen, and no
text of a data set: `--avoid` its test files.

    python scripts/soft_targets.py corpus/ targets/ --teacher smollm2/ --student models/small
    python scripts/pretrain.py corpus/ models/better --init-from models/small --soft-targets targets/

In shapes: N sentences, A prompts, W words that are one token for both models, K of them kept, L tokens, P words a pole.
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
from safetensors import SafetensorError
from safetensors.torch import save_file

from pretraining.loop import use_bf16
from pretraining.overlap import leave_out
from pretraining.text import UserError, read_corpus

PROMPTS = Path(__file__).parent / "pretraining" / "prompts.json"
SHORTEST, LONGEST = 4, 45  # words of a sentence that is taken
MOST_TOKENS = 60  # of a sentence, for the larger model
TOKENS_AT_ONCE = 2400
MASK = "[MASK]"  # of the student; a sentence that has it of its own would be a prompt of two
PREFERRED = 0.6  # of the sentences, where --prefer is given


def sentences(
    lines: list[str], number: int, rng: random.Random, end: str = "", prefer: set[str] | None = None
) -> list[str]:
    """So many sentences from anywhere in a file, each as a reader would write it.

    Args:
        end: how each of them ends, such as a question mark.
        prefer: words, of which PREFERRED of the sentences have one, as far as there are such.
    """
    wanted = {True: round(PREFERRED * number), False: number} if prefer else {False: number}
    found: dict[bool, list[str]] = {kind: [] for kind in wanted}
    for line in rng.sample(lines, len(lines)):
        parts = [part for part in re.split(r"(?<=[.!?])\s+", line) if SHORTEST <= len(part.split()) <= LONGEST]
        parts = [part for part in parts if part.endswith(end) and MASK not in part]
        for part in rng.sample(parts, min(len(parts), max(1, 2 * number // len(lines)))):
            text = re.sub(r" (?=[,.;:!?]|n't|'(?:s|re|ve|ll|d|m)\b)", "", part)
            text = text[0].upper() + text[1:]
            kind = bool(prefer) and not prefer.isdisjoint(re.findall(r"[a-z'-]+", text.lower()))
            found[kind].append(text if text[-1] in ".!?\"'" else text + ".")
        if all(len(found[kind]) >= most for kind, most in wanted.items()):
            break
    preferred = found.get(True, [])[: wanted.get(True, 0)]
    return preferred + found[False][: number - len(preferred)]


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

    def place(self, word: str) -> int:
        """Where a word stands among `words`. Raises `UserError` for one that is not one token for both."""
        if word not in self.words:
            raise UserError(f"poles: '{word}' is not one token for both models")
        return self.words.index(word)

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
    teacher: Teacher,
    texts: list[str],
    groups: list[str],
    prompts: list[str],
    keep: int,
    always: set[str],
    poles: Sequence[Sequence[str]] = (),
) -> dict[str, torch.Tensor]:
    """scores [N, K]: log-probabilities less their mean in a text's group, the mean over the prompts; words [K]: the
    student's ids. Kept are the words that are the likeliest in the mean, and those of `always`. Of two `poles` also
    sides [2, P]: the student's ids, and leans [N]: the mean log-probability of the first less that of the second, less
    its median in a text's group, with a standard deviation of 1 in each prompt and in the mean of the prompts."""
    places = torch.tensor([[teacher.place(word) for word in pole] for pole in poles])  # [2, P]
    means = torch.empty(len(texts), len(teacher.words), dtype=torch.float16)
    leans = torch.empty(len(texts), len(prompts))
    done = 0
    for numbers, scores in teacher.ask(texts, prompts):
        means[numbers] = scores.mean(1).half()
        if poles:
            first, second = (scores[..., side].mean(-1) for side in places)
            leans[numbers] = first - second
        done += len(numbers)
        print(f"\r{done:,} of {len(texts):,} sentences", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    likely = set(means.mean(0, dtype=torch.float32).topk(min(keep, len(teacher.words))).indices.tolist())
    kept = torch.tensor(sorted(likely | {i for i, word in enumerate(teacher.words) if word in always}))
    scores = means[:, kept].float()
    for group in sorted(set(groups)):
        own = torch.tensor([i for i, name in enumerate(groups) if name == group])
        scores[own] -= scores[own].mean(0)
        leans[own] -= leans[own].median(0).values
    found = {"scores": scores.half().contiguous(), "words": teacher.student_ids[kept]}
    if poles:
        leans = (leans / leans.std(0)).mean(1)
        found |= {"sides": teacher.student_ids[places], "leans": (leans / leans.std()).half()}
    return found


def own_answers(student: Path, texts: list[str], fill: str, keep: int) -> dict[str, torch.Tensor]:
    """scores [N, K]: the student's log-probabilities at [MASK] of a prompt, as it is; words [K]: the likeliest."""
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(student, local_files_only=True)
    model: Any = transformers.AutoModelForMaskedLM.from_pretrained(student, local_files_only=True).eval()
    most = min(2 * MOST_TOKENS, model.config.max_position_embeddings)
    parts, room = [], most - len(tokenizer(fill.replace("{text}", ""))["input_ids"])

    def cut(text: str) -> str:
        """What of a text has room in the prompt, whose mask may stand behind it."""
        ends = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return text if len(ends) <= room else text[: ends[room - 1][1]]

    for start in range(0, len(texts), 32):
        prompts = [fill.replace("{text}", cut(text)) for text in texts[start : start + 32]]
        batch = tokenizer(prompts, padding=True, return_tensors="pt")
        with torch.inference_mode():
            parts.append(model(**batch).logits[batch["input_ids"] == tokenizer.mask_token_id].log_softmax(-1))
    scores = torch.cat(parts)
    words = scores.mean(0).topk(min(keep, scores.shape[1])).indices.sort().values
    return {"scores": scores[:, words].half().contiguous(), "words": words}


def read_kinds(file: Path) -> dict[str, dict[str, Any]]:
    """The kinds of prompts. Raises `UserError` for one that lacks something."""
    try:
        kinds: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is not JSON: {error}") from error
    for name, kind in kinds.items():
        needed = ("files", "fill") if kind.get("own") else ("files", "fill", "ask")
        if lacking := [key for key in needed if not kind.get(key)]:
            raise UserError(f"{file}: {name}: nothing under '{lacking[0]}'")
        for fill in kind["fill"]:
            if fill.count(MASK) != 1 or fill.count("{text}") != 1:
                raise UserError(f"{file}: {name}: '{fill}' needs {{text}} and {MASK}, each once")
    return kinds


def main(argv: Sequence[str] | None = None) -> int:
    """0 when done, 2 for what the user can put right, 130 when stopped from the keyboard."""
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
    add(
        "--prefer",
        type=Path,
        metavar="FILE",
        help="the first of each line is a word; take sentences with one of them first",
    )
    add("--avoid", type=Path, action="append", default=[], metavar="FILE", help="as of pretrain.py")
    add("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    transformers.utils.logging.disable_progress_bar()
    try:
        kinds = read_kinds(args.prompts)
        corpus = read_corpus(args.corpus, {})
        if lacking := {name for kind in kinds.values() for name in kind["files"]} - corpus.keys():
            raise UserError(f"{args.prompts}: no file {min(lacking)!r} in {args.corpus}")
        args.out.mkdir(parents=True, exist_ok=True)
        teacher = Teacher(args.teacher, args.student, torch.bfloat16 if use_bf16("auto", "cpu") else torch.float32)
        lines = args.prefer.read_text(encoding="utf-8").lower().splitlines() if args.prefer else []
        prefer = {line.split()[0] for line in lines if line.strip()}
        rng = random.Random(0)
        for name, kind in kinds.items():
            like = {"end": kind.get("end", ""), "prefer": prefer if kind.get("poles") else None}
            drawn = {
                file: sentences(corpus[file], round(args.share * n), rng, **like) for file, n in kind["files"].items()
            }
            drawn, left_out = leave_out(drawn, args.avoid)
            texts = [text for some in drawn.values() for text in some]
            print(f"{name}: {len(texts):,} sentences, {sum(left_out.values())} left out", flush=True)
            if not texts:
                raise UserError(f"{args.prompts}: {name}: no sentence in {args.corpus} is such as it asks for")
            if kind.get("own"):
                found = own_answers(args.student, texts, kind["fill"][0], args.keep)
            else:
                groups = [file if kind.get("centre") == "file" else "" for file, some in drawn.items() for _ in some]
                poles = kind.get("poles", ())
                always = args.words.union(*map(set, poles))
                found = targets(teacher, texts, groups, kind["ask"], args.keep, always, poles)
            about = {key: kind[key] for key in ("fill", "ask", "own") if key in kind}
            about |= {"left_out": left_out, "texts": texts}
            finished, draft = args.out / f"{name}.safetensors", args.out / f".{name}.draft"
            finished.unlink(missing_ok=True)  # of an earlier command: its numbers belong to other texts
            (args.out / f"{name}.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
            save_file(found, draft)
            draft.replace(finished)
    except (UserError, OSError, ValueError, SafetensorError) as error:
        print(f"soft_targets: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("soft_targets: stopped; the kinds of prompts that were done are in the folder", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
