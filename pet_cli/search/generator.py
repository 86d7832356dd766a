"""The model that writes templates, beside the one that is prompted with them (`search.generator`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from pet_cli.config import files, resolve
from pet_cli.config.schema import PetConfig
from pet_cli.config.search import generator_model
from pet_cli.data.examples import Split
from pet_cli.errors import UserError, nearest
from pet_cli.models.base import LanguageModel
from pet_cli.models.generative import ROOM
from pet_cli.runs.session import Session

_NO_TEXT = {"{", "}", "|", "\ufffd"}
_SENTINEL = "<extra_id_"
"""What begins a T5's sentinels, which in mT5 are no special tokens."""

Read = list[tuple[int, int]]
"""The examples that a generator reads: the place of each, and the number of its label."""

Family = TypeVar("Family", bound=LanguageModel)


def load_generator(given: Any, config: PetConfig, session: Session, family: type[Family], wanted: str) -> Family:
    """The generator, on the run's device.

    Args:
        given: `search.generator`, as `generator_model` takes it.
        family: the class that it must be of; `wanted` says so in words.

    Raises:
        UserError: it cannot be loaded, or is of another family.
    """
    model, known = generator_model(given), files.options("model")
    name = given if isinstance(given, str) else model.name
    try:
        lm = session.untrained(replace(config, model=model))
    except UserError as error:
        place = name if model.name == name else f"{name}: {model.name}"
        told = str(error)
        for key in ("model.name", "model"):
            told = told.replace(f"{key}={model.name}", f"search.generator={place}", 1)
        told, _, _ = told.partition(" Give a local folder")  # whose key is another one
        raise UserError(told + ("" if name in known else nearest(name, known))) from None
    if not isinstance(lm, family):
        raise UserError(f"search.generator={name}: a model of the family {lm.family}; {wanted}.")
    return lm


def shared_out(config: PetConfig, split: Split, most: int | None) -> Read:
    """At most so many examples, evenly of each label.

    Of a number the two labels are its low and its high half; an example of several labels counts for each of them.
    """
    strata = list(resolve.target(config).strata(split.gold).values())
    own = max(map(len, strata)) if most is None else max(1, most // len(strata))
    return [(place, label) for label, places in enumerate(strata) for place in places[:own]]


def longest_input(config: PetConfig, lm: LanguageModel, written: int) -> int:
    """The most tokens that a generator reads of a text, so that there is room for so many that it writes behind it."""
    return min(config.trainer.max_length or 256, lm.positions - max(0, written - ROOM))


def writable(tokenizer: Any, size: int) -> Tensor:
    """Which of a model's `size` tokens may stand in a template, boolean: none that is special or no text of its own,
    and none with what means something else there, braces, bars and ends of lines."""
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    allowed = torch.zeros(size, dtype=torch.bool)
    for token, text in enumerate(texts[:size]):
        plain = text.strip() and text.isprintable() and not set(text) & _NO_TEXT and _SENTINEL not in text
        allowed[token] = bool(plain) and token not in special
    return allowed


def continuation(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of tokens behind other text, with the space before it if it has one."""
    before = tokenizer("a", add_special_tokens=False)["input_ids"]
    own = {"clean_up_tokenization_spaces": False}
    return str(tokenizer.decode([*before, *ids], **own)).removeprefix(str(tokenizer.decode(before, **own)))
