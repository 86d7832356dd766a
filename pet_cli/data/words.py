"""Words of a text by one rule for all languages, without a model. Torch-free."""

from __future__ import annotations

import re
import unicodedata

MARKS = "".join(sign for sign in map(chr, range(0x300, 0x20000)) if unicodedata.category(sign).startswith("M"))
"""Signs that belong to the one before them: accents written apart, vowels of Hindi, Arabic and their like."""
LETTERS = rf"\w[\w{MARKS}]*"
"""A run of letters and digits in any writing, as a regular expression; Chinese and Japanese characters too."""
_ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_LETTERS = rf"(?:[^\W{_ALONE}][{MARKS}]*)+"
_WORD = re.compile(rf"[{_ALONE}][{MARKS}]*|{_LETTERS}(?:['’]{_LETTERS})*|[^\w\s][{MARKS}]*")


def split_words(text: str) -> list[str]:
    """Runs of letters and digits, `don't` as one; a Chinese or Japanese character and any other sign alone."""
    return _WORD.findall(text)
