"""Methods: ways from texts to label scores. One file for each, and a line in
`config/registry.py`."""

from __future__ import annotations

from pathlib import Path

from pet_cli.config import registry
from pet_cli.config.schema import PetConfig
from pet_cli.methods.base import CHUNK, Context, Method
from pet_cli.runs.saved import saved_config


def kind_of(config: PetConfig) -> type[Method]:
    """The class of a configuration's method."""
    group = "ensemble" if config.ensemble.several else "method"
    kind: type[Method] = registry.implementation(group, getattr(config, group).name)
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


__all__ = ["CHUNK", "Context", "Method", "build", "kind_of", "load"]
