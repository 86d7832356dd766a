"""The plots of a report. matplotlib without pyplot: no window, no global state, the same bytes each time.

Sizes are in inches, narrow enough to be read on a phone. Colours are Paul Tol's "bright" set, told apart by the
colour-blind; every series has a marker of its own besides.
"""

from __future__ import annotations

import functools
import io
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from pet_cli.report.document import Picture

COLOURS = ("#4477AA", "#EE6677", "#228833", "#B8A52D", "#41A9C9", "#AA3377", "#7D7D7D", "#C46A1B")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MOST_SERIES = len(COLOURS)

# Colours of the page's own, which the embedded drawing takes from the style sheet: light or dark, as the reader likes.
INK, MUTED, GRID, PAPER, ON_BAR = "#1f2933", "#5d6873", "#dde2e7", "#fffffe", "#fefefe"
_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)", PAPER: "none", ON_BAR: "var(--on)"} | {
    colour.lower(): f"var(--c{number})" for number, colour in enumerate(COLOURS)
}
_HEAT = LinearSegmentedColormap.from_list("pet", ["#f2f6fb", "#a9c6e3", "#4477AA", "#1d3f66"])
_WIDTH = 4.3

_STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "svg.hashsalt": "pet",
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class Line:
    """One series: `x`, `y` and the half height of its band, `[points]` each."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    band: Sequence[float]


def draw(
    name: str, alt: str, caption: str, width: float, height: float, paint: Callable[[Figure, Axes], None]
) -> Picture:
    """Draws one picture, as PNG and SVG."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        paint(figure, figure.add_subplot())
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Title": alt})
        figure.savefig(png, format="png", dpi=160)
    return Picture(name, alt, caption, svg.getvalue(), png.getvalue(), round(width * 96 * 1.2))


def embedded(picture: Picture) -> str:
    """The drawing as an element of an HTML page: no header, names of its own, the page's colours."""
    body = picture.svg[picture.svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"<title>.*?</title>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r' xmlns(:\w+)?="[^"]*"', "", body)
    body = body.replace("xlink:href", "href")
    body = re.sub(r'\bid="([^"]+)"', rf'id="{picture.name}-\1"', body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#{picture.name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{picture.name}-\1)", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    head, _, rest = body.partition(">")
    box = re.search(r'viewBox="([^"]*)"', head)
    assert box is not None
    return f'<svg viewBox="{box[1]}" style="max-width:{picture.width}px" aria-hidden="true">{rest}'


# --- text that the font can draw -----------------------------------------------------------------------------------


@functools.cache
def _drawn_signs() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def drawable(names: Sequence[str], letter: str) -> tuple[list[str], str]:
    """Names for a plot, numbered where the font that comes along cannot draw them (as Chinese), and the key to that."""
    if all(ord(sign) in _drawn_signs() for name in names for sign in name):
        return list(names), ""
    numbered = [f"{letter} {number}" for number in range(1, len(names) + 1)]
    return numbered, " " + "; ".join(f"{n}: {name}" for n, name in zip(numbered, names, strict=True)) + "."


def _wrapped(text: str, width: int = 26) -> str:
    return "\n".join(textwrap.wrap(text, width)) or text


# --- the plots -----------------------------------------------------------------------------------------------------


def strip(
    name: str,
    caption: str,
    rows: Sequence[str],
    points: Sequence[tuple[int, int, float]],
    series: Sequence[str],
    x_label: str,
) -> Picture:
    """Every value as a dot on its row, a tick at the mean of each row and series.

    Args:
        points: (row, series, value).
    """
    rows, key = drawable(rows, "row")
    series, series_key = drawable(series, "series")
    one_line = max(map(len, rows)) <= 26
    row_height = 0.34 if one_line else 0.46
    offsets = np.linspace(-0.22, 0.22, len(series)) if len(series) > 1 else [0.0]

    def paint(figure: Figure, axes: Axes) -> None:
        for number, title in enumerate(series):
            colour = COLOURS[number % MOST_SERIES]
            own = [(row, value) for row, which, value in points if which == number]
            axes.scatter(
                [value for _, value in own],
                [row + offsets[number] for row, _ in own],
                s=26,
                marker=MARKERS[number % MOST_SERIES],
                color=colour,
                alpha=0.75,
                linewidths=0,
                label=title,
            )
            for row in range(len(rows)):
                values = [value for at, value in own if at == row]
                if len(values) > 1:
                    middle, y = float(np.mean(values)), row + offsets[number]
                    axes.plot([middle, middle], [y - 0.17, y + 0.17], color=colour, linewidth=2)
        for row in range(1, len(rows), 2):
            axes.axhspan(row - 0.5, row + 0.5, color=GRID, alpha=0.35, linewidth=0, zorder=0)
        axes.set_yticks(range(len(rows)), [_wrapped(row) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel(x_label)
        if len(series) > 1:
            figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=_columns(series))

    height = 0.85 + row_height * len(rows) * (1 + 0.12 * (len(series) - 1)) + _legend_height(series)
    alt = f"{x_label} of {len(points)} runs on {len(rows)} rows: {'; '.join(rows)}."
    return draw(name, alt, caption + key + series_key, _WIDTH, height, paint)


def _columns(series: Sequence[str]) -> int:
    longest = max(map(len, series))
    return max(1, min(len(series), 50 // (longest + 6)))


def _legend_height(series: Sequence[str]) -> float:
    return 0.2 * -(-len(series) // _columns(series)) + 0.1 if len(series) > 1 else 0.0


def heat_map(
    name: str,
    caption: str,
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: np.ndarray,
    limits: tuple[float, float],
    axis_names: tuple[str, str] = ("pattern", "verbalizer"),
    texts: Sequence[Sequence[str]] | None = None,
) -> Picture:
    """A matrix `[rows, columns]` as colours with its numbers; NaN cells stay empty."""
    rows, key = drawable(rows, axis_names[0])
    columns, column_key = drawable(columns, axis_names[1])
    key += column_key if column_key != key else ""
    longest = max(map(len, columns))
    left = 0.085 * min(22, max(map(len, rows))) + 0.5
    # Upright names where there is room for them beside each other.
    upright = max(0.62, 0.095 * longest + 0.12)
    turned = upright * len(columns) > _WIDTH - left
    cell = upright if not turned else 0.62 if len(columns) <= 6 else 0.4
    below = 0.06 * min(24, longest) + 0.45 if turned else 0.55
    width = min(_WIDTH, max(2.9, left + cell * len(columns) + 0.35))
    heading = _wrapped(title, int(width * 12))
    height = 0.42 * len(rows) + below + (0.2 + 0.18 * len(heading.split("\n")) if title else 0.1)

    def paint(figure: Figure, axes: Axes) -> None:
        # Cells as shapes, not as an image: sharp at any size.
        axes.pcolormesh(
            np.arange(len(columns) + 1) - 0.5,
            np.arange(len(rows) + 1) - 0.5,
            np.ma.masked_invalid(values),
            cmap=_HEAT,
            vmin=limits[0],
            vmax=limits[1],
        )
        axes.set_ylim(len(rows) - 0.5, -0.5)
        middle = (limits[0] + limits[1]) / 2
        if len(columns) <= 12:
            for i in range(len(rows)):
                for j in range(len(columns)):
                    if not np.isnan(values[i, j]):
                        text = texts[i][j] if texts else f"{values[i, j]:.3f}"
                        colour = "#ffffff" if values[i, j] > middle else "#10151a"
                        axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=8.5)
        shown = [_wrapped(column, 24) for column in columns]
        axes.set_xticks(range(len(columns)), shown, rotation=40 if turned else 0, ha="right" if turned else "center")
        if turned:
            axes.tick_params(axis="x", pad=1)
            for label in axes.get_xticklabels():
                label.set_rotation_mode("anchor")
        axes.set_yticks(range(len(rows)), [_wrapped(row, 22) for row in rows])
        axes.tick_params(length=0)
        axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
        axes.grid(which="minor", color=PAPER, linewidth=1.5)
        axes.tick_params(which="minor", length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_ylabel(axis_names[0])
        axes.set_xlabel(axis_names[1])
        if title:
            figure.suptitle(heading, x=0.02, ha="left", fontsize=9)

    alt = f"{title or caption}: a matrix of {len(rows)} by {len(columns)}."
    return draw(name, alt, caption + key, width, height, paint)


def shares(name: str, caption: str, rows: Sequence[str], parts: Mapping[str, Sequence[float]], rest: str) -> Picture:
    """Stacked bars of shares that add up to one on each row; the part `rest` in grey.

    Args:
        parts: name -> share, `[rows]`.
    """
    rows, key = drawable(rows, "row")

    def paint(figure: Figure, axes: Axes) -> None:
        start = np.zeros(len(rows))
        colours = iter(COLOURS)
        for part, values in parts.items():
            colour = "#c3c9cf" if part == rest else next(colours)
            axes.barh(range(len(rows)), values, left=start, height=0.62, color=colour, label=part)
            for row, value in enumerate(values):
                if value >= 0.13:
                    ink = "#10151a" if part == rest else ON_BAR
                    axes.text(
                        start[row] + value / 2, row, f"{100 * value:.0f} %", ha="center", va="center", color=ink, size=9
                    )
            start += np.asarray(values)
        axes.set_yticks(range(len(rows)), [_wrapped(row) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("share of the variance")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=_columns(list(parts)))

    spoken = [
        f"{row}: " + ", ".join(f"{part} {100 * values[i]:.0f} %" for part, values in parts.items())
        for i, row in enumerate(rows)
    ]
    height = 0.85 + 0.46 * len(rows) + _legend_height(list(parts))
    return draw(name, "; ".join(spoken), caption + key, _WIDTH, height, paint)


def curves(
    name: str, caption: str, lines: Sequence[Line], ticks: Mapping[float, str], flat: Sequence[Line], y_label: str
) -> Picture:
    """The score against shots, a band around each line.

    Args:
        ticks: place on the axis -> what to write there.
        flat: lines with one point that holds for any number of shots: drawn across.
    """
    names, key = drawable([line.name for line in (*lines, *flat)], "line")

    def paint(figure: Figure, axes: Axes) -> None:
        for number, line in enumerate(lines):
            colour = COLOURS[number % MOST_SERIES]
            y, band = np.asarray(line.y), np.asarray(line.band)
            axes.fill_between(line.x, y - band, y + band, color=colour, alpha=0.16, linewidth=0)
            mark = MARKERS[number % MOST_SERIES]
            axes.plot(line.x, y, color=colour, marker=mark, markersize=5.5, linewidth=1.8, label=names[number])
        for number, line in enumerate(flat, start=len(lines)):
            colour = COLOURS[number % MOST_SERIES]
            axes.axhline(line.y[0], color=colour, linestyle="--", linewidth=1.6, label=names[number])
        if min(ticks) > 0:
            axes.set_xscale("log", base=2)
        else:
            axes.set_xscale("symlog", base=2, linthresh=1)
        axes.xaxis.set_major_locator(NullLocator())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.grid()
        axes.set_xlabel("training examples of each label (shots)")
        axes.set_ylabel(y_label)
        if len(names) > 1:
            figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=_columns(names))

    spoken = [
        f"{title}: " + ", ".join(f"{y:.3f} at {ticks[x]}" for x, y in zip(line.x, line.y, strict=True))
        for title, line in zip(names, (*lines, *flat), strict=True)
    ]
    return draw(name, "; ".join(spoken), caption + key, _WIDTH, 3.1 + _legend_height(names), paint)


def beside(
    name: str,
    caption: str,
    points: Sequence[tuple[int, float, float, float]],
    series: Sequence[str],
    x_label: str,
    y_label: str,
) -> Picture:
    """The score over a cost on a logarithmic axis.

    Args:
        points: (series, cost, score, standard deviation).
    """
    series, key = drawable(series, "series")

    def paint(figure: Figure, axes: Axes) -> None:
        for number, title in enumerate(series):
            own = [point[1:] for point in points if point[0] == number]
            axes.errorbar(
                [x for x, _, _ in own],
                [y for _, y, _ in own],
                yerr=[std for _, _, std in own],
                color=COLOURS[number % MOST_SERIES],
                marker=MARKERS[number % MOST_SERIES],
                linestyle="none",
                elinewidth=1.2,
                markersize=6.5,
                label=title,
            )
        costs = [x for _, x, _, _ in points]
        low, high = min(costs) / 1.6, max(costs) * 1.6
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        places = _log_ticks(low, high)
        axes.xaxis.set_major_locator(NullLocator())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.grid()
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        if len(series) > 1:
            figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=_columns(series))

    spoken = [f"{series[number]}: {y:.3f} at {x:.3g}" for number, x, y, _ in points]
    return draw(name, f"{x_label}: " + "; ".join(spoken), caption + key, _WIDTH, 2.9 + _legend_height(series), paint)


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers in a range: 1, 2, 5 of each power of ten, or the powers alone where those would crowd."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    for steps in ((1, 2, 5), (1, 3), (1,)):
        places = [step * 10.0**power for power in range(first, last + 1) for step in steps]
        inside = [place for place in places if low <= place <= high]
        if len(inside) <= 7:
            break
    return inside


def confusion(name: str, caption: str, title: str, labels: Sequence[str], counts: np.ndarray) -> Picture:
    """Counts `[gold, predicted]`, the colour by the share of the gold label's examples."""
    totals = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(totals, 1)
    texts = [[f"{count:.0f}" for count in row] for row in counts]
    return heat_map(name, caption, title, labels, labels, share, (0.0, 1.0), ("gold", "predicted"), texts)
