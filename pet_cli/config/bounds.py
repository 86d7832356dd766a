"""What a key may hold, said beside its type: a range of numbers or a closed set of names, and one wording of errors."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pet_cli.errors import UserError, choices, nearest

LARGE = 2**31 - 1
"""No whole number is larger, so that none overflows where it is used."""
SEEDS = 2**32 - 1


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, the ends included unless `open_low` or `open_high`."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    def holds(self, number: float) -> bool:
        if isinstance(number, float) and not math.isfinite(number):
            return False
        above = number > self.low if self.open_low else number >= self.low
        return above and (number < self.high if self.open_high else number <= self.high)

    def __str__(self) -> str:
        low = f"above {self.low:g}" if self.open_low else f"at least {self.low:g}"
        high = f"below {self.high:g}" if self.open_high else f"at most {self.high:.12g}"
        return f"{low} and {high}"


@dataclass(frozen=True)
class Bounds:
    """What a key may hold beside what its type says.

    Attributes:
        range: of numbers.
        names: a closed set of names.
        others: what else there may be, in words, such as "a list of numbers"; it is checked elsewhere.
        null: what null means, in words.
    """

    range: Range | None = None
    names: tuple[str, ...] = ()
    others: str = ""
    null: str = ""


def bounded(low: float, high: float = LARGE, *, above: bool = False, below: bool = False, null: str = "") -> Any:
    """A field that holds a number from `low` to `high`; `above` and `below` leave these ends themselves out."""
    return field(metadata={"bounds": Bounds(Range(low, high, above, below), null=null)})


def rate(null: str = "") -> Any:
    """A field that holds a learning rate."""
    return bounded(0, 100, above=True, below=True, null=null)


def one_of(*names: str, others: str = "", null: str = "") -> Any:
    """A field that holds one of some names."""
    return field(metadata={"bounds": Bounds(names=names, others=others, null=null)})


class Settings:
    """A part of the settings. Its subclasses are dataclasses of types alone: the defaults stand in `conf`."""

    def check(self, key: str = "") -> None:
        """Raises `UserError` for a value out of its bounds; `key` is where these settings stand in the whole."""
        for name, bounds, value in bounded_values(self):
            if not _fits(bounds, value, optional(type(self), name)):
                raise refused(f"{key}.{name}" if key else name, value, type(self), name)
        for one in dataclasses.fields(self):  # type: ignore[arg-type]
            inner = getattr(self, one.name)
            if isinstance(inner, Settings):
                inner.check(f"{key}.{one.name}" if key else one.name)


def bounded_values(settings: Any) -> Iterator[tuple[str, Bounds, Any]]:
    for one in dataclasses.fields(settings):
        if bounds := one.metadata.get("bounds"):
            yield one.name, bounds, getattr(settings, one.name)


def _fits(bounds: Bounds, value: Any, may_be_null: bool) -> bool:
    if value is None:
        return may_be_null
    if bounds.range is not None:
        return not isinstance(value, bool) and isinstance(value, (int, float)) and bounds.range.holds(value)
    return value in bounds.names or (bool(bounds.others) and not isinstance(value, str))


def kinds(settings: type, name: str) -> list[type]:
    """The plain types that a field may hold, `NoneType` among them where it may be null."""
    hint = typing.get_type_hints(settings)[name]
    many = typing.get_args(hint) if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union else ()
    return [typing.get_origin(one) or one for one in many or (hint,)]


def optional(settings: type, name: str) -> bool:
    found = kinds(settings, name)
    return type(None) in found or Any in found


_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list",
    dict: "a mapping",
}


def refused(key: str, given: Any, settings: type, name: str) -> UserError:
    """The error for a value that a field cannot hold: what it is, what is allowed, and the nearest name."""
    one = {one.name: one for one in dataclasses.fields(settings)}[name]
    bounds = one.metadata.get("bounds", Bounds())
    shown = "null" if given is None else str(given).lower() if isinstance(given, bool) else str(given)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}…"
    if bounds.names:
        allowed = [*bounds.names, *([bounds.others] if bounds.others else [])]
        null = f" Null {bounds.null}." if bounds.null else ""
        return UserError(f"{key}={shown}: not one of {choices(allowed)}.{nearest(given, bounds.names)}{null}")
    wanted = " or ".join(_WORDS[kind] for kind in kinds(settings, name) if kind in _WORDS) or "another value"
    if typing.get_type_hints(settings)[name] == list[int]:
        wanted += " of whole numbers"
    if bounds.range is not None:
        wanted += f" {bounds.range}"
    if optional(settings, name):
        wanted += ", or null" + (f", which {bounds.null}" if bounds.null else "")
    return UserError(f"{key}={shown}: must be {wanted}.")
