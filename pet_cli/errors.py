"""The one exception a user's mistake may raise, and the wording of its help."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the user's: shown as one or two lines without a traceback; exit status 2."""


class Unfit(UserError):
    """Settings, each right by itself, that make no sense together: a sweep over rungs leaves such a run out."""


def nearest(given: object, allowed: Iterable[object]) -> str:
    """`" Did you mean 'sst2'?"` for the closest allowed value, or `""` where none is close."""
    names = [str(name) for name in allowed]
    close = difflib.get_close_matches(str(given), names, n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def choices(allowed: Iterable[object], limit: int = 12) -> str:
    """The allowed values as a short list for a message, cut after `limit`."""
    names = [str(name) for name in allowed]
    more = f", … ({len(names)} in all)" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def not_allowed(key: str, given: object, allowed: Iterable[object]) -> UserError:
    """The error for a value outside a closed set: names the key, the value, what is allowed, the nearest."""
    allowed = list(allowed)
    return UserError(f"{key}={given}: not one of {choices(allowed)}.{nearest(given, allowed)}")
