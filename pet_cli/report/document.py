"""What a report says, before it is HTML or Markdown: sections of paragraphs, lists, tables, figures and commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Text:
    """A paragraph; `note` is set smaller: how to read what stands above it."""

    text: str
    note: bool = False


@dataclass(frozen=True)
class Bullets:
    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        numeric: the columns set flush right.
        wide: the columns that hold running text.
        strong: the rows that stand out.
        shade: how dark a cell is, in [0, 1], by (row, column).
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    wide: frozenset[int] = frozenset()
    strong: frozenset[int] = frozenset()
    shade: dict[tuple[int, int], float] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """A plot, drawn.

    Attributes:
        name: of its files, without their ending.
        alt: what it shows, for those who cannot see it.
        width: in CSS pixels, where there is room.
        dark: the drawing on a dark ground, SVG and PNG, of one that may go on slides.
    """

    name: str
    alt: str
    caption: str
    svg: str
    png: bytes
    width: int
    dark: tuple[str, bytes] | None = None


@dataclass(frozen=True)
class Figures:
    """Plots, and tables that belong to them, beside each other where the page is wide enough."""

    pictures: tuple[Picture, ...]
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Code:
    text: str


Block = Text | Bullets | Table | Figures | Code


@dataclass(frozen=True)
class Section:
    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    title: str
    lead: str
    short: tuple[str, ...]
    sections: tuple[Section, ...]

    def pictures(self) -> Iterator[Picture]:
        for section in self.sections:
            for block in section.blocks:
                if isinstance(block, Figures):
                    yield from block.pictures
