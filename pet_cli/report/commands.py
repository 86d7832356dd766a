"""The commands that made a set of runs, as few as say the same."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence

from pet_cli import conf_files

# What a run may be started with that does not change what it computes.
_LEFT_OUT = ("resume",)
_GROUPS = ("task", "model", "tuning", "ensemble", "experiment")

Overrides = tuple[tuple[str, str], ...]


def commands(runs: Iterable[Sequence[str]]) -> list[str]:
    """`pet train …` lines that together repeat runs given by their overrides, each run once."""
    parsed = dict.fromkeys(_parse(overrides) for overrides in runs)
    by_keys: dict[tuple[str, ...], list[Overrides]] = {}
    for overrides in parsed:
        by_keys.setdefault(tuple(sorted(key for key, _ in overrides)), []).append(overrides)
    return [line for group in by_keys.values() for line in _lines(group)]


def own_configs(runs: Iterable[Sequence[str]]) -> list[str]:
    """The choices in a group that the package does not have: they came from `--config-dir`."""
    found = dict.fromkeys(pair for overrides in runs for pair in _parse(overrides))
    return [
        f"{key}={value}"
        for key, value in found
        if key.lstrip("+") in _GROUPS and value not in conf_files.options(key.lstrip("+"))
    ]


def _parse(overrides: Sequence[str]) -> Overrides:
    pairs = (override.partition("=") for override in overrides)
    return tuple((key, value) for key, _, value in pairs if key.lstrip("+~") not in _LEFT_OUT)


def _lines(group: Sequence[Overrides]) -> list[str]:
    """One command where the runs are every combination of their values; else the runs divided by a key, and again."""
    values: dict[str, dict[str, None]] = {}
    for overrides in group:
        for key, value in overrides:
            values.setdefault(key, {})[value] = None
    if math.prod(len(own) for own in values.values()) == len(group):
        return [_line(values)]
    key = min((key for key, own in values.items() if len(own) > 1), key=lambda key: len(values[key]))
    return [
        line
        for value in values[key]
        for line in _lines([overrides for overrides in group if dict(overrides)[key] == value])
    ]


def _line(values: dict[str, dict[str, None]]) -> str:
    sweep = any(len(own) > 1 for own in values.values())
    parts = [f"{key}={','.join(own)}" if any(own) else key for key, own in values.items()]
    return " ".join(["pet train", *(["-m"] if sweep else []), *map(quote, parts)])


def quote(word: str) -> str:
    """A word for the shell, in double quotes where that reads better."""
    if "'" in word and not set(word) & set('"$`\\!'):
        return f'"{word}"'
    return shlex.quote(word)
