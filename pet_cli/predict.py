"""`pet predict`: labels for new texts, from a finished run."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pet_cli import config as settings
from pet_cli import results
from pet_cli.config import ENSEMBLES, TUNINGS, PetConfig
from pet_cli.data import columns_for, read_rows
from pet_cli.errors import UserError, choices, nearest
from pet_cli.files import write_jsonl
from pet_cli.show import fields_of

if TYPE_CHECKING:
    from pet_cli.tuning import Learner


def predict(run: str, file: str | None, texts: list[str] | None, output: str | None) -> int:
    """Prints or writes one JSON object for each text: predicted label and probabilities."""
    folder = Path(run)
    config = saved_config(folder)
    if texts:
        inputs = [fields_of(config, texts)]
    elif file:
        inputs = [_row(place, row, config) for place, row in read_rows(Path(file))]
    else:
        inputs = [_line(line, config) for line in sys.stdin if line.strip()]
    if not inputs:
        raise UserError("Nothing to predict: give --text, --file, or lines on standard input.")
    labels = settings.labels(config)
    rows = [
        {
            **fields,
            "predicted": labels[max(range(len(line)), key=line.__getitem__)],
            "probabilities": {label: float(f"{p:.6g}") for label, p in zip(labels, line, strict=True)},
        }
        for fields, line in zip(inputs, probabilities(folder, config, inputs), strict=True)
    ]
    if output:
        write_jsonl(Path(output), rows)
    else:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    return 0


def saved_config(folder: Path) -> PetConfig:
    """The configuration a run was made with. Raises `UserError` where the folder is none of a finished run."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; pet list runs shows the finished ones.")
    values = results.read_config(folder)
    try:
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(PetConfig), values))
        assert isinstance(config, PetConfig)
        for group, schemas in (("tuning", TUNINGS), ("ensemble", ENSEMBLES)):
            own = values[group]
            setattr(config, group, OmegaConf.to_object(OmegaConf.merge(schemas[own["name"]], own)))
    except (OmegaConfBaseException, KeyError, TypeError) as error:
        raise UserError(f"{folder}/config.yaml is damaged or of another version: {error}.") from None
    return config


def probabilities(folder: Path, config: PetConfig, inputs: Sequence[Mapping[str, str]]) -> list[list[float]]:
    """Label probabilities `[inputs][labels]` of a run: its learner's, its student's, or its members' together."""
    if (folder / "student" / "config.yaml").is_file():
        return probabilities(folder / "student", saved_config(folder / "student"), inputs)
    if config.ensemble.name == "none":
        learner = load_learner(folder, config)
        return learner.predict(learner.encode(inputs)).softmax(dim=1).tolist()
    if config.ensemble.models == "shared":
        raise UserError(
            f"{folder}: an ensemble with a shared model cannot label new texts; use ensemble.models=separate."
        )
    from pet_cli.combine import combine, confidence_weights, log_softmax

    members = results.read_json(folder / "metrics.json")["members"]
    said = []
    for member in members:
        own = folder / "members" / member["name"]
        learner = load_learner(own, saved_config(own))
        said.append(log_softmax(learner.predict(learner.encode(inputs)).numpy()))
    together = np.stack(said)
    weights = np.array([member["weight"] for member in members])
    if config.ensemble.weights == "confidence":
        weights = confidence_weights(together)
    answer: list[list[float]] = np.exp(combine(together, config.ensemble.combine, weights)).tolist()
    return answer


def load_learner(folder: Path, config: PetConfig) -> Learner:
    """The trained learner of a run's folder."""
    from pet_cli.run import build_learner
    from pet_cli.session import Session
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


def _row(place: str, row: Mapping[str, Any], config: PetConfig) -> dict[str, str]:
    fields = {}
    for ours in config.task.fields:
        wanted = columns_for(ours, config.task, config.data)
        column = next((name for name in wanted if name in row), None)
        if column is None:
            raise UserError(f"{place}: no column '{wanted[0]}'; there are {choices(row)}.{nearest(wanted[0], row)}")
        fields[ours] = str(row[column])
    return fields


def _line(line: str, config: PetConfig) -> dict[str, str]:
    """A line of standard input: the text itself, or a JSON object where the task has several fields."""
    if line.lstrip().startswith("{"):
        try:
            return _row("standard input", json.loads(line), config)
        except ValueError:
            pass
    return fields_of(config, [line.strip()])
