"""The template language: one line of text that turns an example into a cloze (a *pattern* in PET's words).

    {text} It was {mask}.                     fields and the mask, in any order
    {premise:strip}? | {mask}, {hypothesis:lower}   the border between segment A and B; modifiers of a field
    {soft*5} {text} {soft:"It was"} {mask}.   trainable pseudo tokens, and trainable tokens that start as words

A field may carry modifiers after a colon, separated by commas: `strip` removes its final punctuation, `lower`
lower-cases its first letter, `keep` protects it from being shortened. `{mask:strip,lower}` does so with the candidates
that an example brings, where they stand at the mask. Literal text, masks and soft tokens are
never shortened. A literal brace is doubled (`{{`), a literal bar too (`||`).

This module knows text alone: nothing here knows a tokenizer or a model.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pet_cli.errors import UserError, choices, nearest

MODIFIERS = ("strip", "lower", "keep")
_CJK_STOPS = "。，！？；：、…"


@dataclass(frozen=True)
class Text:
    """Literal text, never shortened."""

    text: str


@dataclass(frozen=True)
class Field:
    """A field of the example."""

    name: str
    strip: bool = False
    lower: bool = False
    keep: bool = False

    def value(self, fields: Mapping[str, str]) -> str:
        return _modified(fields[self.name], self.strip, self.lower)


@dataclass(frozen=True)
class Mask:
    """Where the model fills in a label word, or one of the example's own candidates, changed as a field's text is."""

    strip: bool = False
    lower: bool = False

    def candidate(self, text: str) -> str:
        return _modified(text, self.strip, self.lower)


@dataclass(frozen=True)
class Soft:
    """`count` trainable vectors, or, with `text`, one for each token of that text; `name` shares them."""

    count: int = 1
    text: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class Border:
    """The border between segment A and segment B."""


def _modified(text: str, strip: bool, lower: bool) -> str:
    text = text.strip()
    if strip:
        text = text.rstrip(string.punctuation + _CJK_STOPS + string.whitespace)
    return text[:1].lower() + text[1:] if lower else text


Part = Text | Field | Mask | Soft | Border

_SLOT = re.compile(r"\{\{|\}\}|\|\||[{}|]")
_SOFT = re.compile(r'soft(?:@(?P<name>\w+))?(?:\*(?P<count>\d+)|:\s*"(?P<text>[^"]*)")?$')


@dataclass(frozen=True)
class Template:
    """A parsed template. `source` is the line it was read from and identifies it."""

    source: str
    parts: tuple[Part, ...]

    @classmethod
    def parse(cls, source: str, fields: Sequence[str] | None = None) -> Template:
        """Reads one line; with `fields` given, every field in it must be one of them.

        Raises:
            UserError: unbalanced braces, an unknown field or modifier, no mask, more than one border.
        """
        if not isinstance(source, str):
            raise UserError(f"template={source!r}: a template is one line of text.")
        parts = tuple(_parts(source))
        template = cls(source, parts)
        if not any(isinstance(part, Mask) for part in parts):
            raise UserError(f"template '{source}' has no {{mask}}: write {{mask}} where the label word stands.")
        if sum(isinstance(part, Border) for part in parts) > 1:
            raise UserError(f"template '{source}' has more than one border '|' (a literal bar is '||').")
        if fields is not None:
            for name in template.fields:
                if name not in fields:
                    raise UserError(
                        f"template '{source}': no field '{name}'; the task's fields are {choices(fields)}."
                        + nearest(name, [*fields, "mask", "soft"])
                    )
        return template

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.name for part in self.parts if isinstance(part, Field)))

    @property
    def masks(self) -> int:
        return sum(isinstance(part, Mask) for part in self.parts)

    @property
    def soft(self) -> tuple[Soft, ...]:
        return tuple(part for part in self.parts if isinstance(part, Soft))

    def mask_without_space(self) -> bool:
        """Whether the (first) mask stands right behind a character, as in `({mask})`: its word has no space."""
        before = ""
        for part in self.parts:
            if isinstance(part, Mask):
                return bool(before) and not before[-1].isspace()
            before = part.text if isinstance(part, Text) else "" if isinstance(part, Border) else "x"
        return False


def plain_template(fields: Sequence[str]) -> str:
    """The source of the input without a cloze, for classifiers: the first field, then the rest as segment B."""
    first, *rest = (f"{{{name}}}" for name in fields)
    return first + (" | " + " ".join(rest) if rest else "")


def parse_plain(source: str) -> Template:
    """A template that needs no mask (a classifier's input)."""
    return Template(source, tuple(_parts(source)))


def _parts(source: str) -> list[Part]:
    parts: list[Part] = []
    literal = ""
    position = 0
    while position < len(source):
        match = _SLOT.search(source, position)
        if match is None:
            literal += source[position:]
            break
        literal += source[position : match.start()]
        token = match.group()
        position = match.end()
        if token in ("{{", "}}", "||"):
            literal += token[0]
        elif token == "|":
            _flush(parts, literal.rstrip())
            literal = ""
            parts.append(Border())
            position += len(source[position:]) - len(source[position:].lstrip())
        elif token == "}":
            raise UserError(f"template '{source}': unbalanced '}}' (a literal brace is doubled).")
        else:
            end = source.find("}", position)
            inside = source[position:end] if end >= 0 else ""
            if end < 0 or "{" in inside:
                raise UserError(f"template '{source}': unbalanced '{{' (a literal brace is doubled).")
            _flush(parts, literal)
            literal = ""
            parts.append(_slot(inside.strip(), source))
            position = end + 1
    _flush(parts, literal)
    return parts


def _flush(parts: list[Part], literal: str) -> None:
    if literal:
        parts.append(Text(literal))


def _slot(inside: str, source: str) -> Part:
    if inside == "mask":
        return Mask()
    if inside == "soft" or re.match(r"soft[*:@]", inside):
        match = _SOFT.match(inside)
        if match is None or match["count"] == "0":
            raise UserError(
                f"template '{source}': cannot read '{{{inside}}}'; a soft slot is {{soft}}, {{soft*20}}, "
                '{soft:"It was"} or {soft@name}.'
            )
        if match["text"] is not None and not match["text"].strip():
            raise UserError(f"template '{source}': the text of '{{{inside}}}' is empty.")
        return Soft(int(match["count"] or 1), match["text"], match["name"])
    name, _, modifiers = inside.partition(":")
    flags = [flag.strip() for flag in modifiers.split(",") if flag.strip()]
    for flag in flags:
        if flag not in MODIFIERS:
            raise UserError(
                f"template '{source}': unknown modifier '{flag}' in '{{{inside}}}'; "
                f"allowed are {choices(MODIFIERS)}.{nearest(flag, MODIFIERS)}"
            )
    if name.strip() == "mask":
        if "keep" in flags:
            raise UserError(f"template '{source}': the mask is never shortened; write {{mask}} without 'keep'.")
        return Mask(**dict.fromkeys(flags, True))
    if not re.fullmatch(r"\w+", name.strip()):
        raise UserError(f"template '{source}': cannot read '{{{inside}}}'; write {{field}} or {{mask}}.")
    return Field(name.strip(), **dict.fromkeys(flags, True))


def source_of(parts: Iterable[Part]) -> str:
    """The line that parses to these parts."""
    return "".join(map(_source_of_part, parts))


def _source_of_part(part: Part) -> str:
    if isinstance(part, Border):
        return " | "
    if isinstance(part, (Field, Mask)):
        name = part.name if isinstance(part, Field) else "mask"
        flags = ",".join(flag for flag in MODIFIERS if getattr(part, flag, False))
        return f"{{{name}:{flags}}}" if flags else f"{{{name}}}"
    if isinstance(part, Soft):
        name = "" if part.name is None else f"@{part.name}"
        return f"{{soft{name}*{part.count}}}" if part.text is None else f'{{soft{name}:"{part.text}"}}'
    return part.text.replace("{", "{{").replace("}", "}}").replace("|", "||")


def fill(template: Template, fields: Mapping[str, str], mask: str = "[MASK]", width: int = 70) -> str:
    """A template with an example's texts, as a line for people: the longest texts are cut until it fits `width`."""
    parts = [_shown(part, fields, mask) for part in template.parts]
    texts = [place for place, part in enumerate(template.parts) if isinstance(part, Field)]
    while len("".join(parts)) > width and max((len(parts[place]) for place in texts), default=0) > 8:
        longest = max(texts, key=lambda place: len(parts[place]))
        parts[longest] = parts[longest].removesuffix("…")[:-1].rstrip() + "…"
    return "".join(parts)


def _shown(part: Part, fields: Mapping[str, str], mask: str) -> str:
    if isinstance(part, Text):
        return part.text
    if isinstance(part, Field):
        return " ".join(part.value(fields).split())
    if isinstance(part, Mask):
        return mask
    if isinstance(part, Border):
        return " | "
    return part.text or f"{{{part.count} trainable}}"
