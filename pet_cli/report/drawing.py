"""How a report draws: its style, a picture as PNG and SVG, and what fits on it. matplotlib without pyplot: no window,
no global state, the same bytes each time.

Sizes are in inches, narrow enough to be read on a phone. Colours are Paul Tol's "bright" set, told apart by the
colour-blind; every series has a marker of its own besides.
"""

from __future__ import annotations

import functools
import io
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import is_color_like, to_hex, to_rgba
from matplotlib.figure import Figure

from pet_cli.report.document import Picture

COLOURS = ("#4477AA", "#EE6677", "#228833", "#B8A52D", "#41A9C9", "#AA3377", "#7D7D7D", "#C46A1B")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MOST_SERIES = len(COLOURS)

# Colours of the page's own, which the embedded drawing takes from the style sheet: light or dark, as the reader likes.
INK, MUTED, GRID, PAPER, ON_BAR = "#1f2933", "#5d6873", "#dde2e7", "#fffffe", "#fefefe"
_VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)", PAPER: "none", ON_BAR: "var(--on)"} | {
    colour.lower(): f"var(--c{number})" for number, colour in enumerate(COLOURS)
}
# The same on a dark ground; the hues light enough to stand out there.
DARK = {INK: "#e3e8ed", MUTED: "#9ca8b4", GRID: "#333b44", PAPER: "#15191e", ON_BAR: "#10151a"}
DARK_COLOURS = ("#7FB0E0", "#FF8F9A", "#5CBB6C", "#DACB5B", "#74CCE6", "#D97DB4", "#A9A9A9", "#E39B59")
WIDTH = 4.3

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


def draw(
    name: str,
    alt: str,
    caption: str,
    width: float,
    height: float,
    paint: Callable[[Figure, Axes], None],
    dark: bool = False,
) -> Picture:
    """Draws one picture, as PNG and SVG.

    Args:
        dark: whether also on a dark ground.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        paint(figure, figure.add_subplot())
        svg, png = _saved(figure, alt)
        at_night = None
        if dark:
            _darken(figure)
            at_night = _saved(figure, alt)
    return Picture(name, alt, caption, svg, png, round(width * 96 * 1.2), at_night)


def _saved(figure: Figure, alt: str) -> tuple[str, bytes]:
    svg, png = io.StringIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Title": alt})
    figure.savefig(png, format="png", dpi=160)
    return svg.getvalue(), png.getvalue()


def _darken(figure: Figure) -> None:
    """Gives whatever is drawn the dark ground's colours, as light or strong as it was."""
    there = {old.lower(): new for old, new in (DARK | dict(zip(COLOURS, DARK_COLOURS, strict=True))).items()}

    def dark(colour: Any) -> Any:
        *_, alpha = to_rgba(colour)
        return to_rgba(there.get(to_hex(colour), colour), alpha)

    for artist in figure.findobj():
        for part in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            now = getattr(artist, f"get_{part}", None)
            if now is not None:
                colour = now()
                getattr(artist, f"set_{part}")(dark(colour) if is_color_like(colour) else [dark(own) for own in colour])


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


def wrapped(text: str, width: int = 26) -> str:
    """A name of an axis on lines of so many characters."""
    return "\n".join(textwrap.wrap(text, width)) or text


# --- what fits -----------------------------------------------------------------------------------------------------


def legend_columns(series: Sequence[str]) -> int:
    """How many of the series stand beside each other in a legend above the plot."""
    longest = max(map(len, series))
    return max(1, min(len(series), 50 // (longest + 6)))


def legend_height(series: Sequence[str]) -> float:
    """What a legend takes, in inches; nothing where there is one series."""
    return 0.2 * -(-len(series) // legend_columns(series)) + 0.1 if len(series) > 1 else 0.0


def log_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers in a range: 1, 2, 5 of each power of ten, or the powers alone, every other, where those would
    crowd."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    for steps, every in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 3)):
        powers = [power for power in range(first, last + 1) if power % every == 0]
        places = [step * 10.0**power for power in powers for step in steps]
        inside = [place for place in places if low <= place <= high]
        if len(inside) <= most:
            break
    return inside
