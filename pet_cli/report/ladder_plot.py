"""The plot of a ladder: the score against the number of labels, and beside it what training took.

One hue for each era, a dash and a marker for each of its rungs; the names stand at the lines' ends, in the order of the
scores, and are the rows of the cost beside them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from pet_cli.config.eras import ERAS
from pet_cli.report import drawing
from pet_cli.report.document import Picture

ALL = math.inf
"""The number of labels where all training examples were taken."""

HUES = dict(zip(ERAS, (drawing.COLOURS[7], drawing.COLOURS[2], drawing.COLOURS[0], drawing.COLOURS[5]), strict=True))
_MARKERS = dict(zip(ERAS, ("^", "s", "D", "o"), strict=True))
_DASHES: tuple[tuple[float, ...], ...] = (
    (),
    (5, 2),
    (1.2, 1.5),
    (6, 1.8, 1.2, 1.8),
    (2.6, 1.4),
    (9, 2),
    (6, 1.5, 1.2, 1.5, 1.2, 1.5),
    (1.2, 3),
)

# Inches: the picture, its margins, the column of names, the panel of the cost; the panels, a row.
_WIDTH, _LEFT, _NAMES, _COST, _RIGHT = 8.7, 0.58, 1.25, 2.0, 0.18
_TOP, _PANEL, _ROW = 0.42, 3.5, 0.185


@dataclass(frozen=True)
class Series:
    """One rung.

    Attributes:
        sizes: training examples of each label, ascending; `ALL` for all of them.
        scores, bands, seconds: at each size: mean score, half the height of the band, seconds of training (0: nothing
            trains).
    """

    name: str
    era: str
    sizes: Sequence[float]
    scores: Sequence[float]
    bands: Sequence[float]
    seconds: Sequence[float]

    @property
    def flat(self) -> bool:
        """Whether its score holds for any number of labels: it was asked with none, and alone so."""
        return list(self.sizes) == [0]


def places(sizes: Sequence[float], everything: float) -> dict[float, float]:
    """Where each size stands on the axis: at its logarithm to base 2.

    None at all stands a step left of the fewest, all examples at their own number, at least a step right of the most.

    Args:
        sizes: ascending.
        everything: how many examples of each label `ALL` is, on the mean.
    """
    drawn = [size for size in sizes if 0 < size < ALL]
    found = {size: math.log2(size) for size in drawn}
    if 0 in sizes:
        found[0] = (found[drawn[0]] if drawn else 0.0) - 2
    if ALL in sizes:
        last = found[drawn[-1]] if drawn else found.get(0, 0.0)
        found[ALL] = max(math.log2(max(everything, 1)), last + 1.5)
    return {size: found[size] for size in sizes}


def apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places as near to those wanted (ascending) as they may be, at least `gap` apart, within bounds if there is room.

    Least squares: with i · gap taken off each, the nearest sequence that never falls.
    """
    pools: list[list[float]] = []
    for number, value in enumerate(wanted):
        pools.append([value - number * gap])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    free = [float(np.mean(pool)) for pool in pools for _ in pool]
    most = max(low, high - gap * (len(wanted) - 1))
    return [min(max(value, low), most) + number * gap for number, value in enumerate(free)]


def ladder(
    name: str, caption: str, rungs: Sequence[Series], everything: float, y_label: str, shots: str = "of each label"
) -> Picture:
    """Draws it.

    Args:
        rungs: those of an era beside each other.
        everything: how many examples of each label all are, on the mean.
        shots: of what so many training examples are drawn, in words behind "examples".
    """
    names, key = drawing.drawable([one.name for one in rungs], "rung")
    sizes = sorted({size for one in rungs for size in one.sizes})
    at = places(sizes, everything)
    below = 0.64 if ALL in at else 0.54  # the numbers, one of them on two lines, and the axis's title
    height = _TOP + below + max(_PANEL, _ROW * (len(rungs) + 1))

    def paint(figure: Figure, axes: Axes) -> None:
        figure.set_layout_engine("none")
        panel = height - _TOP - below
        width = _WIDTH - _LEFT - _NAMES - _COST - _RIGHT
        axes.set_position((_LEFT / _WIDTH, below / height, width / _WIDTH, panel / height))
        cost = figure.add_axes(((_LEFT + width + _NAMES) / _WIDTH, below / height, _COST / _WIDTH, panel / height))
        low = min(min(np.subtract(one.scores, one.bands)) for one in rungs)
        high = max(max(np.add(one.scores, one.bands)) for one in rungs)
        margin = 0.04 * (high - low) or 0.02
        axes.set_ylim(low - margin, high + margin)
        start, end = min(at.values()) - 0.35, max(at.values()) + 0.25
        axes.set_xlim(start, end)
        inch = (high - low + 2 * margin) / panel
        order = sorted(range(len(rungs)), key=lambda number: rungs[number].scores[-1])
        rows = dict(
            zip(
                order,
                apart(
                    [rungs[number].scores[-1] for number in order],
                    _ROW * inch,
                    low - margin + 0.08 * inch,
                    high + margin - 0.08 * inch,
                ),
                strict=True,
            )
        )
        styles = _styles(rungs)
        for number, one in enumerate(rungs):
            _line(axes, one, at, styles[number], end)
            _name(axes, one, names[number], at, rows[number], end, (end - start) / width)
        _axes(axes, at, everything, (f"training examples {shots}", y_label), (0.2 - below) / panel)
        _cost(cost, rungs, rows, axes.get_ylim(), (0.2 - below) / panel)
        _key(figure, rungs, height)

    spoken = [
        f"{title} ({ERAS[one.era]}): "
        + ", ".join(f"{score:.3f} at {_size(size)}" for size, score in zip(one.sizes, one.scores, strict=True))
        for title, one in zip(names, rungs, strict=True)
    ]
    alt = f"{y_label} by number of labels. {'; '.join(spoken)}"
    return drawing.draw(name, alt, caption + key, _WIDTH, height, paint, dark=True)


def _size(size: float) -> str:
    return "all" if size == ALL else f"{size:g}"


def _styles(rungs: Sequence[Series]) -> list[int]:
    """A rung's number among those of its era."""
    seen: dict[str, itertools.count[int]] = {}
    return [next(seen.setdefault(one.era, itertools.count())) for one in rungs]


def _line(axes: Axes, one: Series, at: Mapping[float, float], style: int, end: float) -> None:
    colour = HUES[one.era]
    x, y, band = [at[size] for size in one.sizes], np.asarray(one.scores), np.asarray(one.bands)
    dashes = (0, _DASHES[style % len(_DASHES)]) if style % len(_DASHES) else "-"
    if one.flat:
        axes.plot([x[0], end], [y[0], y[0]], color=colour, linewidth=1.3, linestyle=dashes, zorder=2)
        axes.errorbar(x, y, yerr=band, color=colour, linestyle="none", elinewidth=1.2, zorder=2)
    elif len(x) > 1:
        axes.fill_between(x, y - band, y + band, color=colour, alpha=0.09, linewidth=0, zorder=1)
        axes.plot(x, y, color=colour, linewidth=1.7, linestyle=dashes, zorder=3)
    else:
        axes.errorbar(x, y, yerr=band, color=colour, linestyle="none", elinewidth=1.2, zorder=2)
    hollow = style % 2 == 1
    axes.plot(
        x, y, color=colour, marker=_MARKERS[one.era], markersize=4.6, linestyle="none", zorder=4,
        markerfacecolor=drawing.PAPER if hollow else colour, markeredgewidth=1.1,
    )  # fmt: skip


def _name(axes: Axes, one: Series, title: str, at: Mapping[float, float], row: float, end: float, inch: float) -> None:
    """The rung's name at its row, and a thin line to it from where the rung ends."""
    last = end if one.flat else at[one.sizes[-1]]
    knee, text = end + 0.02 * inch, end + 0.22 * inch
    axes.plot(
        [last, knee, text - 0.04 * inch],
        [one.scores[-1], one.scores[-1], row],
        color=HUES[one.era],
        linewidth=0.7,
        alpha=0.55,
        linestyle="-" if last >= max(at.values()) else (0, (1, 1.6)),
        clip_on=False,
        zorder=1,
    )
    axes.text(text, row, title, color=HUES[one.era], va="center", ha="left", fontsize=8.8, clip_on=False)


def _axes(axes: Axes, at: Mapping[float, float], everything: float, names: tuple[str, str], title: float) -> None:
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(list(at.values()), [f"all\n({everything:,.0f})" if size == ALL else _size(size) for size in at])
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.grid()
    axes.set_xlabel(names[0])
    axes.xaxis.set_label_coords(0.5, title)
    axes.set_title(names[1], color=drawing.INK, pad=5)
    axes.tick_params(length=3)


def _cost(
    axes: Axes, rungs: Sequence[Series], rows: Mapping[int, float], limits: tuple[float, float], title: float
) -> None:
    """What training took, a row for each rung and a dot for each number of labels."""
    axes.set_ylim(*limits)
    trained = [seconds for one in rungs for seconds in one.seconds if seconds > 0]
    low, high = (min(trained) / 1.8, max(trained) * 1.8) if trained else (0.1, 10.0)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    for number, one in enumerate(rungs):
        colour, row = HUES[one.era], rows[number]
        seconds = [value for value in one.seconds if value > 0]
        if seconds:
            axes.plot([low, high], [row, row], color=drawing.GRID, linewidth=0.8, zorder=0)
            axes.plot([min(seconds), max(seconds)], [row, row], color=colour, linewidth=1.4, alpha=0.6)
            axes.plot(seconds, [row] * len(seconds), color=colour, marker=_MARKERS[one.era], markersize=4, linestyle="")
        else:
            axes.text(low * 1.1, row, "nothing trains", color=drawing.MUTED, va="center", fontsize=7.8)
    ticks = drawing.log_ticks(low, high, most=4)
    axes.xaxis.set_major_locator(NullLocator())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.tick_params(length=3)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_xlabel("seconds of training")
    axes.xaxis.set_label_coords(0.5, title)


def _key(figure: Figure, rungs: Sequence[Series], height: float) -> None:
    """The eras, above."""
    here = [era for era in ERAS if any(one.era == era for one in rungs)]
    handles = [Line2D([], [], color=HUES[era], marker=_MARKERS[era], markersize=5, linewidth=1.8) for era in here]
    legend = figure.legend(
        handles,
        [ERAS[era] for era in here],
        loc="upper right",
        bbox_to_anchor=(1 - _RIGHT / _WIDTH, 1 - 0.02 / height),
        ncols=len(here),
        borderpad=0.2,
        columnspacing=1.4,
        handlelength=1.8,
    )
    for text, era in zip(legend.get_texts(), here, strict=True):
        text.set_color(HUES[era])
