"""A finished run's folder, read again: its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pet_cli.config.ensemble import ENSEMBLES
from pet_cli.config.method import METHODS
from pet_cli.config.schema import PetConfig
from pet_cli.config.scoring import SCORINGS
from pet_cli.config.tuning import TUNINGS
from pet_cli.errors import UserError
from pet_cli.runs import store

_NONE = {"tuning": "zero_shot", "ensemble": "none"}


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
        groups: tuple[tuple[str, Mapping[str, type]], ...] = (
            ("method", METHODS),
            ("tuning", TUNINGS),
            ("scoring", SCORINGS),
            ("ensemble", ENSEMBLES),
        )
        values["scoring"] = {"name": "words", **(values["scoring"] or {})}  # the only ones when a folder did not say so
        for group, schemas in groups:
            if group not in values and group == "method":  # a run of a version that knew prompts alone
                continue
            if group != "method" and not config.method.uses_model:  # which has neither, and so names neither
                setattr(config, group, schemas[_NONE[group]]())
                continue
            own = values[group]
            setattr(config, group, OmegaConf.to_object(OmegaConf.merge(schemas[own["name"]], own)))
    except (OmegaConfBaseException, KeyError, TypeError) as error:
        raise UserError(f"{folder}/config.yaml is damaged or of another version: {error}.") from None
    return config
