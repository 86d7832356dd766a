"""From Hydra's composition to a checked configuration, and from its errors to lines a user can act on."""

from __future__ import annotations

import re
from collections.abc import Sequence
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
from omegaconf.errors import OmegaConfBaseException

from pet_cli.commands.overrides import decoded, prepare, quoted
from pet_cli.config import files as conf_files
from pet_cli.config import registry
from pet_cli.config.bounds import Settings, refused
from pet_cli.config.build import option
from pet_cli.config.build import typed as typed_values
from pet_cli.config.checks import check
from pet_cli.config.schema import PetConfig
from pet_cli.errors import UserError, choices, nearest, not_allowed

_store = ConfigStore.instance()
_store.store(name="schema", node=PetConfig)
for _group, _kinds in registry.KINDS.items():
    for _name in _kinds:
        _store.store(group=_group, name=f"{conf_files.SCHEMA}_{_name}", node=registry.settings_class(_group, _name))


TEXT = (
    *("template", "pattern", "verbalizer", "data.fields", "data.labels", "task.patterns", "task.verbalizers"),
    *("task.pvps", "task.fields", "task.labels", "task.values", "tuning.text", "ensemble.patterns"),
    *("ensemble.verbalizers", "ensemble.pvps", "ensemble.student"),
)
"""Keys in which a dollar sign is one. Elsewhere a config file may interpolate, `seed: ${seed}`."""


def compose(
    overrides: Sequence[str], config_dir: str | None = None, *, learns: bool = True, asks: bool = True
) -> PetConfig:
    """The checked configuration of `overrides`, without running anything; `learns`, `asks` as for `checks.check`."""
    flags = [argument for argument in overrides if argument.startswith("-")]
    if flags:
        raise UserError(f"{flags[0]}: unknown flag.")
    own = conf_files.folders(config_dir)[:-1]
    search = [f"hydra.searchpath=[{quoted(f'file://{folder.absolute()}')}]" for folder in own]
    prepared = prepare(overrides)
    check_files(prepared, config_dir)
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(conf_files.conf_dir())):
        return typed(composed([*search, *prepared]), config_dir, learns=learns, asks=asks)


def composed(overrides: Sequence[str], *, with_hydra: bool = False) -> DictConfig:
    """What Hydra, which is initialized, makes of overrides. Raises `UserError` for whatever it refuses."""
    try:
        return hydra.compose("train", overrides=list(overrides), return_hydra_config=with_hydra)
    except ValueError as error:  # of the same kind as what is wrong with the command line
        raise translate(error) or UserError(first_line(error)) from None
    except Exception as error:
        raise (translate(error) or error) from None


def check_files(overrides: Sequence[str], config_dir: str | None) -> None:
    """Raises `UserError` for a file of the user's own that is chosen and cannot be used; it names the file and the key.

    Hydra would name neither.
    """
    if config_dir is None:
        return
    for override in overrides:
        group, _, names = override.lstrip("+").partition("=")
        for name in names.strip("'\"").split(","):
            path = conf_files.folders(config_dir)[0] / group / f"{name.strip()}.yaml"
            if group and path.is_file():
                try:
                    if group in conf_files.PRESETS:
                        conf_files.parsed(path)
                    else:
                        option(group, name.strip(), config_dir)
                except UserError as error:
                    raise error if str(path) in str(error) else UserError(f"{path}: {error}") from None


def typed(cfg: DictConfig, config_dir: str | None = None, *, learns: bool = True, asks: bool = True) -> PetConfig:
    """A composed configuration as checked plain dataclasses. Raises `UserError`."""
    config = typed_values(decoded(plain(cfg)), config_dir)
    check(config, learns=learns, asks=asks)
    return config


def plain(cfg: DictConfig) -> dict[str, Any]:
    """The values of a composed configuration, interpolations resolved but in `TEXT`."""

    def value_of(value: Any, path: str, text: bool) -> Any:
        text = text or path in TEXT
        if isinstance(value, dict):
            return {key: value_of(one, f"{path}.{key}".lstrip("."), text) for key, one in value.items()}
        if isinstance(value, list):
            return [value_of(one, f"{path}[{place}]", text) for place, one in enumerate(value)]
        if not isinstance(value, str):
            return value
        if value == "???":
            raise UserError(f"{path}: a value is needed.")
        if text or "${" not in value:
            return _unescaped(value)
        try:
            found = OmegaConf.select(cfg, path)
        except OmegaConfBaseException as error:
            raise UserError(f"{path}={_unescaped(value)}: {first_line(error)}.") from None
        return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found

    values: dict[str, Any] = value_of(OmegaConf.to_container(cfg, resolve=False), "", False)
    return values


def _unescaped(text: str) -> str:
    """A text in which a backslash before `${` took its meaning away."""
    return re.sub(r"(\\*)\\\$\{", lambda match: match[1][: len(match[1]) // 2] + "${", text)


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
    holder = OmegaConf.get_type(error.parent_node) if error.parent_node is not None else None
    name = key.rpartition(".")[2]
    if isinstance(holder, type) and issubclass(holder, Settings) and name in holder.__dataclass_fields__:  # type: ignore[attr-defined]
        given = re.match(r"Value '(.*)' (of type|is not)", text)
        if given or "not Optional" in text:
            return refused(key, given[1] if given else None, holder, name)
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
