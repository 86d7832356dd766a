"""What a sweep is to do: its combinations, which of them are left out and why, and the plan in its folder."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pet_cli.base.files import read_json, write_json
from pet_cli.config import files as conf_files
from pet_cli.config.schema import PetConfig
from pet_cli.errors import Unfit, UserError, not_allowed
from pet_cli.results.left_out import PLAN, LeftOut

Limits = Mapping[str, Sequence[int | None]]
"""rung -> the shots at which a sweep takes it; a rung that is not named is taken at all of them."""

_LIMITS = "hydra.callbacks.pet.only"


def combined(overrides: Sequence[str]) -> list[list[str]]:
    """The runs of a sweep, each as its overrides: every combination of the keys with several values.

    Of a key that stands there twice (in an experiment's file and on the command line) the last one counts, as in
    Hydra's sweeper.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    each: dict[str, list[str]] = {}
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.get_key_element()
        if override.is_discrete_sweep():
            each[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        elif override.is_sweep_override():  # an interval, which only another sweeper than Hydra's own can draw from
            each.pop(key, None)
        else:
            each[key] = [f"{key}={override.get_value_element_as_str()}" if override.value_type else key]
    return [list(combination) for combination in itertools.product(*each.values())]


def varied(combinations: Sequence[Sequence[str]]) -> list[str]:
    """The keys that have several values."""
    values: dict[str, set[str]] = {}
    for combination in combinations:
        for override in combination:
            key, _, value = override.partition("=")
            values.setdefault(key, set()).add(value)
    return [key for key, seen in values.items() if len(seen) > 1]


def rung(overrides: Sequence[str]) -> str | None:
    """The rung that a run stands on, where it is one of a ladder's."""
    chosen = {one.lstrip("+").partition("=")[0]: one.partition("=")[2] for one in overrides}
    return chosen.get("rung")


def check_limits(limits: Limits, config_dir: str | None) -> None:
    """Raises `UserError` for a rung that does not exist, or what is no list of shots."""
    rungs = conf_files.options("rung", config_dir)
    for name, shots in limits.items():
        if name not in rungs:
            raise not_allowed(_LIMITS, name, rungs)
        if not _is_list(shots) or any(one is not None and type(one) is not int for one in shots):
            raise UserError(f"{_LIMITS}.{name}={shots}: a list of shots, such as [16,64]; null is all examples.")


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def limit(limits: Limits, config: PetConfig, overrides: Sequence[str]) -> None:
    """Raises `Unfit` for a rung at a number of shots at which the sweep does not take it."""
    name = rung(overrides)
    if name is not None and name in limits and config.data.shots not in limits[name]:
        shots = ", ".join("all" if one is None else str(one) for one in limits[name])
        raise Unfit(f"{_LIMITS}.{name}: at {shots} alone.")


@dataclass(frozen=True)
class Sweep:
    """What a sweep is to do, as a file in its folder tells it to each of its jobs, wherever a launcher runs them.

    Attributes:
        total: how many runs.
        varied: the keys that differ between them.
        folders: their folders' names; empty where they follow from something that is known only when a job starts.
        left_out: the combinations that are no runs of it.
        choice: the rules that choose among its runs (`select`) and within what (`within`); empty where none do.
        start: when the sweep was last begun, in seconds as `time.time` counts them.
    """

    total: int
    varied: list[str]
    folders: list[str]
    left_out: list[LeftOut] = field(default_factory=list)
    choice: dict[str, list[str]] = field(default_factory=dict)
    start: float = field(default_factory=time.time)

    def write(self, folder: Path) -> None:
        values = {key: value for key, value in asdict(self).items() if key != "start"}
        write_json(folder / PLAN, values)

    @classmethod
    def read(cls, folder: Path) -> Sweep:
        path = folder / PLAN
        values = read_json(path)
        left_out = [LeftOut(**one) for one in values.pop("left_out", [])]
        return cls(**values, left_out=left_out, start=path.stat().st_mtime)

    def left(self, begun: int) -> str:
        """How long the runs after the first `begun` will take, by how long those took."""
        if not 0 < begun < self.total:
            return ""
        return f", about {duration((time.time() - self.start) / begun * (self.total - begun))} left"

    def name(self, overrides: Sequence[str]) -> str:
        """A run by what sets it apart from the sweep's others."""
        return name(overrides, self.varied)

    def leaves_out(self, overrides: Sequence[str]) -> bool:
        """Whether a combination is none of its runs."""
        own = self.name(overrides)
        return any(one.run == own for one in self.left_out)

    def place(self, number: int) -> int:
        """Which of its runs the combination of that number is, both counted from 0."""
        return number - sum(one.number < number for one in self.left_out)


def name(overrides: Sequence[str], keys: Sequence[str]) -> str:
    """A run by its values of the keys that differ between a sweep's runs."""
    return " ".join(one for one in overrides if one.partition("=")[0] in keys) or "run"


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
