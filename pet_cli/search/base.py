"""What every search is: it proposes candidates to a bench, which scores them, and may go by their scores.

search ──► Candidate ──► bench ──► Scored ──► search, … until it has no more, or the budget is spent
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pet_cli.config import resolve
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.models.base import LanguageModel
from pet_cli.prompts.template import Template, source_of
from pet_cli.verbalizers.words import parse_words

if TYPE_CHECKING:
    from pet_cli.search.bench import Bench

UNSPACED = ("zh", "ja", "th")
"""Languages that put no spaces between words."""

Words = Mapping[str, Any]
"""A verbalizer as a task's YAML writes it: label -> word, words, or words with weights."""


@dataclass(frozen=True)
class Candidate:
    """A template or a verbalizer.

    Attributes:
        written: the template's line, or the verbalizer, as a task's YAML has them.
        origin: where it comes from, for people: `p0`, or how a search made it.
        hand_written: whether it is one of the task's own, a mark beside what is found.
    """

    written: str | Words
    origin: str
    hand_written: bool = False

    def within(self, config: PetConfig) -> PetConfig:
        """A run's settings with the candidate in place of its template or its label words."""
        if isinstance(self.written, str):
            return replace(config, template=self.written)
        return replace(config, verbalizer=dict(self.written))

    def key(self, config: PetConfig) -> str:
        """Equal for candidates that are the same however they are written. Raises `UserError` for what is none."""
        if isinstance(self.written, str):
            return " ".join(source_of(Template.parse(self.written, list(config.task.fields)).parts).split())
        words = parse_words(self.written, resolve.labels(config))
        return json.dumps([sorted(own.items()) for own in words.values()], ensure_ascii=False)


@dataclass(frozen=True)
class Looked:
    """What a search may look at.

    Attributes:
        train: labeled examples, the sample that a run of the same settings learns from; empty where there are none.
        unlabeled: texts without labels; empty where there are none.
    """

    train: Split
    unlabeled: Split


class Search(ABC):
    """A way to find templates or label words.

    Args:
        what: `template` or `verbalizer`.
        config: the run's settings, whose model is prompted, whose words stand at the mask of a template that is
            tried, and whose template asks for the words that are tried.
        settings: the search's own (its dataclass in `config/search.py`).
        looked: what it may look at.
        bench: scores candidates.
    """

    def __init__(self, what: str, config: PetConfig, settings: Any, looked: Looked, bench: Bench) -> None:
        self.what = what
        self.config = config
        self.settings = settings
        self.looked = looked
        self.bench = bench

    @property
    def lm(self) -> LanguageModel:
        """The model that is prompted, with its weights as loaded."""
        return self.bench.context.session.language_model(self.config)

    @cached_property
    def words(self) -> dict[str, dict[str, float]]:
        """The run's label words: label -> word -> weight."""
        return resolve.verbalizer_words(self.config)

    @property
    def space(self) -> str:
        """What stands between words in the task's language."""
        return "" if self.config.task.language in UNSPACED else " "

    def prepare(self) -> None:  # noqa: B027
        """Loads what else it needs, before anything is scored. Raises `UserError` where that is missing."""

    @abstractmethod
    def run(self) -> None:
        """Proposes candidates to the bench until there are no more.

        Equal settings propose equal candidates in equal order, so that an interrupted search goes on. The bench ends
        it by an exception where the budget is spent; what has been scored by then counts.

        Raises:
            UserError: it lacks what it needs; the line names the key that gives it.
        """
