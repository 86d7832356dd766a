"""The command line of `pet train` before Hydra reads it: quoting, flags to the front, shorthands."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WITH_VALUE = {"--config-dir", "-cd", "--config-name", "-cn", "--cfg", "-c", "--package", "-p", "--info"}
_TEXT_KEYS = {"template", "data.path", "model.name", "hydra.run.dir", "hydra.sweep.dir"}


def prepare(argv: Sequence[str]) -> list[str]:
    """Puts flags first, as Hydra wants them, and rewrites each override so that its grammar reads it as meant."""
    flags: list[str] = []
    overrides: list[str] = []
    rest = iter(argv)
    for argument in rest:
        if argument.startswith("-"):
            flags.append(argument)
            if argument in _WITH_VALUE:
                flags += [value for value in [next(rest, None)] if value is not None]
        else:
            overrides.append(quote(f"+{argument}" if argument.startswith("experiment=") else argument))
    return flags + _model_by_name(overrides)


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


def quote(override: str) -> str:
    """Quotes the value of an override where Hydra's grammar would refuse or misread it.

    A template is always text: `template={text} It was {mask}.` needs no quotes of Hydra's. Whoever sweeps over
    templates writes them (`template="'a','b'"`), and a value that begins with a quote is left as it is.
    """
    key, equals, value = override.partition("=")
    if not equals or not value or value[0] in "'\"" or value == "null":
        return override
    if key.lstrip("+") != "template" and _parses(override):
        return override
    if key.lstrip("+") not in _TEXT_KEYS and value[0] in "[{":
        return override  # a list or mapping with a mistake: Hydra says where
    return f"{key}='{_escape(value)}'"


def _escape(value: str) -> str:
    value = re.sub(r"(\\*)'", r"\1\1\\'", value)
    return re.sub(r"(\\+)$", r"\1\1", value)


def _parses(override: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(override)
    except HydraException:  # grammar errors are of more than one kind
        return False
    return True


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
