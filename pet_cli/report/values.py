"""A setting's value as a report writes it, and the order of such values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

PVP = ("pattern", "verbalizer")
CORE = (
    "task",
    "rung",
    "model",
    "tuning",
    "scoring",
    "ensemble",
    *PVP,
    "data.shots",
)  # settings whose values speak for themselves


def shown(key: str, value: Any) -> str:
    """A setting's value for a table."""
    if value is None:
        return "all" if key == "data.shots" else "–"
    if isinstance(value, str) and value[:1] in "[{":
        try:
            value = json.loads(value)
        except ValueError:
            return value
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_plain(own)}" for key, own in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return str(value)


def brief(key: str, value: Any) -> str:
    """A setting's value that tells by itself which setting it is."""
    text = short(shown(key, value), 44)
    if key == "data.shots":
        return f"{text}\u00a0shot{'' if text == '1' else 's'}"
    if key == "ensemble":
        return "no ensemble" if text == "none" else f"ensemble {text}"
    return text if key in CORE else f"{key.rpartition('.')[2]} {text}"


def short(text: str, limit: int) -> str:
    """At most `limit` characters on one line, the middle left out."""
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    return f"{text[: limit * 2 // 3 - 1].rstrip()}…{text[-(limit // 3) :].lstrip()}"


def natural(value: Any) -> tuple[Any, ...]:
    """Sorts 4, 16, 64 and p2, p10 as a person would; None, which stands for all, last."""
    if value is None:
        return (2,)
    if isinstance(value, (int, float)):
        return (0, float(value))
    parts = re.split(r"(\d+)", str(value))
    return (1, *((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts))
