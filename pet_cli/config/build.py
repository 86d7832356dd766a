"""From plain values to typed settings, and from the config files to either: what the command line, a notebook and a
finished run's folder go through alike.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pet_cli.config import files, registry
from pet_cli.config.bounds import Settings, refused
from pet_cli.config.found import Found, read_found
from pet_cli.config.schema import PetConfig
from pet_cli.config.tuning import Tuning
from pet_cli.errors import UserError, choices, nearest, not_allowed


def build(
    options: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    config_dir: str | None = None,
) -> PetConfig:
    """The settings of a run, as `pet train` composes them from the config files; not yet checked.

    Args:
        options: group -> one of its options, such as `{"tuning": "lora"}`; `train.yaml` names the others.
        settings: dotted key -> value, such as `{"trainer.max_steps": 40}`.
        config_dir: a folder of config files of one's own.

    Raises:
        UserError: an unknown option or key, or a value of another type.
    """
    chosen = {**files.default_options(), **(options or {})}
    values = files.read_root()
    for group, name in chosen.items():
        if group not in files.default_options():
            raise not_allowed("group", group, files.default_options())
        values[group] = files.read(group, name, config_dir)
    for key, value in (settings or {}).items():
        *path, last = key.split(".")
        inside = values
        for part in path:
            if not isinstance(inside.get(part), dict):
                raise UserError(f"Unknown key '{key}'; there are {choices(inside, 20)}.{nearest(part, inside)}")
            inside = inside[part]
        inside[last] = value
    _seeded(values)
    return typed(values, config_dir)


def _completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values over those of the config files that every run has."""
    whole = {**files.read_root(), **files.read_base()}
    whole["seed"] = values.get("seed", whole["seed"])
    _seeded(whole)
    for key, value in values.items():
        there = whole.get(key)
        nested = isinstance(value, Mapping) and isinstance(there, Mapping) and key not in registry.KINDS
        whole[key] = {**there, **value} if nested else value  # type: ignore[dict-item]
    return whole


def _seeded(values: dict[str, Any]) -> None:
    """Puts the seed where `train.yaml` says `${seed}`."""
    for part in values.values():
        if isinstance(part, dict) and part.get("seed") == "${seed}":
            part["seed"] = values["seed"]


def typed(values: Mapping[str, Any], config_dir: str | None = None) -> PetConfig:
    """Settings of plain, resolved values.

    What the values leave out is as in the config files (of a mode or ensemble, in the file of its name), so that a
    short file of one's own need not say everything, and a run made before a key was there can be read. The tuning of
    PET's student is worked out here, so that a run's folder says what it was.

    Raises:
        UserError: a key that is unknown or lacks a value, a value of another type; it names the key.
    """
    config = _object(PetConfig, _completed(values), "")
    for group in registry.KINDS:
        if hasattr(config, group):
            setattr(config, group, _of_kind(group, getattr(config, group), group))
    config.found = _found(config.found)
    source, own = config.task.source, config.data.fields
    all_own = not config.task.labels and source.hub is None and source.path is None
    if all_own and isinstance(own, dict) and any(name not in config.task.fields for name in own):
        config.task.fields = {str(name): str(name) for name in own}
    if config.ensemble.distils:
        config.ensemble.student_tuning = _student_tuning(config, config_dir)
    return config


def option(group: str, name: str, /, config_dir: str | None = None, **changes: Any) -> Any:
    """The typed settings of one option of a group, with single keys changed; `option("tuning", "lora", rank=4)`."""
    values = {**files.read(group, name, config_dir), **changes}
    if group in registry.ALL:
        return _of_kind(group, values, group)
    hints = typing.get_type_hints(PetConfig)
    return _object(hints[group], values, group)


def section(name: str, /, **changes: Any) -> Any:
    """The typed settings of a section of `train.yaml`, with single keys changed; `section("data", shots=4)`."""
    values = files.read_root()
    _seeded(values)
    return _object(typing.get_type_hints(PetConfig)[name], {**values[name], **changes}, name)


def _found(given: Any) -> Found | None:
    """What a search found: read from its folder, which a run then no longer needs, or as a run's folder has it."""
    if given is None or isinstance(given, Found):
        return given
    values = read_found(given) if isinstance(given, str) else given
    found: Found = _object(Found, values, "found")
    return found


def _student_tuning(config: PetConfig, config_dir: str | None) -> Tuning:
    """How the student trains: as `ensemble.student_tuning` says; else a classifier as in its file, and a student with
    a prompt as the members, or as `tuning=full` where nothing of them trains."""
    wanted, key = config.ensemble.student_tuning, "ensemble.student_tuning"
    if isinstance(wanted, str):
        wanted = files.read("tuning", wanted, config_dir)
    elif wanted is None and config.ensemble.student == "classifier":
        wanted = files.read("tuning", "classifier")
    elif wanted is None:
        wanted = dataclasses.asdict(config.tuning) if config.tuning.trains else files.read("tuning", "full")
    found: Tuning = _of_kind("tuning", wanted, key)
    return found


def _of_kind(group: str, values: Any, key: str) -> Any:
    if isinstance(values, Settings):
        return values
    if not isinstance(values, Mapping):
        raise not_allowed(key, "null" if values is None else values, files.options(group))
    if "name" not in values:
        raise UserError(f"{key}.name: a value is needed, one of {choices(registry.ALL[group])}.")
    cls = registry.settings_class(group, values["name"])
    return _object(cls, {**files.read(group, values["name"]), **values}, key)


def _object(cls: type, values: Any, key: str) -> Any:
    """A dataclass of settings, each value converted to its field's type (a text that says a number is one)."""
    if not isinstance(values, Mapping):
        raise UserError(f"{key}={values}: a mapping of keys and values is needed.")
    hints = typing.get_type_hints(cls)
    fields = {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    place = f"{key}." if key else ""
    for name in values:
        if name not in fields:
            raise UserError(
                f"Unknown key '{place}{name}'; there are {choices([f'{place}{one}' for one in fields], 20)}."
                f"{nearest(f'{place}{name}', [f'{place}{one}' for one in fields])}{_whose(key, str(name))}"
            )
    found: dict[str, Any] = {}
    node = OmegaConf.structured(cls)
    for name, hint in fields.items():
        value = values.get(name, "???")
        if isinstance(value, str) and value == "???":
            raise UserError(f"{place}{name}: a value is needed.")
        if dataclasses.is_dataclass(hint) and not isinstance(value, Settings):
            found[name] = _object(typing.cast(type, hint), value, f"{place}{name}")
        elif isinstance(value, Settings) or hint is Any:
            found[name] = value
        else:
            try:
                node[name] = _literal(value)
            except (OmegaConfBaseException, ValueError, TypeError):
                raise refused(f"{place}{name}", value, cls, name) from None
    plain: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
    found = {**{name: plain[name] for name in fields if name not in found}, **found}
    return cls(**found)


def _whose(group: str, name: str) -> str:
    """Which options of a group have a key that the chosen one has not, as a sentence."""
    if group not in registry.ALL:
        return ""
    own = [
        kind
        for kind in registry.ALL[group]
        if name in {field.name for field in dataclasses.fields(registry.settings_class(group, kind))}
    ]
    return f" It belongs to {group}={choices(own)}." if own else ""


def _literal(value: Any) -> Any:
    """A value in which a dollar sign is one: all that had to be resolved has been."""
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + "\\${", value)
    if isinstance(value, Mapping):
        return {key: _literal(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_literal(one) for one in value]
    return value
