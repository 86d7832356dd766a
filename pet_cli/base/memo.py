"""What a process has computed already: models, tokenised splits, states of frozen models."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

T = TypeVar("T")


class Memo:
    """A bounded memory of results by key; the least recently used go first."""

    def __init__(self, size: int = 64) -> None:
        self._size = size
        self._entries: OrderedDict[Hashable, object] = OrderedDict()

    def known(self, key: Hashable) -> object | None:
        """What is remembered under `key`, or None."""
        return self._entries.get(key)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The result under `key`, made on first use."""
        if key not in self._entries:
            self._entries[key] = make()
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
        self._entries.move_to_end(key)
        return self._entries[key]  # type: ignore[return-value]
