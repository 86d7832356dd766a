"""The settings of the searches for prompts (`search=`), one dataclass each. The defaults stand in `conf/search`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pet_cli.config import files, registry
from pet_cli.config.bounds import Settings, bounded, one_of
from pet_cli.config.demonstrations import check_none
from pet_cli.config.schema import ModelConfig, PetConfig
from pet_cli.errors import UserError, choices
from pet_cli.verbalizers.words import read_words

WHAT = ("template", "verbalizer")
"""What can be searched for: templates, or label words."""

BUDGET = ("minutes", "steps", "candidates", "finalists", "tuned", "keep")
"""Keys that say how far a search goes, not what a candidate is worth: with more of them it goes on in its folder."""


@dataclass(kw_only=True)
class Search(Settings):
    """What every search says."""

    finds: ClassVar[tuple[str, ...]] = ("template",)
    """Of `WHAT` what it can find."""
    needs_labels: ClassVar[bool] = False
    """Whether it learns from labeled examples, and not only ranks by them."""
    reads: ClassVar[tuple[str, ...]] = ()
    """Its keys that name files or folders, whose contents decide what it finds."""

    name: str
    minutes: float | None = bounded(0, 10_000, above=True, null="sets no limit")
    candidates: int | None = bounded(1, null="scores all")
    finalists: int = bounded(1)
    folds: int = bounded(2)
    tuned: int = bounded(0)
    keep: int = bounded(1)
    texts: int = bounded(2)

    @property
    def ends(self) -> bool:
        """Whether it comes to an end without a budget."""
        return True

    @property
    def models(self) -> tuple[str, ...]:
        """The models that it asks beside the one that is prompted, as `model.name` names them."""
        return ()

    def check_run(self, what: str, config: PetConfig) -> None:
        """Raises `UserError` where the search does not go with what is wanted, or with the run's settings."""
        if what not in self.finds:
            others = [name for name in registry.SEARCHES if what in registry.settings_class("search", name).finds]
            raise UserError(
                f"search={self.name} finds a {self.finds[0]}, pet search {self.finds[0]}; a {what} is found by "
                f"search={choices(others)}."
            )
        if self.minutes is None and not self.ends:
            raise UserError(f"search={self.name} has no end of its own: give search.minutes or search.steps.")
        if not config.method.tunes or not config.tuning.uses_prompt:
            key = "method" if not config.method.tunes else "tuning"
            raise UserError(f"{key}={getattr(config, key).name}: it has no prompt to search for.")
        check_none(config, "a search scores prompts without demonstrations")
        if config.ensemble.several:
            raise UserError(f"ensemble={config.ensemble.name}: prompts are searched for one at a time; leave it out.")
        if config.task.target == "choice":
            raise UserError(
                "task.target=choice: the examples bring their own candidates; nothing is searched for them."
            )
        if self.needs_labels and config.data.shots == 0:
            raise UserError(f"search={self.name} learns from labeled examples: data.shots must be at least 1.")


@dataclass(kw_only=True)
class RulesSearch(Search):
    """Templates written from field names, kind of task and label words."""


@dataclass(kw_only=True)
class MiningSearch(Search):
    """Contexts between text and label words, in unlabeled text or a corpus."""

    reads = ("corpus",)

    corpus: str | None
    contexts: int = bounded(1)
    longest: int = bounded(1, 20)


@dataclass(kw_only=True)
class EditsSearch(Search):
    """Edits of a hand-written template."""

    steps: int | None = bounded(1, null="goes on until nothing has got better for a while")
    samples: int = bounded(1)
    width: int = bounded(1)
    fill: int = bounded(0)
    patience: int = bounded(1)

    @property
    def ends(self) -> bool:
        return self.steps is not None


@dataclass(kw_only=True)
class ParaphraseSearch(Search):
    """The hand-written templates in other words."""

    fill: int = bounded(1)
    changes: int = bounded(1)


@dataclass(kw_only=True)
class GradientSearch(Search):
    """Trigger tokens by the gradient of the training examples' loss."""

    needs_labels = True

    start: str = one_of("mask", "template")
    triggers: int = bounded(1, 20)
    steps: int | None = bounded(1, null="goes on until no flip is better")
    samples: int = bounded(1)


@dataclass(kw_only=True)
class GeneratorSearch(Search):
    """What searches say that let another model write templates."""

    needs_labels = True

    generator: Any  # what `generator_model` takes, or None
    examples: int | None = bounded(1, null="reads all")
    width: int = bounded(1, 1000)
    longest: int = bounded(1, 100)

    @property
    def models(self) -> tuple[str, ...]:
        return (generator_model(self.generator).name,) if self.generator else ()

    def check(self, key: str = "") -> None:
        super().check(key)
        if self.generator is not None:
            generator_model(self.generator)

    def check_run(self, what: str, config: PetConfig) -> None:
        super().check_run(what, config)
        if self.generator is None and what == "template":
            raise UserError(
                f"search.generator=null: search={self.name} lets another model write the templates; name a file of "
                "conf/model, such as t5_tiny or smollm2, a folder, or a model of the hub."
            )


@dataclass(kw_only=True)
class LmbffSearch(GeneratorSearch):
    """What a T5 writes between texts and label words; of label words, those that answer the examples best together."""

    finds = WHAT
    reads = ("words",)

    words: str | None
    top: int = bounded(1)
    assignments: int = bounded(1)

    def check_run(self, what: str, config: PetConfig) -> None:
        super().check_run(what, config)
        if self.words is not None:
            read_words(Path(self.words).expanduser(), "search.words")


@dataclass(kw_only=True)
class LmSearch(GeneratorSearch):
    """What a decoder-only model writes between texts and label words."""


def generator_model(given: Any) -> ModelConfig:
    """The model of `search.generator`: that of a file of `conf/model`, what `model.name` would mean by it, or what such
    a file holds, as a mapping. Raises `UserError` for anything else."""
    from pet_cli.config.build import option  # which reads these settings

    if isinstance(given, str):
        known = given in files.options("model") and given != "custom"
        found: ModelConfig = option("model", given) if known else option("model", "custom", name=given)
    elif isinstance(given, Mapping):
        try:
            found = option("model", "custom", **given)
        except UserError as error:
            raise UserError(f"search.generator: {error}") from None
    else:
        raise UserError(f"search.generator={given}: must be a file of conf/model, a folder, or a model of the hub.")
    return found


@dataclass(kw_only=True)
class LabelWordsSearch(Search):
    """What all searches for label words say."""

    finds = ("verbalizer",)
    reads = ("words",)

    words: str | None
    sizes: list[int]

    def check_run(self, what: str, config: PetConfig) -> None:
        super().check_run(what, config)
        if not self.sizes or min(self.sizes) < 1:
            raise UserError(f"search.sizes={self.sizes}: must be whole numbers from 1, such as [1,3,5,10].")
        if self.words is not None:
            read_words(Path(self.words).expanduser(), "search.words")


@dataclass(kw_only=True)
class PetalSearch(LabelWordsSearch):
    """Words by their likelihood ratio on the training examples."""

    needs_labels = True

    common: int | None = bounded(1, null="takes all")
    likely: int = bounded(1)


@dataclass(kw_only=True)
class AmulapSearch(LabelWordsSearch):
    """The likeliest words on each label's training examples."""

    needs_labels = True


@dataclass(kw_only=True)
class NppromptSearch(LabelWordsSearch):
    """Neighbours of the labels' names among the model's word embeddings."""

    names: str = one_of("labels", "verbalizer")


@dataclass(kw_only=True)
class KptSearch(NppromptSearch):
    """A larger set of words, of which the frequent and relevant ones are kept."""

    neighbours: int = bounded(1)
    support: int = bounded(2)
    rare: float = bounded(0, 1, below=True)
