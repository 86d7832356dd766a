"""The command line of `pet train` before Hydra reads it: flags to the front, shorthands, and values as they are meant.

Hydra's grammar knows no mapping with keys in every script, and reads `$`, `=` or a quote in its own way. So a value is
quoted for it wherever the schema says text, and a mapping goes through it as text and is read as YAML behind it.
Nothing on the command line is interpolated but in the keys of Hydra's own (`hydra.run.dir=out/${now:%H}`).
"""

from __future__ import annotations

import functools
import json
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from pet_cli.config import files as conf_files
from pet_cli.config import registry
from pet_cli.config.schema import PetConfig
from pet_cli.errors import UserError, nearest, not_allowed

_WITH_VALUE = {"--config-dir", "-cd", "--config-name", "-cn", "--cfg", "-c", "--package", "-p", "--info", "-i"}
_FLAGS = ("-m", "--multirun", "-r", "--run", "--resolve", "--hydra-help", "-sc", "--shell-completion", *_WITH_VALUE)
_ALLOWED = {"--cfg": ("job", "hydra", "all"), "-c": ("job", "hydra", "all")}
MAPPINGS = ("verbalizer", "data.fields", "data.labels")
"""Keys that hold a mapping of the user's own keys; a single one can be set, `data.fields.text=review`."""
_LISTS = (
    *("ensemble.patterns", "ensemble.pvps", "ensemble.verbalizers", "ensemble.weights", "ensemble.student"),
    *("tuning.targets", "task.metrics", "method.words", "method.characters", "method.strengths"),
    "method.windows",
)
_FUNCTION = re.compile(r"(choice|glob|range|interval|shuffle|sort|tag)\(")
_PATHS = ("data.path", "model.name", "method.vectors", "found", "hydra.run.dir", "hydra.sweep.dir")


def prepare(argv: Sequence[str]) -> list[str]:
    """Puts flags first, as Hydra wants them, and rewrites each override so that its grammar reads it as meant.

    Raises:
        UserError: an override without a value, or one key of a mapping with several values.
    """
    flags: list[str] = []
    given: list[str] = []
    rest = iter(argv)
    for argument in rest:
        if argument.startswith("-"):
            _check_flag(argument)
            flags.append(argument)
            if argument in _WITH_VALUE:
                value = next(rest, None)
                if value is None:
                    raise UserError(f"{argument}: a value is needed.")
                if value not in _ALLOWED.get(argument, (value,)):
                    raise not_allowed(argument, value, _ALLOWED[argument])
                flags.append(str(Path(value).expanduser()) if argument in ("--config-dir", "-cd") else value)
        else:
            given.append(argument)
    sweeping = is_sweep(argv)
    overrides = [quote(one, sweeping) for one in _together(_joined(given))]
    return flags + _model_by_name([f"{_added(one)}{one}" for one in overrides])


def _added(override: str) -> str:
    """The signs with which Hydra takes a key that is in no list of defaults, or perhaps not there yet."""
    if override.startswith(("experiment=", "rung=")):
        return "+"
    return "++" if override.startswith("hydra.callbacks.pet.only.") else ""


def _check_flag(flag: str) -> None:
    if flag.partition("=")[0] not in _FLAGS:
        raise UserError(f"{flag}: unknown flag; see pet train --help.{nearest(flag, _FLAGS)}")


def config_dir(argv: Sequence[str]) -> str | None:
    """The folder that `--config-dir` names."""
    for place, flag in enumerate(argv):
        if flag in ("--config-dir", "-cd"):
            return argv[place + 1] if place + 1 < len(argv) else ""
        if flag.startswith("--config-dir="):
            return flag.partition("=")[2]
    return None


def is_sweep(argv: Sequence[str]) -> bool:
    return any(flag in ("-m", "--multirun") for flag in argv)


def _joined(given: Sequence[str]) -> Iterator[str]:
    """Overrides with spaces around `=` as one argument each: `seed = 1`, `seed= 1`."""
    rest = list(given)
    while rest:
        one = rest.pop(0)
        if rest and "=" not in one and rest[0].startswith("="):
            one += rest.pop(0)
        if rest and one.endswith("=") and one.count("=") == 1 and "=" not in rest[0]:
            one += rest.pop(0)
        yield one


def _together(given: Iterator[str]) -> list[str]:
    """Single keys of a mapping, put together to the whole: `data.fields.text=a` is `data.fields={text: a}`."""
    single: dict[str, dict[str, Any]] = {}
    whole: dict[str, str] = {}
    places: dict[str, int] = {}
    out: list[str] = []
    for one in given:
        key, _, value = one.partition("=")
        name = key.strip().lstrip("+")
        mapping = next((mapping for mapping in MAPPINGS if name.startswith(f"{mapping}.")), None)
        if mapping is not None:
            single.setdefault(mapping, {})[name.removeprefix(f"{mapping}.")] = _scalar(value.strip(), name)
        elif name in MAPPINGS and value.strip().startswith("{"):
            mapping, whole[name] = name, value.strip()
        if mapping is None or mapping not in places:
            places |= {} if mapping is None else {mapping: len(out)}
            out.append(one)
    for mapping, place in places.items():
        values = whole.get(mapping, "")
        if mapping in single:
            merged = {**(read_mapping(mapping, values) if values else {}), **single[mapping]}
            values = json.dumps(merged, ensure_ascii=False)
        out[place] = f"{mapping}={values}"
    return out


def _scalar(value: str, key: str) -> Any:
    if not value:
        raise UserError(f"{key}=: a value is needed.")
    if value[0] in "[{":
        return _yaml(key, value, keys=False)
    return value[1:-1] if value[0] in "'\"" and value[-1:] == value[0] and len(value) > 1 else value


def quote(override: str, sweeping: bool = False) -> str:
    """Quotes the value of an override where Hydra's grammar would refuse or misread it.

    A template is always text: `template={text} It was {mask}.` needs no quotes of Hydra's. Whoever sweeps over
    templates writes them (`template="'a','b'"`), and a value that Hydra reads as a quoted one is left as it is.
    """
    key, equals, value = (part.strip() for part in override.partition("="))
    name = key.lstrip("+")
    if not name or (not equals and not name.startswith("~")):
        raise UserError(f"{override}: write KEY=VALUE.")
    if not re.fullmatch(r"[\w.@/~-]+", name, re.ASCII):
        raise UserError(f"Unknown key '{key}'.{nearest(name, [*texts(), *MAPPINGS, 'task', 'seed'])}")
    if not equals:
        return override
    if value == "null" and name in ("task", "model", *registry.KINDS):
        raise not_allowed(name, value, conf_files.options(name))
    if not value:
        raise UserError(f"{key}=: a value is needed; null is none, where there may be none.")
    if value == "null":
        return f"{key}={value}"
    if not name.startswith("hydra."):
        value = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + "\\${", value)  # a dollar sign, no interpolation
    as_it_is = value[0] in "'\"" and _parses(f"{name}={value}")
    if name in MAPPINGS and value[0] == "{":
        parts = _parts(value) if sweeping else [value]
        return f"{key}={','.join(map(quoted, parts))}"
    if as_it_is:
        return f"{key}={value}"
    if name == "template":
        return f"{key}={quoted(value)}"
    if name in texts() or name in _PATHS:
        if sweeping and _FUNCTION.match(value) and _parses(f"{name}={value}"):
            return f"{key}={value}"
        several = sweeping and "," in value and name[:6] != "hydra." and not Path(value).expanduser().exists()
        parts = [part.strip() for part in value.split(",") if part.strip()] if several else [value]
        if name in _PATHS:
            parts = [str(Path(part).expanduser()) if part.startswith("~") else part for part in parts]
        return f"{key}={','.join(map(_as_text, parts))}"
    value = value.rstrip(", ") or value
    if _parses(f"{name}={value}"):
        return f"{key}={value}"
    if value[0] in "[{" and name not in _LISTS:
        return f"{key}={value}"  # a list or mapping with a mistake: Hydra says where
    return f"{key}={quoted(value)}"


def value_of(key: str, text: str) -> Any:
    """A value as the command line of a single run has it: `1e-5`, `null` and `[1,2]` are what they look like."""
    if not text:
        raise UserError(f"{key}=: a value is needed; null is none, where there may be none.")
    parsed = _parse(quote(f"{key}={text}"))
    if parsed is not None and parsed.is_sweep_override():
        raise UserError(f"{key}={text}: several values are a sweep; give one (or write [a,b] for a list).")
    return text if parsed is None else parsed.value()


def decoded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Composed values with those mappings and lists read that went through Hydra as text. Raises `UserError`."""
    out = dict(values)
    for key in (*MAPPINGS, *_LISTS):
        *groups, name = key.split(".")
        inside: Any = out
        for group in groups:
            if not isinstance(inside, dict) or not isinstance(inside.get(group), dict):
                inside = {}
                break
            inside[group] = dict(inside[group])
            inside = inside[group]
        value = inside.get(name)
        if isinstance(value, str) and value.startswith("{" if key in MAPPINGS else "["):
            inside[name] = read_mapping(key, value) if key in MAPPINGS else _yaml(key, value, keys=False)
    return out


def read_mapping(key: str, text: str) -> dict[str, Any]:
    """A mapping as the command line has it, `{label: word}`, its keys as they are written: 1e3, no and 1_1 are text.

    Raises:
        UserError: not a mapping in YAML, or a key stands there twice.
    """
    found = _yaml(key, text, keys=True)
    if not isinstance(found, dict):
        raise UserError(f"{key}={text}: write a mapping, such as '{{text: review}}'.")
    return found


def _yaml(key: str, text: str, keys: bool) -> Any:
    import yaml

    def plain(node: yaml.Node, depth: int = 0) -> Any:
        if isinstance(node, yaml.MappingNode):
            found: dict[Any, Any] = {}
            for name, value in node.value:
                own = name.value if keys and isinstance(name, yaml.ScalarNode) else loader.construct_object(name, True)
                if own in found:
                    raise UserError(f"{key}: '{own}' stands there twice.")
                found[own] = plain(value, depth + 1)
            return found
        if isinstance(node, yaml.SequenceNode):
            return [plain(one, depth + 1) for one in node.value]
        if keys and key != "verbalizer":
            return node.value  # columns and labels are names
        return loader.construct_object(node, True)

    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        return plain(node) if node is not None else None
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{key}={text}: cannot be read ({problem}); quote what holds , : {{ }} or #.") from None
    finally:
        loader.dispose()


@functools.cache
def texts() -> frozenset[str]:
    """The dotted keys that the schema says hold text alone."""

    def of(cls: type, prefix: str) -> Iterator[str]:
        hints = typing.get_type_hints(cls)
        for field in fields(cls):
            hint = hints[field.name]
            if is_dataclass(hint):
                yield from of(typing.cast(type, hint), f"{prefix}{field.name}.")
            elif hint in (str, str | None):
                yield f"{prefix}{field.name}"

    kinds = [(group, registry.settings_class(group, name)) for group in registry.ALL for name in registry.ALL[group]]
    return frozenset([*of(PetConfig, ""), *(key for group, cls in kinds for key in of(cls, f"{group}."))])


def _parts(value: str) -> list[str]:
    """A sweep's values, divided at the commas that stand in no brackets and no quotes."""
    parts, depth, inside, start = [], 0, "", 0
    for place, character in enumerate(value):
        if inside:
            inside = "" if character == inside else inside
        elif character in "'\"" and value[place - 1] in "{[:, ":
            inside = character
        elif character in "{[":
            depth += 1
        elif character in "}]":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(value[start:place])
            start = place + 1
    return [part.strip() for part in [*parts, value[start:]] if part.strip()]


def quoted(value: str) -> str:
    """A value that Hydra reads as this very text."""
    value = re.sub(r"(\\*)'", r"\1\1\\'", value)
    value = re.sub(r"(\\+)$", r"\1\1", value)
    return f"'{value}'"


def _as_text(value: str) -> str:
    """A value that Hydra reads as this very text, quoted where it would read another; null stays null."""
    override = _parse(f"key={value}")
    return value if value == "null" or (override is not None and override.value() == value) else quoted(value)


def _parses(override: str) -> bool:
    return _parse(override) is not None


def _parse(override: str) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(override)
    except HydraException:  # grammar errors are of more than one kind
        return None


def _model_by_name(overrides: list[str]) -> list[str]:
    """`model.name=X` alone is a model of its own, not the default model's settings under another name."""
    if any(override.partition("=")[0] == "model" for override in overrides):
        return overrides
    for override in overrides:
        key, _, value = override.partition("=")
        if key == "model.name":
            name = value.strip("'\"")
            return [f"model={name if name in ('embedded', 'random') else 'custom'}", *overrides]
    return overrides
