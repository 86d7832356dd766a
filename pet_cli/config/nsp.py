"""What follows from the settings of `method=nsp`: which sentence stands second, and which relation a label is."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Mapping

from pet_cli.config.method import RELATIONS, NspSettings
from pet_cli.config.resolve import input_template, labels, prompt_template, verbalizer_words
from pet_cli.config.schema import PetConfig
from pet_cli.errors import UserError, choices, not_allowed
from pet_cli.prompts.template import Border, Field, Mask, Part, Template, Text, source_of

_CLOSING = ("Po", "Pe", "Pf", "Pd")
"""Kinds of punctuation, of any language, that belong to what stands before them."""


def check(config: PetConfig) -> None:
    """Raises `UserError` for settings that do not go with the task."""
    if asks_labels(config):
        verbalizer_words(config)
        bordered(prompt_template(config))
    else:
        relations(config)
        if len(config.task.fields) < 2:
            raise UserError(
                f"method.second=field: task '{config.task.name}' has one field; method.second=labels asks its labels' "
                "words as second sentences."
            )
    prior(config)


def asks_labels(config: PetConfig) -> bool:
    """Whether each label's words stand as second sentences; else the task's second field does."""
    settings: NspSettings = config.method
    if settings.second is not None:
        return settings.second == "labels"
    return settings.relations is None and not all(_by_name(label) for label in labels(config))


def asked(config: PetConfig) -> Template:
    """What is read: the template with its border, a label's word at its mask, or the task's two sentences."""
    return bordered(prompt_template(config)) if asks_labels(config) else input_template(config)


def relations(config: PetConfig) -> dict[str, tuple[str, ...]]:
    """label -> its relations. Raises `UserError` for a label without any, or a relation that is unknown or of two."""
    settings: NspSettings = config.method
    given = settings.relations
    names = labels(config)
    if given is None:
        found = {label: _by_name(label) for label in names}
    elif isinstance(given, Mapping):
        for label in given:
            if str(label) not in names:
                raise not_allowed("method.relations", label, names)
        found = {str(label): _several(own) for label, own in given.items()}
    else:
        raise UserError(f"method.relations={given}: write label: relation, such as '{{same: entailment}}'.")
    owner: dict[str, str] = {}
    for label in names:
        for relation in found.get(label, ()):
            if relation not in RELATIONS:
                raise not_allowed(f"method.relations.{label}", relation, RELATIONS)
            if owner.setdefault(relation, label) != label:
                raise UserError(f"method.relations: {relation} stands for both '{owner[relation]}' and '{label}'.")
        if not found.get(label):
            raise UserError(
                f"method.relations: label '{label}' has none; give {choices(RELATIONS)}, or method.second=labels asks "
                "its words."
            )
    return {label: found[label] for label in names}


def _several(own: object) -> tuple[str, ...]:
    return tuple(map(str, own)) if isinstance(own, (list, tuple)) else (str(own),)


def _by_name(label: str) -> tuple[str, ...]:
    """The relations that a label's name says: its own, or all but the one behind `not_`."""
    name = label.lower().replace(" ", "_").replace("-", "_")
    if name in RELATIONS:
        return (name,)
    other = name.removeprefix("not_")
    return tuple(one for one in RELATIONS if one != other) if other in RELATIONS else ()


def prior(config: PetConfig) -> tuple[str, float] | None:
    """A label and its share, at which the scores are cut; None where the model decides. Raises `UserError`."""
    given, names = config.method.prior, labels(config)
    if given is None:
        return None
    if not isinstance(given, Mapping) or len(given) != 1:
        raise UserError(f"method.prior={given}: write one label and its share, such as '{{{names[0]}: 0.5}}'.")
    [(label, share)] = given.items()
    if str(label) not in names:
        raise not_allowed("method.prior", label, names)
    if len(names) != 2:
        raise UserError(f"method.prior: only for two labels; task '{config.task.name}' has {len(names)}.")
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        raise UserError(f"method.prior.{label}={share}: must be above 0 and below 1.")
    return str(label), float(share)


def bordered(template: Template) -> Template:
    """The template with its border: where it has none, it stands between the fields and what the mask belongs to.

    Raises:
        UserError: trainable tokens, of which this method has none.
    """
    if template.soft:
        raise UserError(f"template '{template.source}': method=nsp trains no pseudo tokens; leave them out.")
    if any(isinstance(part, Border) for part in template.parts):
        return template
    parts = list(template.parts)
    mask = next(place for place, part in enumerate(parts) if isinstance(part, Mask))
    before = [place for place, part in enumerate(parts[:mask]) if isinstance(part, Field)]
    if before:  # what stands behind the field is the second sentence
        first, second = parts[: before[-1] + 1], parts[before[-1] + 1 :]
    else:
        field = next((place for place, part in enumerate(parts) if isinstance(part, Field)), len(parts))
        first, second = parts[:field], parts[field:]
    if second and isinstance(part := second[0], Text):  # punctuation stays with the field
        signs = {sign for sign in part.text if sign in string.punctuation or unicodedata.category(sign) in _CLOSING}
        rest = part.text.lstrip("".join(signs)) if before else part.text
        first, second = [*first, Text(part.text[: len(part.text) - len(rest)])], [Text(rest), *second[1:]]
    whole: list[Part] = [*_stripped(first, -1), Border(), *_stripped(second, 0)]
    return Template(source_of(whole), tuple(whole))


def _stripped(parts: list[Part], end: int) -> list[Part]:
    """The parts without the space at one end."""
    if parts and isinstance(part := parts[end], Text):
        parts = list(parts)
        parts[end] = Text(part.text.lstrip() if end == 0 else part.text.rstrip())
    return [part for part in parts if not isinstance(part, Text) or part.text]


def filled(template: Template, word: str) -> Template:
    """The template with a word at its mask, as the word itself."""
    parts = tuple(Text(word) if isinstance(part, Mask) else part for part in template.parts)
    return Template(source_of(parts), parts)
