"""Which run of a sweep each rule chooses, by what the runs' folders say: `choice.json` in the sweep's folder.

Runs stand against each other where task, data and seeds are the same, since a sample is given, not chosen, and so is
whatever `choice.within` names. No test label and no score on the test examples is read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pet_cli.base.files import read_json, read_jsonl, write_json
from pet_cli.base.values import canonical
from pet_cli.choice import scores
from pet_cli.config import resolve
from pet_cli.config.choice import RULES, selected, within
from pet_cli.config.schema import PetConfig
from pet_cli.errors import UserError, choices, nearest, not_allowed
from pet_cli.results import summary
from pet_cli.runs import states
from pet_cli.runs.saved import saved_config
from pet_cli.runs.store import read_config

FILE = "choice.json"
_SEEDS = ("data.seed", "trainer.seed")


@dataclass(frozen=True)
class Group:
    """Runs among which one is chosen.

    Attributes:
        given: what they have in common, by key.
        folders: theirs, in the order of their names.
    """

    given: dict[str, Any]
    folders: tuple[Path, ...]


def given(values: Mapping[str, Any], within: Sequence[str]) -> dict[str, Any]:
    """Of a run's configuration what is not chosen: the task, all keys of its data, the seeds, and `choice.within`."""
    data = values.get("data", {})
    keys = ["task", *(f"data.{key}" for key in data), "trainer.seed", *within]
    return {key: summary.select(values, key) for key in dict.fromkeys(keys)}


def check_sweep(configs: Sequence[PetConfig]) -> None:
    """Raises `UserError` where a sweep's rules have nothing to choose among, or `choice.within` names no key."""
    asked = [config for config in configs if selected(config)]
    if not asked:
        return
    plain = [states.plain(config) for config in asked]
    for key in within(asked[0]):
        if key not in (known := _keys(plain[0])):
            raise UserError(f"choice.within: there is no key '{key}'.{nearest(key, known)}")
    marks = [canonical(given(one, within(asked[0]))) for one in plain]
    if len(set(marks)) == len(marks):
        what = "one run has" if len(marks) == 1 else "runs that differ only in task, data and seeds have"
        also = f" (or in choice.within={','.join(within(asked[0]))})" if within(asked[0]) and len(marks) > 1 else ""
        raise UserError(
            f"select=[{','.join(selected(asked[0]))}]: {what} nothing to choose among{also}. Sweep, with -m, over what "
            "is to be chosen, such as pattern=p0,p1."
        )


def _keys(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key, value in values.items():
        found.append(f"{prefix}{key}")
        if isinstance(value, Mapping):
            found += _keys(value, f"{prefix}{key}.")
    return found


def groups(folders: Iterable[Path], within: Sequence[str]) -> list[Group]:
    """Finished runs by what is given, in the order of their first run."""
    found: dict[str, Group] = {}
    for folder in folders:
        own = given(read_config(folder), within)
        before = found.get(canonical(own), Group(own, ()))
        found[canonical(own)] = Group(own, (*before.folders, folder))
    return list(found.values())


def choose(folder: Path, select: Sequence[str], within: Sequence[str]) -> dict[str, Any]:
    """Writes `choice.json` of a sweep's folder, and returns what it says.

    Of equal scores the first folder's by name wins. A rule that some run of a group has no score by names no winner
    there, and says which and why.
    """
    done = [one for one in summary.run_folders(folder) if states.read(one).get("status") == "done"]
    found = groups(done, within)
    varied = [key for key in _all_keys(found) if len({canonical({key: one.given.get(key)}) for one in found}) > 1]
    said = {
        "rules": {name: f"{RULES[name].says}; the {'lowest' if RULES[name].lowest else 'highest'}" for name in select},
        "within": list(within),
        "groups": [_group(folder, one, select, _shown(one.given, varied)) for one in found],
    }
    write_json(folder / FILE, said)
    return said


def _all_keys(found: Sequence[Group]) -> list[str]:
    return list(dict.fromkeys(key for one in found for key in one.given))


def _shown(given: Mapping[str, Any], varied: Sequence[str]) -> dict[str, Any]:
    """What names a group: task, seeds, and whatever else differs between groups; one seed where both are the same."""
    keys = [key for key in given if key in ("task", "data.shots", *_SEEDS) or key in varied]
    own = {key: given[key] for key in keys}
    if own["data.seed"] == own["trainer.seed"]:
        own["seed"] = own["data.seed"]
        own = {key: value for key, value in own.items() if key not in _SEEDS}
    return own


def _group(sweep: Path, group: Group, select: Sequence[str], given: dict[str, Any]) -> dict[str, Any]:
    names = [str(folder.relative_to(sweep)) for folder in group.folders]
    told = [scores.read(folder) for folder in group.folders]
    by_run: dict[str, dict[str, float]] = {name: {} for name in names}
    winners: dict[str, Any] = {}
    lacking: dict[str, dict[str, str]] = {}
    for rule in select:
        own = [one.get(rule, {}) for one in told]
        missing = {
            n: str(one.get("refused", "not scored yet")) for n, one in zip(names, own, strict=True) if "by" not in one
        }
        if missing:
            lacking[rule] = missing
            winners[rule] = None
            continue
        values = _among(rule, group, own) if RULES[rule].among else [float(one["score"]) for one in own]
        for name, value in zip(names, values, strict=True):
            by_run[name][rule] = value
        best = (min if RULES[rule].lowest else max)(values)
        winners[rule] = {"run": names[values.index(best)], "score": best}
    return {"given": given, "winners": winners, "scores": by_run, **({"lacking": lacking} if lacking else {})}


def _among(rule: str, group: Group, told: Sequence[Mapping[str, Any]]) -> list[float]:
    """The scores of a rule that compares what the runs of a group answered on the same texts."""
    if len({str(one.get("texts")) for one in told}) > 1:
        raise UserError(f"select: {rule} compares answers, and those of {group.folders[0].parent} are on other texts.")
    target = resolve.target(saved_config(group.folders[0]))
    tables = []
    for folder in group.folders:
        path = folder / scores.ANSWERS
        try:
            rows = read_jsonl(path)
            tables.append(np.array([[row["probabilities"][name] for name in target.labels] for row in rows]))
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{path} is damaged, or gone; run the sweep again in another folder.") from None
    together = RULES[rule].among
    assert together is not None
    values = scores.function(together)(tables, target)
    return [float(f"{value:.6g}") for value in values]


def read(folder: Path) -> dict[str, Any]:
    """What `choose` wrote. Raises `UserError` where nothing was chosen, or the file is damaged."""
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{folder}: nothing was chosen there; sweep with select=[cv], for example.")
    found = read_json(path)
    try:
        for group in found["groups"]:
            if not isinstance(group["given"], dict) or not isinstance(group["scores"], dict):
                raise TypeError
            for rule in found["rules"]:
                winner = group["winners"][rule]
                if winner is not None and winner["run"] not in group["scores"]:
                    raise KeyError(rule)
    except (KeyError, TypeError):
        raise UserError(f"{path} is damaged: it does not tell the winners.") from None
    return dict(found)


def winner(folder: Path, rule: str, wanted: Mapping[str, str] | None = None) -> Path:
    """The folder of the run that a rule chose.

    Args:
        wanted: what is given, as it is written, `{"seed": "13"}`, where the sweep chose more than once.

    Raises:
        UserError: a rule that was not asked for, or that named no winner; several winners, or none, for what is wanted.
    """
    told = read(folder)
    if rule not in told["rules"]:
        raise not_allowed("--choice", rule, told["rules"])
    wanted, own = wanted or {}, told["groups"]
    if not own:
        raise UserError(f"--choice {rule}: {folder} chose nothing, since none of its runs has finished.")
    for key, value in wanted.items():
        there = list(dict.fromkeys(_text(group["given"].get(key)) for group in own if key in group["given"]))
        if not there:
            raise UserError(f"--choice {rule} {key}={value}: {folder} chose within {choices(_given_keys(told))}.")
        if value not in there:
            raise not_allowed(f"--choice {rule} {key}", value, there)
        own = [group for group in own if _text(group["given"].get(key)) == value]
    if len(own) > 1:
        keys = [key for key in _given_keys(told) if len({_text(group["given"].get(key)) for group in own}) > 1]
        ways = [" ".join(f"{key}={_text(group['given'].get(key))}" for key in keys) for group in own]
        raise UserError(f"--choice {rule}: {folder} chose {len(own)} times; add one of {choices(ways, 6)}.")
    [group] = own
    chosen = group["winners"][rule]
    if chosen is None:
        name, why = next(iter(group.get("lacking", {}).get(rule, {"a run": "it has no score"}).items()))
        raise UserError(f"--choice {rule}: no run was chosen, since {name} has no score: {why}")
    return folder / str(chosen["run"])


def _given_keys(told: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(key for group in told["groups"] for key in group["given"]))


def _text(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
