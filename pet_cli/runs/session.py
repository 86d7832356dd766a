"""What the runs of one process share: models, data sets, and what was computed from them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from pet_cli.base.memo import Memo
from pet_cli.config import resolve
from pet_cli.config.schema import PetConfig
from pet_cli.data import load as data
from pet_cli.data.examples import Split
from pet_cli.data.sampling import capped, k_shot
from pet_cli.errors import UserError

if TYPE_CHECKING:
    from pet_cli.models.base import LanguageModel


class Session:
    """Loads each model once and reads each data set once.

    Args:
        reuse: whether several runs follow; a single run saves the copy of the weights that undoes a training.
    """

    def __init__(self, reuse: bool = False) -> None:
        self.reuse = reuse
        self.memo = Memo()
        self._models = Memo(size=2)  # one in use, and one to go back to; large models fill the memory
        self._data = Memo(size=8)

    def several(self) -> None:
        """Announces that a run trains several models: from now on the weights are restored between them."""
        self.reuse = True

    def language_model(self, config: PetConfig) -> LanguageModel:
        """The configuration's model, with its weights as they were loaded."""
        from pet_cli.models.loading import load

        model = config.model
        key = (model.name, model.revision, model.trust_remote_code, config.device, config.precision)
        lm = self._models.get(
            key,
            lambda: load(
                model.name,
                revision=model.revision,
                trust_remote_code=model.trust_remote_code,
                device=config.device,
                precision=config.precision,
            ),
        )
        lm.restore()
        if self.reuse:
            lm.keep_pristine()
        return lm

    @staticmethod
    def device(config: PetConfig) -> str:
        """Where a run of the configuration computes, such as `cpu` or `cuda:0`."""
        if not config.method.uses_model:
            return "cpu"
        from pet_cli.models.loading import pick_device

        return str(pick_device(config.device))

    def splits(self, config: PetConfig) -> dict[str, Split]:
        """The run's data: `train` and `dev` as drawn, `test` and `unlabeled` as capped, and what was left out.

        Raises:
            UserError: data that are missing or broken, or too few examples for `data.shots`.
        """
        labels = resolve.labels(config)
        wanted = config.data
        seed = wanted.seed if wanted.path is not None and wanted.path.endswith(data.SUFFIXES) else None
        source = [
            asdict(config.task),
            wanted.path,
            wanted.fields,
            wanted.label,
            wanted.labels,
            labels,
            seed,
            wanted.test_fraction,
        ]
        splits = self._data.get(json.dumps(source, default=str), lambda: data.load(config.task, wanted, labels))
        drawn = {"test": capped(splits["test"].examples, wanted.max_test, wanted.seed)}
        if "unlabeled" in splits:
            drawn["unlabeled"] = capped(splits["unlabeled"].examples, wanted.max_unlabeled, wanted.seed)
        untrained = not resolve.trains(config)
        weighted = getattr(config.ensemble, "weights", None) in ("accuracy", "dev")
        if "train" in splits and (weighted or not untrained):
            drawn["train"], drawn["dev"] = k_shot(
                splits["train"].examples, labels, wanted.shots, wanted.seed, wanted.dev_shots, wanted.fewer == "take"
            )
        elif not untrained and wanted.shots != 0:
            raise UserError("There is no training split; a file named train is needed, or tuning=zero_shot.")
        return {name: Split(name, tuple(examples)) for name, examples in drawn.items()}
