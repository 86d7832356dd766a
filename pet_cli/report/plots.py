"""The plots of a report: each takes plain values and gives a picture.

Sizes are in inches, narrow enough to be read on a phone; `drawing` says how all of them look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from pet_cli.report.document import Picture
from pet_cli.report.drawing import (
    COLOURS,
    GRID,
    MARKERS,
    MOST_SERIES,
    ON_BAR,
    PAPER,
    WIDTH,
    draw,
    drawable,
    legend_columns,
    legend_height,
    log_ticks,
    wrapped,
)

_HEAT = LinearSegmentedColormap.from_list("pet", ["#f2f6fb", "#a9c6e3", "#4477AA", "#1d3f66"])


@dataclass(frozen=True)
class Line:
    """One series: `x`, `y` and the half height of its band, `[points]` each."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    band: Sequence[float]


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
        axes.set_yticks(range(len(rows)), [wrapped(row) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel(x_label)
        if len(series) > 1:
            figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=legend_columns(series))

    height = 0.85 + row_height * len(rows) * (1 + 0.12 * (len(series) - 1)) + legend_height(series)
    alt = f"{x_label} of {len(points)} runs on {len(rows)} rows: {'; '.join(rows)}."
    return draw(name, alt, caption + key + series_key, WIDTH, height, paint)


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
    turned = upright * len(columns) > WIDTH - left
    cell = upright if not turned else 0.62 if len(columns) <= 6 else 0.4
    below = 0.06 * min(24, longest) + 0.45 if turned else 0.55
    width = min(WIDTH, max(2.9, left + cell * len(columns) + 0.35))
    heading = wrapped(title, int(width * 12))
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
        shown = [wrapped(column, 24) for column in columns]
        axes.set_xticks(range(len(columns)), shown, rotation=40 if turned else 0, ha="right" if turned else "center")
        if turned:
            axes.tick_params(axis="x", pad=1)
            for label in axes.get_xticklabels():
                label.set_rotation_mode("anchor")
        axes.set_yticks(range(len(rows)), [wrapped(row, 22) for row in rows])
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
        axes.set_yticks(range(len(rows)), [wrapped(row) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("share of the variance")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=legend_columns(list(parts)))

    spoken = [
        f"{row}: " + ", ".join(f"{part} {100 * values[i]:.0f} %" for part, values in parts.items())
        for i, row in enumerate(rows)
    ]
    height = 0.85 + 0.46 * len(rows) + legend_height(list(parts))
    return draw(name, "; ".join(spoken), caption + key, WIDTH, height, paint)


def curves(
    name: str,
    caption: str,
    lines: Sequence[Line],
    ticks: Mapping[float, str],
    flat: Sequence[Line],
    x_label: str,
    y_label: str,
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
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        if len(names) > 1:
            figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=legend_columns(names))

    spoken = [
        f"{title}: " + ", ".join(f"{y:.3f} at {ticks[x]}" for x, y in zip(line.x, line.y, strict=True))
        for title, line in zip(names, (*lines, *flat), strict=True)
    ]
    return draw(name, "; ".join(spoken), caption + key, WIDTH, 3.1 + legend_height(names), paint)


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
        places = log_ticks(low, high)
        axes.xaxis.set_major_locator(NullLocator())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.grid()
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        if len(series) > 1:
            figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=legend_columns(series))

    spoken = [f"{series[number]}: {y:.3f} at {x:.3g}" for number, x, y, _ in points]
    return draw(name, f"{x_label}: " + "; ".join(spoken), caption + key, WIDTH, 2.9 + legend_height(series), paint)


def confusion(name: str, caption: str, title: str, labels: Sequence[str], counts: np.ndarray) -> Picture:
    """Counts `[gold, predicted]`, the colour by the share of the gold label's examples."""
    totals = counts.sum(axis=1, keepdims=True)
    share = counts / np.maximum(totals, 1)
    texts = [[f"{count:.0f}" for count in row] for row in counts]
    return heat_map(name, caption, title, labels, labels, share, (0.0, 1.0), ("gold", "predicted"), texts)
