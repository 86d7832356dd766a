"""From Hydra's composition to a checked configuration, and from its errors to lines a user can act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
    SearchPathException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from pet_cli.commands.overrides import prepare
from pet_cli.config import files as conf_files
from pet_cli.config.checks import check
from pet_cli.config.ensemble import ENSEMBLES
from pet_cli.config.method import METHODS
from pet_cli.config.schema import PetConfig
from pet_cli.config.scoring import SCORINGS
from pet_cli.config.tuning import TUNINGS
from pet_cli.errors import UserError, choices, nearest, not_allowed

ConfigStore.instance().store(name="schema", node=PetConfig)


def compose(overrides: Sequence[str], config_dir: str | None = None) -> PetConfig:
    """The checked configuration of `overrides`, without running anything."""
    flags = [argument for argument in overrides if argument.startswith("-")]
    if flags:
        raise UserError(f"{flags[0]}: unknown flag.")
    search = [f"hydra.searchpath=[file://{Path(config_dir).absolute()}]"] if config_dir else []
    try:
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_files.conf_dir())):
            return typed(hydra.compose("train", overrides=[*search, *prepare(overrides)]))
    except Exception as error:
        raise (translate(error) or error) from None


def typed(cfg: DictConfig) -> PetConfig:
    """A composed configuration as checked plain dataclasses. Raises `UserError`."""
    try:
        values = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        # Once more over the schema: `+key=value` may have added what nobody reads.
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(PetConfig), values))
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key or error.key}: a value is needed.") from None
    except OmegaConfBaseException as error:
        raise _bad_key_or_value(error) from None
    assert isinstance(config, PetConfig)
    config.method = _typed_group("method", config.method, METHODS)
    config.tuning = _typed_group("tuning", config.tuning, TUNINGS)
    config.scoring = _typed_group("scoring", config.scoring, SCORINGS)
    config.ensemble = _typed_group("ensemble", config.ensemble, ENSEMBLES)
    check(config)
    return config


def _typed_group(group: str, values: Any, schemas: Mapping[str, type]) -> Any:
    if not isinstance(values, dict) or values.get("name") not in schemas:
        given = values.get("name") if isinstance(values, dict) else values
        raise not_allowed(group, given, schemas)
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schemas[values["name"]]), values))
    except OmegaConfBaseException as error:
        raise UserError(f"{group}.{error.full_key or error.key}: {first_line(error)}") from None


def translate(error: Exception) -> UserError | None:
    """A user's mistake in Hydra's words, in ours; None for an error that is not the user's."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, OSError) and error.filename is not None:
        return UserError(f"{error.filename}: {error.strerror}.")
    if isinstance(error, MissingConfigException):
        missing = str(error.missing_cfg_file or "")
        group, _, name = missing.rpartition("/")
        options = [option for option in (error.options or []) if option != "schema"]
        if group and options:
            return not_allowed(group, name, options)
        return UserError(f"No config '{missing}'.{nearest(missing, options)}")
    if isinstance(error, OverrideParseException):
        return UserError(f"Cannot read '{error.override}'. A value with spaces, commas or braces needs quotes.")
    if isinstance(error, SearchPathException):
        return UserError(f"--config-dir: {first_line(error)}")
    if isinstance(error, yaml.YAMLError):
        return UserError(f"A config file is not valid YAML: {' '.join(str(error).split())}")
    cause = error.__cause__ if isinstance(error, ConfigCompositionException) else error
    if isinstance(cause, OmegaConfBaseException):
        return _bad_key_or_value(cause)
    if isinstance(error, (HydraException, ConfigCompositionException)):
        text = first_line(error)
        if "Ambiguous value" in text:
            key = text.partition("'")[2].partition("'")[0] or text
            return UserError(f"{key}: several values are a sweep; add -m (or write [a,b] for a list).")
        if "You must specify" in text or "Could not override" in text:
            return UserError(" ".join(str(error).split()))
        return UserError(" ".join(str(error).split())[:300])
    if isinstance(error, ValueError) and "hydra" in str(error.__traceback__ and _last_module(error)):
        return UserError(first_line(error))
    return None


def _bad_key_or_value(error: OmegaConfBaseException) -> UserError:
    key = str(error.full_key or f"{error.key!s}")
    text = first_line(error)
    if "is not in struct" in text or "not in '" in text or "Key '" in text:
        known: list[str] = _keys(OmegaConf.structured(PetConfig))
        for group in ("method", "tuning", "scoring", "ensemble"):
            for name in conf_files.options(group):
                known += [f"{group}.{own}" for own in conf_files.read(group, name)]
        parent = key.rpartition(".")[0]
        if key in known:
            modes = [
                name for name in conf_files.options(parent) if key.rpartition(".")[2] in conf_files.read(parent, name)
            ]
            return UserError(f"Unknown key '{key}' in this mode; it belongs to {parent}={choices(modes)}.")
        here = [k for k in known if k.rpartition(".")[0] == parent] or known
        if parent and isinstance(error.parent_node, DictConfig):  # the mode that was chosen, not all of them
            here = [f"{parent}.{own!s}" for own in error.parent_node]
        close = nearest(key, here if parent else known)
        return UserError(f"Unknown key '{key}'; there are {choices(sorted(set(here)), 20)}.{close}")
    return UserError(f"{key}: {text}")


def _keys(node: DictConfig, prefix: str = "") -> list[str]:
    found: list[str] = []
    for key in map(str, node):
        child = node._get_node(key)
        found.append(f"{prefix}{key}")
        if isinstance(child, DictConfig) and not child._is_none():
            found += _keys(child, f"{prefix}{key}.")
    return found


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _last_module(error: BaseException) -> str:
    trace = error.__traceback__
    name = ""
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__", "")
        trace = trace.tb_next
    return name
