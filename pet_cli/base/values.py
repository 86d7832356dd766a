"""One spelling of a value, however it was written: in a csv, as JSON, in YAML, on the command line, in a notebook."""

from __future__ import annotations

import json
import math
import re
from typing import Any

_DECIMAL = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d+)?")


def spelled(value: Any) -> str:
    """A value as text: `1`, `1.0` and `"1.0"` are "1", `True` is "true"; what is no plain decimal stays as it is.

    So `007`, `1e3` and `1_1` stay text where they come as text.
    """
    if not isinstance(value, str) and hasattr(value, "item"):
        value = value.item()  # a number of numpy's
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, float) and math.isfinite(value):
        value = int(value) if value.is_integer() else format(value, "f") if abs(value) < 1 else repr(value)
    text = str(value).strip()
    if not _DECIMAL.fullmatch(text):
        return text
    whole, point, fraction = text.lstrip("+").partition(".")
    fraction = fraction.rstrip("0")
    return "0" if whole == "-0" and not fraction else f"{whole}{point if fraction else ''}{fraction}"


def is_number(text: str) -> bool:
    """Whether a spelled value is a plain decimal, such as 1, -1 or 0.5."""
    return _DECIMAL.fullmatch(text) is not None


def is_missing(value: Any) -> bool:
    """Whether a cell holds nothing: null, NaN (of Python, numpy or pandas), or blank text."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, str):
        return not value.strip()
    if not isinstance(value, float) and hasattr(value, "item"):
        value = value.item()
    return isinstance(value, float) and math.isnan(value)


def canonical(values: Any) -> str:
    """Values as JSON, the same for equal ones whatever the order of their keys.

    Keys are text as JSON writes them: YAML reads those of `{yes: …, no: …, maybe: …}` as values of several types, which
    have no order.
    """
    return json.dumps(json.loads(json.dumps(values, default=str)), sort_keys=True)
