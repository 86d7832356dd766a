"""Templates as words, marks and slots, and what edits make of them."""

from __future__ import annotations

import pytest

from pet_cli.prompts.template import Template
from pet_cli.search import phrases as of

LINES = (
    "{text} It was {mask}.",
    "{text} | All in all, ({mask}).",
    "{mask}: {title} {body:strip}",
    '"{a:strip}"? | {mask}, "{b}"',
    "{text}很{mask}。",
    "A || b {{c}} {text} {mask}",
)


def atoms(line: str) -> tuple[of.Atom, ...]:
    return of.atoms(Template.parse(line))


@pytest.mark.parametrize("line", LINES)
def test_a_line_reads_as_its_atoms(line: str) -> None:
    assert of.line(atoms(line)) == line


def test_phrases_hold_no_slot() -> None:
    some = atoms("{text} It was {mask}. Yes!")
    assert [of.line(some[first:last]) for first, last in of.phrases(some, 2)] == [
        *("It", "It was", "was"),
        *(".", ". Yes", "Yes", "Yes!", "!"),
    ]


@pytest.mark.parametrize(
    ("line", "span", "expected"),
    [
        ("{text} It was {mask}.", (1, 3), "{text} {mask}."),
        ("It was {mask}. {text}", (0, 2), "{mask}. {text}"),
        ("{text} ({mask})", (1, 2), "{text} {mask})"),
        ("{text} It was {mask}.", (4, 5), "{text} It was {mask}"),
    ],
)
def test_delete(line: str, span: of.Span, expected: str) -> None:
    assert of.deleted(atoms(line), span) == expected


@pytest.mark.parametrize(
    ("line", "place", "phrase", "expected"),
    [
        ("{text} It was {mask}.", 3, "really", "{text} It was really {mask}."),
        ("{text} It was {mask}.", 4, "indeed", "{text} It was {mask} indeed."),
        ("{mask}. {text}", 0, "Just", "Just {mask}. {text}"),
        ("{text} It was {mask}.", 3, "{mask}", "{text} It was {mask} {mask}."),
        ("{text}很{mask}。", 2, "真", "{text}很真{mask}。"),
    ],
)
def test_add(line: str, place: int, phrase: str, expected: str) -> None:
    space = "" if "很" in line else " "
    assert of.added(atoms(line), place, phrase, space) == expected


def test_swap_and_substitute() -> None:
    some = atoms("{text} It was {mask}, all told.")
    assert of.swapped(some, (1, 3), (5, 7)) == "{text} all told {mask}, It was."
    assert of.substituted(some, 2, "is") == "{text} It is {mask}, all told."


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{text} It was {mask}.", ["It was {mask}. {text}"]),
        ("{text} | It was {mask}.", ["It was {mask}. {text}"]),
        ("{mask}: {a} {b}", ["{a} {b} {mask}:"]),
        ("{a}? {mask}, {b}", []),
        ("It was {mask}.", []),
    ],
)
def test_the_cloze_turns_round_the_texts(line: str, expected: list[str]) -> None:
    assert list(of.turned(atoms(line), " ")) == expected


def test_a_gap_asks_for_a_word_where_the_labels_own_stands_at_the_mask() -> None:
    some = atoms("{text} It was {mask}.")
    assert of.gap(some, 2, 3, "good", " ") == "{text} It {mask} good."
    assert of.gap(some, 3, 3, "good", " ") == "{text} It was {mask} good."
