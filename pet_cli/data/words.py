"""Words of a text by one rule for all languages, without a model. Torch-free."""

from __future__ import annotations

import re

_ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_ALONE}]|[^\W{_ALONE}]+(?:['’][^\W{_ALONE}]+)*|[^\w\s]")


def split_words(text: str) -> list[str]:
    """Runs of letters and digits, `don't` as one; a Chinese or Japanese character and any other sign alone."""
    return _WORD.findall(text)
