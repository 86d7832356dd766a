"""Progress bars on the terminal; silent where there is none."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Advance = Callable[[int], None]


class Progress:
    """Shows the stages of a run on stderr. `prefix` names the run, such as "run 3 of 9"."""

    def __init__(self, prefix: str = "", enabled: bool | None = None) -> None:
        self.prefix = prefix
        self.enabled = sys.stderr.isatty() if enabled is None else enabled
        self._since = time.monotonic()

    def passed(self, stage: str, what: str = "") -> None:
        """Leaves a line behind for a stage of a run alone; in a sweep each run leaves its own."""
        if self.enabled and not self.prefix:
            now = time.monotonic()
            print(f"{stage:<10}{what + '  ' if what else ''}{now - self._since:.1f} s", file=sys.stderr)
            self._since = now

    @contextlib.contextmanager
    def within(self, part: str) -> Iterator[None]:
        """Names a part of the run, such as "member 2 of 3", in the bars of the block."""
        before = self.prefix
        self.prefix = f"{before} {part}".strip()
        try:
            yield
        finally:
            self.prefix = before

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Advance]:
        """A bar of `total` steps (None: nobody knows how many); yields the function that advances it."""
        if not self.enabled:
            yield lambda n: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task(f"{self.prefix} {name}".strip(), total=total)
            yield lambda n: bars.advance(task, n)
