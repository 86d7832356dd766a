"""Label words as a user writes them, checked; torch-free, so that a config error answers at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pet_cli.base.values import spelled
from pet_cli.errors import UserError, choices, nearest

COMBINATIONS = ("mean", "max", "sum", "vote", "weighted", "learned")
WEIGHTED = ("sum", "weighted")
"""Those that take the weights that are written beside the words."""


def parse_words(verbalizer: Mapping[Any, Any], labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """Checks a verbalizer as written (`label: word`, `label: [words]` or `label: {word: weight}`).

    Returns:
        label -> word -> weight, in the order of `labels`.

    Raises:
        UserError: a label without words or unknown, a word that is empty, not text, or used for two labels.
    """
    if not isinstance(verbalizer, Mapping) or not verbalizer:
        raise UserError(f"verbalizer={verbalizer!r}: write label: word, or label: [words], for every label.")
    given = {_name(label, labels): words for label, words in verbalizer.items()}
    for label in given:
        if label not in labels:
            raise UserError(
                f"verbalizer: unknown label '{label}'; the labels are {choices(labels)}.{nearest(label, labels)}"
            )
    parsed: dict[str, dict[str, float]] = {}
    owner: dict[str, str] = {}
    for label in labels:
        if label not in given:
            raise UserError(f"verbalizer: no word for label '{label}'; every label needs one.")
        words = given[label]
        if not isinstance(words, Mapping):
            listed = words if isinstance(words, (list, tuple)) else [words]
            for word in listed:
                _check_text(word, label)
            words = dict.fromkeys(listed, 1.0)
        if not words:
            raise UserError(f"verbalizer: no word for label '{label}'; every label needs one.")
        parsed[label] = {}
        for word, weight in words.items():
            _check_text(word, label)
            word = word.strip()
            if not word:
                raise UserError(f"verbalizer: label '{label}' has an empty word.")
            if owner.get(word) == label:
                raise UserError(f"verbalizer: '{word}' stands twice for label '{label}'.")
            if word in owner:
                raise UserError(f"verbalizer: '{word}' is a word of both '{owner[word]}' and '{label}'.")
            if not isinstance(weight, (int, float)) or isinstance(weight, bool) or not 0 <= weight < math.inf:
                raise UserError(f"verbalizer: the weight of '{word}' is {weight!r}; it must be a number >= 0.")
            owner[word] = label
            parsed[label][word] = float(weight)
        if not any(parsed[label].values()):
            raise UserError(f"verbalizer: every word of label '{label}' has weight 0.")
    return parsed


def _name(label: Any, labels: Sequence[str]) -> str:
    """A key of a verbalizer as a label's name; YAML's booleans are turned back where one label can be meant."""
    if isinstance(label, bool):
        meant = [
            name for name in labels if name.lower() in (("true", "yes", "on") if label else ("false", "no", "off"))
        ]
        if len(meant) == 1:
            return meant[0]
    return str(label) if str(label) in labels else spelled(label)


def all_words(verbalizers: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """The words of several verbalizers together, each label's once, with the weight it has where it stands first.

    Raises:
        UserError: a word that stands for two labels.
    """
    together: dict[str, dict[str, float]] = {label: {} for label in verbalizers[0]}
    for verbalizer in verbalizers:
        for label, words in verbalizer.items():
            for word, weight in words.items():
                together[label].setdefault(word, weight)
    return parse_words(together, list(together))


def _check_text(word: Any, label: str) -> None:
    if not isinstance(word, str):
        quoted = f'"{word}"'
        if isinstance(word, bool):  # YAML reads a bare Yes or No as one
            quoted = '"Yes" or "true"' if word else '"No" or "false"'
        raise UserError(f"verbalizer: the word {word!r} of label '{label}' is not text; write it in quotes: {quoted}.")


def read_words(path: Path, key: str) -> list[str]:
    """The words of a file, one a line; empty lines are left out.

    Args:
        key: the setting that names the file.

    Raises:
        UserError: a file that is missing, no text in UTF-8, or without a word, or a word that stands there twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{key}={path}: not text in UTF-8.") from None
    except OSError as error:
        raise UserError(f"{key}={path}: {'no such file' if not path.exists() else error.strerror}.") from None
    rows: dict[str, int] = {}
    for row, line in enumerate(lines, start=1):
        word = line.strip()
        if word in rows:
            raise UserError(f"{path}, row {row}: '{word}' stands in row {rows[word]} already; each word once.")
        if word:
            rows[word] = row
    if not rows:
        raise UserError(f"{key}={path}: empty; write candidate words, one a line.")
    return list(rows)
