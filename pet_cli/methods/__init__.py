"""Methods: ways from texts to label scores. One file for each, found by the name of its config."""

from __future__ import annotations

import importlib
from pathlib import Path

from pet_cli.config.schema import PetConfig
from pet_cli.methods.base import CHUNK, Context, Method
from pet_cli.runs.saved import saved_config

METHODS = {
    "prompt": "pet_cli.methods.prompted:PromptMethod",
    "tfidf": "pet_cli.methods.tfidf:TfidfMethod",
}
"""`method=NAME` -> where its class stands; imported when it is asked for, since most need torch."""

_COMBINED = {
    "patterns": "pet_cli.ensembles.method:EnsembleMethod",
    "pvps": "pet_cli.ensembles.method:EnsembleMethod",
    "pet": "pet_cli.ensembles.method:PetMethod",
    "ipet": "pet_cli.ensembles.method:PetMethod",
}


def kind_of(config: PetConfig) -> type[Method]:
    """The class of a configuration's method."""
    place = _COMBINED.get(config.ensemble.name) or METHODS[config.method.name]
    module, _, name = place.partition(":")
    kind: type[Method] = getattr(importlib.import_module(module), name)
    return kind


def build(config: PetConfig, context: Context | None = None) -> Method:
    """The method that a configuration asks for, not yet fitted."""
    return kind_of(config).build(config, context or Context())


def load(folder: Path, context: Context | None = None) -> Method:
    """The method that a finished run fitted, of any kind.

    Raises:
        UserError: no finished run, one of another version, or one whose model was not saved.
    """
    config = saved_config(folder)
    return kind_of(config).load(folder, config, context or Context())


__all__ = ["CHUNK", "METHODS", "Context", "Method", "build", "kind_of", "load"]
