"""The runs of a report: read, checked, grouped into configurations. A damaged file is a `UserError` in one line."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pet_cli.base.files import read_json
from pet_cli.base.values import canonical
from pet_cli.config import registry
from pet_cli.errors import UserError
from pet_cli.report.predictions import Predictions, read_predictions
from pet_cli.report.statistics import Estimate, estimate
from pet_cli.report.values import CORE, PVP, brief, natural, shown
from pet_cli.results import summary
from pet_cli.runs import states, store
from pet_cli.tasks.metrics import METRICS, is_metric, score, values
from pet_cli.tasks.targets import TARGETS

# Settings that say what is classified: scores are compared within equal ones only.
DATASET = ("task", "data.path", "data.fields", "data.label", "data.labels", "data.test_fraction")


@dataclass(frozen=True, eq=False)
class Run:
    """One finished run.

    Attributes:
        values: setting -> value; a template given in full stands as its pattern.
        seeds: of the sample and of training.
    """

    folder: Path
    values: Mapping[str, Any]
    seeds: tuple[Any, Any]
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    timing: Mapping[str, Any]
    overrides: tuple[str, ...]

    @property
    def score(self) -> float:
        return score(self.metrics)[1]

    @property
    def metric(self) -> str:
        """The name of the metric that the score is."""
        return score(self.metrics)[0]

    @property
    def kind(self) -> str:
        """Of the task's target."""
        return str(self.metrics.get("target", "label"))

    @property
    def labels(self) -> list[str]:
        return [str(label) for label in self.metrics["labels"]]

    def kind_of(self, group: str) -> Any:
        """The settings' class of what the run used of a group, whatever the file is called that chose it; None where
        it used nothing of it."""
        name = summary.select(self.config, group)
        return registry.settings_class(group, name) if name in registry.KINDS[group] else None

    @property
    def is_ensemble(self) -> bool:
        kind = self.kind_of("ensemble")
        return kind is not None and kind.several

    @property
    def has_prompt(self) -> bool:
        """Whether one pattern and one verbalizer were what it asked by."""
        kind = self.kind_of("tuning")
        return kind is not None and kind.uses_prompt and not self.is_ensemble

    @functools.cached_property
    def dataset(self) -> tuple[str, ...]:
        """Equal for runs whose test examples come from the same source."""
        source = () if summary.select(self.config, "data.path") else ("hub", "config", "revision", "path")
        keys = (*DATASET, *(f"task.source.{key}" for key in source))
        own = [summary.select(self.config, key) or None for key in keys]
        return tuple(map(canonical, own))

    @functools.cached_property
    def predictions(self) -> Predictions | None:
        """None where the file is gone."""
        path = self.folder / "predictions.jsonl"
        return read_predictions(path, self.kind, self.labels, self.metric) if path.is_file() else None


@dataclass(frozen=True, eq=False)
class Configuration:
    """Runs that differ in their seeds alone."""

    values: Mapping[str, Any]
    runs: tuple[Run, ...]

    @functools.cached_property
    def score(self) -> Estimate:
        return estimate([run.score for run in self.runs])

    def metric(self, name: str) -> Estimate:
        """Of the score by its name `score`, or of a metric that all runs have."""
        return self.score if name == "score" else estimate([float(run.metrics[name]) for run in self.runs])


@dataclass(frozen=True)
class Study:
    """All that a report is about.

    Attributes:
        rows: the flat rows of the finished runs, as `summary.table` makes them.
        varied: the settings that differ between finished runs.
        keys: as few of them as tell the configurations apart.
        shared: the settings that all have in common.
        unfinished: run -> what became of it.
        repeats: how many runs were left out since they repeat another's settings and seeds.
    """

    folders: tuple[Path, ...]
    runs: tuple[Run, ...]
    rows: tuple[Mapping[str, Any], ...]
    varied: tuple[str, ...]
    keys: tuple[str, ...]
    shared: Mapping[str, Any]
    configurations: tuple[Configuration, ...]
    unfinished: Mapping[str, str]
    repeats: int

    @functools.cached_property
    def datasets(self) -> dict[tuple[str, ...], str]:
        """Dataset -> its name, in order."""
        first: dict[tuple[str, ...], Run] = {}
        for run in self.runs:
            first.setdefault(run.dataset, run)
        names = [str(run.values.get("task")) for run in first.values()]
        paths = [str(run.values.get("data.path")) for run in first.values()]
        if len(set(names)) < len(names):
            names = [f"{name} ({path})" for name, path in zip(names, paths, strict=True)]
        if len(set(names)) < len(names):
            names = [f"{name}, {number}" for number, name in enumerate(names, start=1)]
        return dict(zip(first, names, strict=True))

    @functools.cached_property
    def metrics(self) -> dict[str, str]:
        """What tables show, with its titles: the score, and a second metric that all runs have."""
        return summary.shown_metrics(self.rows)

    @property
    def score_title(self) -> str:
        return self.metrics["score"]

    @functools.cached_property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest that a score here can be."""
        own = [METRICS[run.metric.partition(":")[0]] for run in self.runs]
        return min(metric.low for metric in own), max(metric.high for metric in own)

    def series_keys(self) -> list[str]:
        """What sets lines and colours of a plot apart: all but pattern, verbalizer and shots."""
        return [key for key in self.keys if key not in (*PVP, "data.shots")]

    def label(self, values: Mapping[str, Any], keys: Sequence[str]) -> str:
        """Some settings by their values: `head · p0 · 16 shots`."""
        # That a run is no ensemble goes without saying, unless nothing else is said.
        parts = [brief(key, values.get(key)) for key in keys if (key, values.get(key)) != ("ensemble", "none")]
        return "\u00a0· ".join(parts or [brief(key, values.get(key)) for key in keys])

    def name(self, values: Mapping[str, Any], keys: Sequence[str] | None = None) -> str:
        """Some settings as they are written on the command line: `tuning=head pattern=p0`."""
        own = self.keys if keys is None else keys
        return " ".join(f"{key}={shown(key, values.get(key))}" for key in own) or "all runs"


# --- reading -------------------------------------------------------------------------------------------------------


def read_study(folders: Sequence[Path]) -> Study:
    """Reads every run below the folders. Raises `UserError` where there is none that finished, or a damaged one."""
    try:
        return _read(folders)
    except UserError as error:
        # A parser tells of a damaged file in several lines.
        raise UserError(" ".join(line.strip() for line in str(error).splitlines())) from None


def _read(folders: Sequence[Path]) -> Study:
    if not folders:
        raise UserError("Give the folder of a sweep or of a run.")
    found: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; pet list runs shows the finished ones.")
        below = summary.run_folders(folder)
        if not below:
            raise UserError(f"{folder} holds no runs; give the folder of a sweep or of a run.")
        for run in below:
            found.setdefault(run.resolve(), run)
    stands = {folder: states.read(folder) for folder in found.values()}
    files = {folder: _files(folder) for folder, state in stands.items() if state["status"] == "done"}
    rows = summary.table(list(stands))
    runs: list[Run] = []
    own_rows: list[Mapping[str, Any]] = []
    unfinished: dict[str, str] = {}
    seen: set[str] = set()
    repeats = 0
    for (folder, state), row in zip(stands.items(), rows, strict=True):
        if state["status"] != "done":
            unfinished[folder.name] = f"{state['status']}. {state.get('error') or ''}".strip()
            continue
        decides = {key: value for key, value in files[folder][0].items() if key not in states.LEFT_OUT}
        mark = canonical(_said(decides))
        if mark in seen:
            repeats += 1
            continue
        seen.add(mark)
        runs.append(_run(folder, state, row, *files[folder]))
        own_rows.append(row)
    if not runs:
        raise UserError(f"{', '.join(map(str, folders))}: none of the {len(rows)} runs has finished.")
    return _study(folders, runs, own_rows, unfinished, repeats)


def _said(value: Any) -> Any:
    """A configuration without what is empty: two versions may write nothing in two ways."""
    if not isinstance(value, Mapping):
        return value
    kept = {str(key): _said(own) for key, own in value.items()}
    return {key: own for key, own in kept.items() if own is not None and own != {} and own != []}


def _files(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Configuration, metrics and timing of a finished run, checked for what a report reads of them."""
    config = store.read_config(folder)
    for name in ("data", "trainer", "tuning"):
        if not isinstance(config.get(name), dict):
            raise UserError(f"{folder / 'config.yaml'} is damaged: no settings '{name}'.")
    metrics = read_json(folder / "metrics.json")
    problem = _problem(metrics)
    if problem:
        raise UserError(f"{folder / 'metrics.json'} is damaged: {problem}.")
    timing = read_json(folder / "timing.json") if (folder / "timing.json").is_file() else {}
    if not isinstance(timing, dict) or not isinstance(timing.get("seconds", {}), dict):
        raise UserError(f"{folder / 'timing.json'} is damaged: it is not a mapping.")
    return config, metrics, timing


def _problem(metrics: Any) -> str | None:
    if not isinstance(metrics, dict):
        return "it is not a mapping"
    problem = _no_score(metrics)
    if problem:
        return problem
    kind, labels, table = metrics.get("target", "label"), metrics.get("labels"), metrics.get("confusion")
    if kind not in TARGETS:
        return f"an unknown kind of target, {kind}"
    if not isinstance(labels, list) or not (labels or kind == "choice"):
        return "no labels"
    if kind == "label":
        try:
            square = np.asarray(table, dtype=float).shape == (len(labels), len(labels))
        except (TypeError, ValueError):
            square = False
        if not square:
            return "no confusion matrix of its labels"
    members = metrics.get("members", [])
    if not isinstance(members, list) or not all(
        isinstance(one, dict) and "name" in one and not _no_score(one) for one in members
    ):
        return "its members are not as a run writes them"
    return None


def _no_score(metrics: Mapping[str, Any]) -> str | None:
    """What is wrong with the numbers of a run or a member."""
    try:
        name, value = score(metrics)
        found = values(metrics)
    except (KeyError, TypeError, ValueError):
        return "no score"
    if not is_metric(name) or not all(-1 <= number <= 1 for number in (value, *found.values())):
        return "no score"
    return None


def _run(
    folder: Path,
    state: Mapping[str, Any],
    row: Mapping[str, Any],
    config: Mapping[str, Any],
    metrics: Mapping[str, Any],
    timing: Mapping[str, Any],
) -> Run:
    values = {key: row[key] for key in summary.setting_keys([row]) if key != "template"}
    if row.get("template") is not None:
        values["pattern"] = row["template"]
    return Run(
        folder=folder,
        values=values,
        seeds=(row["data.seed"], row["trainer.seed"]),
        config=config,
        metrics=metrics,
        timing=timing,
        overrides=tuple(state.get("overrides", [])),
    )


# --- grouping ------------------------------------------------------------------------------------------------------


def _study(
    folders: Sequence[Path],
    runs: Sequence[Run],
    rows: Sequence[Mapping[str, Any]],
    unfinished: Mapping[str, str],
    repeats: int,
) -> Study:
    all_keys = list(runs[0].values)
    varied = [key for key in all_keys if len({str(run.values.get(key)) for run in runs}) > 1]
    ordered = sorted(runs, key=lambda run: [natural(run.values.get(key)) for key in varied])
    configurations = [Configuration(group[0].values, tuple(group)) for group in grouped(ordered, varied).values()]
    return Study(
        folders=tuple(folders),
        runs=tuple(ordered),
        rows=tuple(rows),
        varied=tuple(varied),
        keys=tuple(_fewest(configurations, varied)),
        shared={key: runs[0].values[key] for key in all_keys if key not in varied and runs[0].values[key] is not None},
        configurations=tuple(configurations),
        unfinished=unfinished,
        repeats=repeats,
    )


def grouped(runs: Iterable[Run], keys: Sequence[str]) -> dict[tuple[str, ...], list[Run]]:
    """Runs by their values of some settings, in the order of their first run, seeds ascending."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(str(run.values.get(key)) for key in keys), []).append(run)
    return {
        values: sorted(group, key=lambda run: [natural(seed) for seed in run.seeds]) for values, group in groups.items()
    }


def _fewest(configurations: Sequence[Configuration], varied: Sequence[str]) -> list[str]:
    """The varied settings without those that say nothing beyond the others, such as a path that follows the task."""
    keys = summary.varied([one.values for one in configurations], varied)
    for key in reversed(keys):
        fewer = [other for other in keys if other != key]
        marks = {tuple(str(one.values.get(other)) for other in fewer) for one in configurations}
        if key not in CORE and len(marks) == len(configurations):
            keys = fewer
    return keys


def levels(runs: Sequence[Run], key: str) -> list[Any]:
    return sorted({str(run.values.get(key)): run.values.get(key) for run in runs}.values(), key=natural)
