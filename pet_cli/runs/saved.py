"""A finished run's folder, read again: its configuration, and whether it kept its model."""

from __future__ import annotations

from pathlib import Path

from pet_cli.config import registry
from pet_cli.config.build import typed
from pet_cli.config.schema import PetConfig
from pet_cli.errors import UserError, choices
from pet_cli.runs import store

_NONE = {"tuning": "zero_shot", "ensemble": "none"}
"""What a run that tunes no language model does not name, since it has none."""


def saved_config(folder: Path) -> PetConfig:
    """The configuration a run was made with. Raises `UserError` where the folder is none of a finished run."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; pet list runs shows the finished ones.")
    below = sorted(path.parent for path in folder.glob("*/config.yaml"))
    if below and not (folder / "config.yaml").is_file():
        raise UserError(f"{folder} holds several runs; give one of them: {choices(below, 3)}.")
    values = store.read_config(folder)
    if runs := store.combined_of(values):
        raise UserError(f"{folder} holds what pet ensemble made of other runs; give one of them: {choices(runs, 3)}.")
    try:
        values = {"method": {"name": "prompt"}, **values}  # all there was where a run's folder does not say so
        values["scoring"] = {"name": "words", **values.get("scoring", {})}
        if not registry.settings_class("method", values["method"]["name"]).tunes:
            values |= {group: {"name": name} for group, name in _NONE.items()}
        return typed(values)
    except (UserError, KeyError, TypeError) as error:
        raise UserError(f"{folder}/config.yaml is damaged or of another version: {error}") from None


def lacks_model(folder: Path, config: PetConfig) -> bool:
    """Whether `save_model=always` asks for a trained language model that a finished run did not keep."""
    ensemble = config.ensemble
    tuning = ensemble.student_tuning if ensemble.distils else config.tuning
    changes_model = tuning.changes_model if config.method.tunes else config.method.changes_model
    if config.save_model != "always" or not changes_model:
        return False
    if ensemble.distils:
        places = [folder / "student"]
    elif ensemble.several and ensemble.models == "separate":
        places = sorted((folder / "members").glob("*"))
    else:
        places = [folder]
    return not all((place / "model").is_dir() for place in places)
