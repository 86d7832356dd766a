"""A finished run's folder, read again: its configuration and its trained learner."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pet_cli.config.ensemble import ENSEMBLES
from pet_cli.config.schema import PetConfig
from pet_cli.config.tuning import TUNINGS
from pet_cli.errors import UserError
from pet_cli.runs import store

if TYPE_CHECKING:
    from pet_cli.tuning import Learner


def saved_config(folder: Path) -> PetConfig:
    """The configuration a run was made with. Raises `UserError` where the folder is none of a finished run."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; pet list runs shows the finished ones.")
    values = store.read_config(folder)
    try:
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(PetConfig), values))
        assert isinstance(config, PetConfig)
        for group, schemas in (("tuning", TUNINGS), ("ensemble", ENSEMBLES)):
            own = values[group]
            setattr(config, group, OmegaConf.to_object(OmegaConf.merge(schemas[own["name"]], own)))
    except (OmegaConfBaseException, KeyError, TypeError) as error:
        raise UserError(f"{folder}/config.yaml is damaged or of another version: {error}.") from None
    return config


def load_learner(folder: Path, config: PetConfig) -> Learner:
    """The trained learner of a run's folder."""
    from pet_cli.runs.session import Session
    from pet_cli.runs.single import build_learner
    from pet_cli.tuning import LEARNERS

    if (folder / "model").is_dir():
        config.model.name, config.model.revision = str(folder / "model"), None
    elif LEARNERS[config.tuning.name].trains_model:
        raise UserError(
            f"{folder}: the trained model was not saved (in a sweep it is on request). "
            "Train again with save_model=always."
        )
    session = Session()
    learner = build_learner(config, session.language_model(config), session)
    learner.load(folder)
    return learner
