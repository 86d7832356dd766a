"""What the runs of one process share: models, data sets, and what was computed from them."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from pet_cli.base.memo import Memo
from pet_cli.config import resolve
from pet_cli.config.schema import PetConfig
from pet_cli.data import load as data
from pet_cli.data.draw import draw, draw_for_choice, draw_to_search
from pet_cli.data.examples import Split
from pet_cli.models import places

if TYPE_CHECKING:
    from pet_cli.models.base import LanguageModel
    from pet_cli.models.pairs import PairModel

_DRAWS = ("shots", "fewer", "dev_shots", "dev", "unlabeled", "max_test", "max_unlabeled")
"""Keys of `data` that choose among what was read."""


@functools.cache
def of_process(reuse: bool) -> Session:
    """The session that the runs of one command share in this process, be it the command's own or a launcher's worker.

    What is in it saves work and decides nothing: a run that finds it empty writes the same.
    """
    return Session(reuse)


class Session:
    """Loads each model once and reads each data set once.

    Args:
        reuse: whether several runs follow; a single run saves the copy of the weights that undoes a training.
        remembers: how many of the things are kept that were computed from models and data.
    """

    def __init__(self, reuse: bool = False, remembers: int = 64) -> None:
        self.reuse = reuse
        self.memo = Memo(remembers)
        self._models = Memo(size=2)  # one in use, and one to go back to; large models fill the memory
        self._data = Memo(size=8)

    def several(self) -> None:
        """Announces that a run trains several models: from now on the weights are restored between them."""
        self.reuse = True

    def language_model(self, config: PetConfig) -> LanguageModel:
        """The configuration's model, with its weights as they were loaded."""
        lm = self._model(config)
        lm.restore()
        if self.reuse:
            lm.keep_pristine()
        return lm

    def untrained(self, config: PetConfig) -> LanguageModel:
        """As `language_model`, of a model that nothing trains: no copy of its weights is kept."""
        lm = self._model(config)
        lm.restore()
        return lm

    def _model(self, config: PetConfig) -> LanguageModel:
        from pet_cli.models.loading import load

        model = config.model
        stamp = places.stamp(model.name)
        key = (model.name, stamp, model.revision, model.trust_remote_code, config.device, config.precision)
        head = resolve.uses_prompt(config)

        def make() -> LanguageModel:
            whole = cast("LanguageModel | None", self._models.known((*key, True)))
            body = None if head or whole is None else whole.body()
            return body or load(
                model.name,
                revision=model.revision,
                trust_remote_code=model.trust_remote_code,
                device=config.device,
                precision=config.precision,
                head=head,
            )

        return self._models.get((*key, head), make)

    def pair_model(self, config: PetConfig) -> PairModel:
        """The configuration's model with its head over pairs of texts, which nothing trains."""
        from pet_cli.models.loading import load_pairs

        model, stamp = config.model, places.stamp(config.model.name)
        key = (model.name, stamp, model.revision, model.trust_remote_code, config.device, config.precision, "pairs")
        return self._models.get(
            key,
            lambda: load_pairs(
                model.name,
                revision=model.revision,
                trust_remote_code=model.trust_remote_code,
                device=config.device,
                precision=config.precision,
            ),
        )

    def about_model(self, config: PetConfig) -> dict[str, Any] | None:
        """The name, type and number of parameters of the configuration's model; None where it uses none."""
        if not config.method.uses_model:
            return None
        lm = self.pair_model(config) if config.method.asks_pairs else self._model(config)
        kind, parameters = str(lm.model.config.model_type), sum(p.numel() for p in lm.model.parameters())
        return {"name": config.model.name, "kind": kind, "parameters": parameters}

    @staticmethod
    def device(config: PetConfig) -> str:
        """Where a run of the configuration computes, such as `cpu` or `cuda:0`."""
        if not config.method.uses_torch:
            return "cpu"
        from pet_cli.models.loading import pick_device

        return str(pick_device(config.device))

    def splits(self, config: PetConfig) -> dict[str, Split]:
        """The run's data: `train` and `dev` as drawn, `test` and `unlabeled` as capped (see `data.draw`).

        Raises:
            UserError: data that are missing or broken, or too few examples for `data.shots`.
        """
        return draw(config, self._loaded(config))

    def for_choice(self, config: PetConfig) -> dict[str, Split]:
        """What the rules that choose among runs look at (see `data.draw.draw_for_choice`)."""
        return draw_for_choice(config, self._loaded(config))

    def to_search(self, config: PetConfig) -> dict[str, Split]:
        """What a search for prompts may look at: `train` as a run draws it, and `unlabeled` (`data.draw_to_search`).

        What a run would score is not read.
        """
        return draw_to_search(config, self._loaded(config, scored=False))

    def _loaded(self, config: PetConfig, scored: bool = True) -> dict[str, Split]:
        labels = resolve.labels(config)
        reads = {key: value for key, value in asdict(config.data).items() if key not in _DRAWS}
        path = data.source_path(config.task, config.data)
        if path is None or path.is_dir():
            del reads["seed"], reads["test_fraction"]  # of a single file that is divided
        stamp = data.stamp(config.task, config.data, scored=scored)
        source = json.dumps([asdict(config.task), reads, labels, scored, stamp], default=str)
        return self._data.get(source, lambda: data.load(config.task, config.data, labels, scored=scored))
