"""From Hydra's composition to a checked configuration, and from its errors to lines a user can act on."""

from __future__ import annotations

from collections.abc import Sequence

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
from pet_cli.config import registry
from pet_cli.config.build import typed as typed_values
from pet_cli.config.checks import check
from pet_cli.config.schema import PetConfig
from pet_cli.errors import UserError, choices, nearest, not_allowed

_store = ConfigStore.instance()
_store.store(name="schema", node=PetConfig)
for _group, _kinds in registry.KINDS.items():
    for _name in _kinds:
        _store.store(group=_group, name=f"{conf_files.SCHEMA}_{_name}", node=registry.settings_class(_group, _name))


def compose(overrides: Sequence[str], config_dir: str | None = None) -> PetConfig:
    """The checked configuration of `overrides`, without running anything."""
    flags = [argument for argument in overrides if argument.startswith("-")]
    if flags:
        raise UserError(f"{flags[0]}: unknown flag.")
    own = conf_files.folders(config_dir)[:-1]
    search = [f"hydra.searchpath=['file://{folder.absolute()}']" for folder in own]
    try:
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_files.conf_dir())):
            return typed(hydra.compose("train", overrides=[*search, *prepare(overrides)]), config_dir)
    except Exception as error:
        raise (translate(error) or error) from None


def typed(cfg: DictConfig, config_dir: str | None = None) -> PetConfig:
    """A composed configuration as checked plain dataclasses. Raises `UserError`."""
    try:
        values = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UserError(f"{error.full_key or error.key}: a value is needed.") from None
    except OmegaConfBaseException as error:
        raise _bad_key_or_value(error) from None
    assert isinstance(values, dict)
    config = typed_values({str(key): value for key, value in values.items()}, config_dir)
    check(config)
    return config


def translate(error: Exception) -> UserError | None:
    """A user's mistake in Hydra's words, in ours; None for an error that is not the user's."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, OSError) and error.filename is not None:
        return UserError(f"{error.filename}: {error.strerror}.")
    if isinstance(error, MissingConfigException):
        missing = str(error.missing_cfg_file or "")
        group, _, name = missing.rpartition("/")
        options = [option for option in (error.options or []) if not option.startswith(conf_files.SCHEMA)]
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
        for group in registry.KINDS:
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
