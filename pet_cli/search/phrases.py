"""A template as what edits move: words, marks and slots, each with the space before it. Text alone, no tokenizer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pet_cli.data.words import LETTERS, MARKS
from pet_cli.prompts.template import Border, Field, Mask, Part, Template, Text, source_of

_PIECE = re.compile(rf"(\s*)([\u3040-\u30ff\u3400-\u9fff]|{LETTERS}(?:['’]{LETTERS})*|[^\w\s][{MARKS}]*)")

Span = tuple[int, int]
"""A run of atoms: the place of the first, and the one behind the last."""


@dataclass(frozen=True)
class Atom:
    """A word, a punctuation mark, or a slot.

    Attributes:
        source: as the template language has it, without the space before it.
        lead: the space before it.
        part: the slot; None for literal text.
    """

    source: str
    lead: str
    part: Part | None = None

    @property
    def is_word(self) -> bool:
        return self.part is None and self.source[:1].isalnum()


def atoms(template: Template) -> tuple[Atom, ...]:
    """A template in its atoms."""
    out: list[Atom] = []
    lead = ""
    for part in template.parts:
        if not isinstance(part, Text):
            plain = source_of([part])
            out.append(Atom(plain.strip(), " " if isinstance(part, Border) else lead, part))
            lead = " " if isinstance(part, Border) else ""
            continue
        end = 0
        for match in _PIECE.finditer(part.text):
            out.append(Atom(source_of([Text(match[2])]), lead or match[1]))
            lead, end = "", match.end()
        lead = part.text[end:] or lead
    return tuple(out)


def line(some: Sequence[Atom]) -> str:
    """The line of a template that reads as these atoms."""
    return "".join(f"{atom.lead}{atom.source}" for atom in some).strip()


def phrases(some: Sequence[Atom], longest: int) -> list[Span]:
    """Runs of up to `longest` atoms of literal text."""
    out = []
    for first in range(len(some)):
        for last in range(first + 1, min(first + longest, len(some)) + 1):
            if some[last - 1].part is not None:
                break
            out.append((first, last))
    return out


def boundaries(some: Sequence[Atom]) -> list[int]:
    """Places in front of which a phrase can be added: those of literal text and of the mask."""
    return [place for place, atom in enumerate(some) if atom.part is None or isinstance(atom.part, Mask)]


def deleted(some: Sequence[Atom], span: Span) -> str:
    """The template without a phrase; what follows takes the space before it."""
    first, last = span
    rest = list(some[last:])
    if rest and rest[0].part is not None and not isinstance(rest[0].part, Border):
        rest[0] = replace(rest[0], lead=rest[0].lead or some[first].lead)
    return line([*some[:first], *rest])


def added(some: Sequence[Atom], place: int, phrase: str, space: str) -> str:
    """The template with a phrase in front of the atom at a place."""
    here = some[place]
    is_mark = not phrase[:1].isalnum() and not phrase.startswith("{")
    before = Atom(phrase, "" if is_mark else here.lead or (space if place else ""))
    after = replace(here, lead=here.lead if here.lead or (here.part is None and not here.is_word) else space)
    return line([*some[:place], before, after, *some[place + 1 :]])


def substituted(some: Sequence[Atom], place: int, word: str) -> str:
    """The template with another word in place of one."""
    return line([*some[:place], Atom(word, some[place].lead), *some[place + 1 :]])


def swapped(some: Sequence[Atom], one: Span, other: Span) -> str:
    """The template with two phrases in each other's places, the first before the second; spaces stay where they are."""
    (a, b), (c, d) = one, other
    first, second = list(some[a:b]), list(some[c:d])
    first[0], second[0] = replace(first[0], lead=some[c].lead), replace(second[0], lead=some[a].lead)
    return line([*some[:a], *second, *some[b:c], *first, *some[d:]])


def turned(some: Sequence[Atom], space: str) -> Iterator[str]:
    """The cloze in front of the texts where it stood behind them, or the other way round; none where it is between, or
    where there are no texts."""
    fields = [place for place, atom in enumerate(some) if isinstance(atom.part, Field)]
    if not fields:
        return
    mask = next(place for place, atom in enumerate(some) if isinstance(atom.part, Mask))
    own = [atom for atom in some if not isinstance(atom.part, Border)]
    first, last = own.index(some[fields[0]]), own.index(some[fields[-1]]) + 1
    texts, before, behind = line(own[first:last]), line(own[:first]), line(own[last:])
    if mask > fields[-1]:
        yield space.join(part for part in (before, behind, texts) if part)
    elif mask < fields[0]:
        yield space.join(part for part in (texts, before, behind) if part)


def gap(some: Sequence[Atom], first: int, last: int, word: str, space: str) -> str:
    """A template that asks for what may stand in place of `some[first:last]`, with a word where its mask was."""
    filled = [replace(atom, source=word, part=None) if isinstance(atom.part, Mask) else atom for atom in some]
    if first < last:
        return line([*filled[:first], Atom("{mask}", some[first].lead), *filled[last:]])
    return added(filled, first, "{mask}", space)
