"""The folder of configs, found wherever the package lies, and what is in it, read as Hydra reads it but without Hydra.

A file may build on others of its group, `defaults: [lora, _self_]`. A folder of the user's own adds options; it cannot
have a file of a name that stands here, since which of the two is read would go by who reads.
"""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

from pet_cli.errors import UserError, not_allowed

_PACKAGE = Path(__file__).parent.parent
SCHEMA = "schema"
"""A name in a list of defaults that begins so is a type, not a file."""

PRESETS = ("experiment", "rung")
"""Groups whose files set keys of the whole run (`@package _global_`)."""


def conf_dir() -> Path:
    """`conf/` inside an installed package, or beside it in a checkout."""
    inside = _PACKAGE / "conf"
    return inside if inside.is_dir() else _PACKAGE.parent / "conf"


def options(group: str, config_dir: str | None = None) -> list[str]:
    """The names a group has, a user's own folder included."""
    return sorted({path.stem for folder in folders(config_dir) for path in (folder / group).glob("*.yaml")})


def find(group: str, name: Any, config_dir: str | None = None) -> Path:
    """The file of an option. Raises `UserError` for an unknown name."""
    for folder in folders(config_dir):
        path = folder / group / f"{name}.yaml"
        if path.is_file():
            return path
    raise not_allowed(group, name, options(group, config_dir))


def read(group: str, name: Any, config_dir: str | None = None) -> dict[str, Any]:
    """One option as plain values, over those of the files it builds on; of a task or model, over `base.yaml`.

    Raises:
        UserError: an unknown name, or a file that is no mapping in YAML; it names the file.
    """
    from omegaconf import OmegaConf

    base = read_base().get(group, {})
    values: dict[str, Any] = OmegaConf.to_container(  # type: ignore[assignment]
        OmegaConf.merge(OmegaConf.create(base), OmegaConf.create(_inherited(group, name, config_dir, ())))
    )
    return values


def _inherited(group: str, name: Any, config_dir: str | None, seen: tuple[str, ...]) -> dict[str, Any]:
    from omegaconf import OmegaConf

    path = find(group, name, config_dir)
    if name in seen:
        raise UserError(f"{path}: builds on itself, by {' -> '.join((*seen, name))}.")
    own = parsed(path)
    defaults = own.pop("defaults", [])
    if not isinstance(defaults, list):
        raise UserError(f"{path}: defaults is a list, such as [{name}, _self_].")
    parts: list[Any] = [] if "_self_" in defaults else [own]
    for base in defaults:
        if base == "_self_":
            parts.append(own)
        elif not str(base).startswith(SCHEMA):
            try:
                parts.append(_inherited(group, base, config_dir, (*seen, name)))
            except UserError as error:
                raise error if str(path) in str(error) else UserError(f"{path}: defaults: {error}") from None
    merged: dict[str, Any] = OmegaConf.to_container(OmegaConf.merge(*map(OmegaConf.create, parts)))  # type: ignore
    return merged


def read_root() -> dict[str, Any]:
    """The single keys of `train.yaml`, without its groups; `${seed}` stands for the seed."""
    values = parsed(conf_dir() / "train.yaml")
    for key in ("defaults", "hydra"):
        values.pop(key)
    return values


def read_base() -> dict[str, Any]:
    """What tasks and models say where their own files do not."""
    return parsed(conf_dir() / "base.yaml")


def default_options() -> dict[str, str]:
    """group -> the option that `train.yaml` takes where none is named."""
    listed = [one for one in parsed(conf_dir() / "train.yaml")["defaults"] if isinstance(one, dict)]
    return {group: name for one in listed for group, name in one.items() if " " not in group}


def parsed(path: Path) -> dict[str, Any]:
    """A file's values, with numbers as Hydra reads them (1e-3 is one)."""
    about = path.stat()
    return copy.deepcopy(_parsed_once(path, about.st_mtime_ns, about.st_size))


@functools.lru_cache(maxsize=256)
def _parsed_once(path: Path, changed: int, size: int) -> dict[str, Any]:
    import io

    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        text = path.read_text(encoding="utf-8-sig")
        loaded = OmegaConf.load(io.StringIO(text))
    except UnicodeDecodeError:
        raise UserError(f"{path}: not text in UTF-8.") from None
    except YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {_line(error)}") from None
    except (OmegaConfBaseException, ValueError, OSError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(loaded, DictConfig):
        raise UserError(f"{path}: a list stands where a mapping of keys and values belongs.")
    values: dict[str, Any] = OmegaConf.to_container(loaded)  # type: ignore[assignment]
    if not values:
        raise UserError(f"{path}: empty.")
    return values


def comments(group: str, name: str, config_dir: str | None = None) -> list[str]:
    """The comment that a config file begins with, its lines: what it is, and where that was looked up."""
    found: list[str] = []
    for line in find(group, name, config_dir).read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @"):
            found.append(line.removeprefix("#").removeprefix(" "))
    return found


def _line(error: Exception) -> str:
    return " ".join(str(error).replace('in "<file>", ', "").split())[:200]


def about(group: str, name: str, config_dir: str | None = None) -> str:
    """The first comment line of a config file: what it is."""
    return next(iter(comments(group, name, config_dir)), "")


def folders(config_dir: str | None) -> list[Path]:
    """The folders of configs: a user's own, if there is one, and ours.

    Raises:
        UserError: there is no such folder, or a file in it has the name of one of ours, or another ending than `.yaml`.
    """
    ours = conf_dir()
    if config_dir is None:
        return [ours]
    folder = Path(config_dir).expanduser()
    if not folder.is_dir():
        raise UserError(f"--config-dir {config_dir}: no such folder.")
    known = ["", *(path.name for path in ours.iterdir() if path.is_dir())]
    if folder.resolve() == ours.resolve():
        return [ours]
    for group in known:
        for path in sorted((folder / group).glob("*.y*ml")):
            if path.suffix == ".yml":
                raise UserError(f"{path}: name it {path.stem}.yaml, which is the ending that is looked for.")
            if (ours / group / path.name).is_file():
                raise UserError(f"{path}: {group or 'pet'} has a {path.name} of its own. Give it another name.")
    return [folder, ours]


def groups(config_dir: str | None = None) -> list[str]:
    """The groups of options: folders of `conf`."""
    return sorted({path.name for folder in folders(config_dir) for path in folder.iterdir() if path.is_dir()})
