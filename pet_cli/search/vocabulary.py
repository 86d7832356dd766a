"""Which words may stand for a label: those that are one token of the model where the template has its mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pet_cli.prompts.encoder import all_word_ids


@dataclass(frozen=True)
class Vocabulary:
    """Candidate words.

    Attributes:
        words: each once.
        ids: the one token of each.
        note: what of the whole was left out, in words; empty where nothing was.
    """

    words: tuple[str, ...]
    ids: tuple[int, ...]
    note: str = ""

    def __len__(self) -> int:
        return len(self.words)

    @property
    def places(self) -> dict[int, int]:
        """The place of each token."""
        return {token: place for place, token in enumerate(self.ids)}


def of_model(tokenizer: Any, space: bool, shortest: int = 2) -> Vocabulary:
    """The words among a tokenizer's tokens: letters alone, at least `shortest`, that begin a word and are all of it.

    A token is read as text and made tokens again where the mask stands; continuations of words, and in a byte-level
    vocabulary what has a space before it or lacks it, do not come back as they were.

    Args:
        space: whether a space goes before the mask.
    """
    special = set(tokenizer.all_special_ids)
    tokens = [token for token in range(len(tokenizer)) if token not in special]
    texts = [text.strip() for text in tokenizer.batch_decode([[token] for token in tokens])]
    words = [(token, text) for token, text in zip(tokens, texts, strict=True) if text.isalpha()]
    words = [(token, text) for token, text in words if len(text) >= shortest]
    ids = all_word_ids(tokenizer, [text for _, text in words], space)
    whole = [(token, text) for (token, text), own in zip(words, ids, strict=True) if own == [token]]
    note = f"{len(whole)} of the vocabulary's {len(tokenizer)} tokens are words that may stand for a label"
    return Vocabulary(tuple(text for _, text in whole), tuple(token for token, _ in whole), note)


def of_words(tokenizer: Any, space: bool, words: Sequence[str]) -> Vocabulary:
    """Those of some words that are one token, none of them a special one or unknown, nor the token of one before."""
    others = {*tokenizer.all_special_ids, tokenizer.unk_token_id}
    found: dict[int, str] = {}
    for word, ids in zip(words, all_word_ids(tokenizer, words, space), strict=True):
        if len(ids) == 1 and ids[0] not in others:
            found.setdefault(ids[0], word)
    kept = set(found.values())
    left = [word for word in words if word not in kept]
    note = f"{len(found)} of the {len(words)} words of search.words are one token of this model" if left else ""
    return Vocabulary(tuple(found.values()), tuple(found), f"{note}; left out: {_some(left)}" if left else "")


def _some(words: Sequence[str], most: int = 5) -> str:
    return ", ".join(words[:most]) + (", …" if len(words) > most else "")
