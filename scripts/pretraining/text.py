"""From a folder of text to lines and a tokenizer."""

from __future__ import annotations

import argparse
import gzip
import lzma
import math
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

hf: Any = transformers  # its types hinder more than they help here

SENTINELS = [f"<extra_id_{i}>" for i in range(100)]
TOKENIZER_LINES = 300_000  # more text changes the tokenizer little


class UserError(Exception):
    """Something the user can put right; shown as one line."""


def read_corpus(folder: Path, repeats: dict[str, float], blank: bool = False) -> dict[str, list[str]]:
    """The lines of each *.txt, *.txt.xz and *.txt.gz by its name without the ending; none for NAME=0.

    Args:
        blank: whether blank lines are among them, which divide documents.
    """
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
                lines[name] = [line.strip() for line in file if blank or line.strip()]
        except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError, zlib.error) as error:
            raise UserError(f"cannot read {files[name]}: {error}") from error
    if not any(map(any, lines.values())):
        raise UserError(f"no text in {folder}: it needs *.txt, *.txt.xz or *.txt.gz with one text a line")
    return lines


def train_tokenizer(lines: list[str], args: argparse.Namespace) -> Any:
    """A tokenizer for the objective, from lines spread evenly over the corpus."""
    sample = lines[:: math.ceil(len(lines) / TOKENIZER_LINES)]
    build = sentence_pieces if args.objective == "spans" else wordpiece
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
