"""Whether the models of a sweep know its label words, asked of their tokenizers before the first run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pet_cli.config import registry, resolve
from pet_cli.config.schema import PetConfig
from pet_cli.errors import UserError


def check_words(configs: Sequence[PetConfig]) -> None:
    """Raises `UserError` for label words that a model cannot take.

    Each model's tokenizer is loaded once, and none that is not on this machine.
    """
    from pet_cli.models.loading import tokenized
    from pet_cli.tuning.at_mask import label_answers

    known: dict[tuple[Any, ...], Any] = {}
    for one in dict.fromkeys(_Asked(prompt) for config in configs for prompt in _prompts(config)):
        key = (one.model.name, one.model.revision, one.model.trust_remote_code)
        if key not in known:
            known[key] = tokenized(*key)
        if known[key] is None:
            continue
        verbalizer = registry.implementation("scoring", one.scoring.name)(one.words, one.scoring)
        try:
            label_answers(known[key], verbalizer, one.mask_without_space)
        except UserError as error:
            raise UserError(f"model.name={one.model.name}: {error}") from None


class _Asked:
    """What of a configuration decides how its label words become tokens; equal where all of it is."""

    def __init__(self, config: PetConfig) -> None:
        self.model, self.scoring = config.model, config.scoring
        self.words = resolve.verbalizer_words(config)
        self.mask_without_space = resolve.prompt_template(config).mask_without_space()
        self.key = repr((self.model, self.scoring, self.words, self.mask_without_space))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Asked) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def _prompts(config: PetConfig) -> Iterator[PetConfig]:
    """The configurations of single prompts with label words that a run asks."""
    if not resolve.uses_prompt(config) or config.task.target == "choice":
        return
    if not config.ensemble.several:
        yield config
        return
    for pattern, verbalizer in resolve.pvps(config):
        yield resolve.member_config(config, pattern, verbalizer)
