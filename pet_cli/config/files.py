"""The folder of configs, found wherever the package lies, and what is in it, read without Hydra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pet_cli.errors import UserError, not_allowed

_PACKAGE = Path(__file__).parent.parent


def conf_dir() -> Path:
    """`conf/` inside an installed package, or beside it in a checkout."""
    inside = _PACKAGE / "conf"
    return inside if inside.is_dir() else _PACKAGE.parent / "conf"


def options(group: str, config_dir: str | None = None) -> list[str]:
    """The names a group has, a user's own folder included."""
    names = {path.stem for folder in _folders(config_dir) for path in (folder / group).glob("*.yaml")}
    return sorted(names)


def read(group: str, name: str, config_dir: str | None = None) -> dict[str, Any]:
    """One config file as plain values, over those of the file it builds on. Raises `UserError` for an unknown name."""
    import yaml

    for folder in _folders(config_dir):
        path = folder / group / f"{name}.yaml"
        if path.is_file():
            values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
            bases = [base for base in values.pop("defaults", []) if isinstance(base, str) and base != "_self_"]
            inherited = [read(group, base, config_dir) for base in bases]
            return {key: value for part in (*inherited, values) for key, value in part.items()}
    raise not_allowed(group, name, options(group, config_dir))


def about(group: str, name: str, config_dir: str | None = None) -> str:
    """The first comment line of a config file: what it is."""
    for folder in _folders(config_dir):
        path = folder / group / f"{name}.yaml"
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                if line.startswith("#") and not line.startswith("# @"):
                    return line.lstrip("# ")
    return ""


def _folders(config_dir: str | None) -> list[Path]:
    if config_dir is None:
        return [conf_dir()]
    folder = Path(config_dir).expanduser()
    if not folder.is_dir():
        raise UserError(f"--config-dir {config_dir}: no such folder.")
    return [folder, conf_dir()]
