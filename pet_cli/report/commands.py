"""The commands that made a set of runs, as few as say the same."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence

from pet_cli.config import files as conf_files

# What a run may be started with that does not change what it computes.
_LEFT_OUT = ("baseline", "resume")
_GROUPS = ("task", "model", "tuning", "scoring", "ensemble", "experiment", "rung")

Overrides = tuple[tuple[str, str], ...]


def commands(runs: Iterable[Sequence[str]]) -> list[str]:
    """`pet train …` lines that together repeat runs given by their overrides, each run once."""
    parsed = {frozenset(own): own for own in map(_parse, runs)}
    by_keys: dict[tuple[str, ...], list[Overrides]] = {}
    for overrides in parsed.values():
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
    pairs = {key: value for key, _, value in (override.partition("=") for override in overrides)}
    return tuple((key, value) for key, value in pairs.items() if key.lstrip("+~") not in _LEFT_OUT)


def _lines(group: Sequence[Overrides]) -> list[str]:
    """One command where the runs are every combination of their values; else the runs divided by a key, and again."""
    values = _values(group)
    if _whole(group):
        return [_line(values)]
    divided = [_divided(group, key) for key, own in values.items() if len(own) > 1]
    # A key whose values all go with the same runs divides nothing; of the others, the one that leaves most in order.
    parts = min(
        (parts for parts in divided if len(parts) > 1),
        key=lambda parts: (sum(not _whole(part) for part in parts), len(parts)),
    )
    return [line for part in parts for line in _lines(part)]


def _values(group: Sequence[Overrides]) -> dict[str, dict[str, None]]:
    """The values of each key, in the order in which they come."""
    values: dict[str, dict[str, None]] = {}
    for overrides in group:
        for key, value in overrides:
            values.setdefault(key, {})[value] = None
    return values


def _whole(group: Sequence[Overrides]) -> bool:
    return math.prod(len(own) for own in _values(group).values()) == len(group)


def _divided(group: Sequence[Overrides], key: str) -> list[list[Overrides]]:
    """The runs by what goes with a value of the key; values that go with the same stay together."""
    by_value: dict[str, list[Overrides]] = {}
    for overrides in group:
        by_value.setdefault(dict(overrides)[key], []).append(overrides)
    parts: dict[frozenset[frozenset[tuple[str, str]]], list[Overrides]] = {}
    for own in by_value.values():
        others = frozenset(frozenset(pair for pair in overrides if pair[0] != key) for overrides in own)
        parts.setdefault(others, []).extend(own)
    return list(parts.values())


def _line(values: dict[str, dict[str, None]]) -> str:
    sweep = any(len(own) > 1 for own in values.values())
    parts = [f"{key}={','.join(own)}" if any(own) else key for key, own in values.items()]
    return " ".join(["pet train", *(["-m"] if sweep else []), *map(quote, parts)])


def quote(word: str) -> str:
    """A word for the shell, in double quotes where that reads better."""
    if "'" in word and not set(word) & set('"$`\\!'):
        return f'"{word}"'
    return shlex.quote(word)
