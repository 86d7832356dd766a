"""Ensembles, PET and iPET as methods: fitted, asked, saved and loaded like any other."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pet_cli.base.files import read_json, write_json
from pet_cli.config import resolve
from pet_cli.config.ensemble import IpetEnsemble, PetEnsemble
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.ensembles.combine import combine, confidence_weights, log_softmax
from pet_cli.ensembles.distillation import (
    check_growth,
    distil,
    next_generation,
    student_config,
    write_soft_labels,
)
from pet_cli.ensembles.members import (
    EnsembleRun,
    MemberResult,
    ensemble_scores,
    forget_others,
    member_rows,
    member_weights,
    members,
    run_members,
    shared_views,
    spread_of,
    with_members,
)
from pet_cli.errors import UserError
from pet_cli.methods.base import Context, Method
from pet_cli.methods.prompted import PromptMethod
from pet_cli.runs import store
from pet_cli.runs.outcome import judged
from pet_cli.runs.saved import saved_config
from pet_cli.tasks.metrics import in_short


class EnsembleMethod(Method):
    """Members of one task, each a prompt of its own, and the rule that makes one answer of theirs.

    After `fit` it knows what its members said of the run's own splits; after `load` it has the members themselves.
    """

    def __init__(self, config: PetConfig, context: Context) -> None:
        super().__init__(config, context)
        self.run: EnsembleRun | None = None
        self.results: list[MemberResult] = []
        self.loaded: list[PromptMethod] = []
        self.weights: np.ndarray | None = None

    @classmethod
    def build(cls, config: PetConfig, context: Context) -> EnsembleMethod:
        context.session.several()
        return cls(config, context)

    def begin(self, splits: Mapping[str, Split]) -> EnsembleRun:
        """What the members share while they are made."""
        if self.context.folder is None:
            raise ValueError("an ensemble needs a folder for its members")
        if self.config.ensemble.weights == "dev" and not splits.get("dev"):
            raise UserError("ensemble.weights=dev needs a development set: give data.dev_shots.")
        self.run = EnsembleRun(self.config, splits, self.context, self.context.folder)
        forget_others(self.run)
        return self.run

    def fit(self, splits: Mapping[str, Split]) -> None:
        run = self.begin(splits)
        self.results = run_members(run)
        self._remember(run)

    def _remember(self, run: EnsembleRun) -> None:
        """Writes who the members are and what each counts for, where that does not differ by text."""
        weights = None
        if self.config.ensemble.weights != "confidence":
            weights = member_weights(self.config, self.results, run.splits, "").tolist()
        names = [one.name for one in self.results]
        write_json(run.folder / "members.json", {"members": names, "weights": weights})

    def predict(self, split: Split) -> np.ndarray:
        run = self.run
        if run is not None and split.name in self.results[0].scores and split.fingerprint == self._of_run(split.name):
            return ensemble_scores(self.config, self.results, run.splits, split.name)
        if not self.loaded:
            assert self.context.folder is not None
            self._load(self.context.folder)
        told = np.stack([log_softmax(member.predict(split)) for member in self.loaded])
        weights = confidence_weights(told) if self.weights is None else self.weights
        return combine(told, self.config.ensemble.combine, weights)

    def _of_run(self, name: str) -> str | None:
        """The fingerprint of the run's own split of that name."""
        assert self.run is not None
        own = self.run.splits.get(name)
        return None if own is None else own.fingerprint

    def save(self, folder: Path, whole: bool = True) -> None:
        """The members are in their folders already, below the ensemble's own."""
        own = self.context.folder
        if own is None or folder.resolve() == own.resolve():
            return
        for place in (own / "members", own / "model", *own.glob("seed-*")):
            if place.is_dir():
                shutil.copytree(place, folder / place.name, dirs_exist_ok=True)
        for name in ("members.json", "trained.safetensors"):
            if (own / name).is_file():
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy2(own / name, folder / name)

    @classmethod
    def load(cls, folder: Path, config: PetConfig, context: Context) -> EnsembleMethod:
        own = cls(config, Context(context.session, context.clock, context.progress, folder))
        own._load(folder)
        return own

    def _load(self, folder: Path) -> None:
        names, weights = _members_of(folder)
        if self.config.ensemble.models == "shared":
            self.loaded = shared_views(folder, self.config, self.context)
            if [member.name for member in members(self.config)] != names:
                raise UserError(f"{folder}: its members are not those that its config.yaml asks for.")
        else:
            self.context.session.several()
            for name in names:
                own = folder / "members" / name
                self.loaded.append(PromptMethod.load(own, saved_config(own), self.context))
        if self.config.ensemble.weights == "confidence":
            return
        try:
            self.weights = np.array([float(weight) for weight in weights or ()]).reshape(len(names))
        except (TypeError, ValueError):
            raise UserError(f"{folder}/members.json is damaged: it does not tell what each member counts.") from None

    def facts(self, test: Split | None = None) -> dict[str, Any]:
        assert self.run is not None
        rows = member_rows(self.results, member_weights(self.config, self.results, self.run.splits, "test"))
        unknown = self.results[0].metrics.get("unknown_tokens", 0.0)
        return {"members": rows, "members_score": spread_of(rows), "unknown_tokens": unknown}

    def notes(self) -> list[str]:
        if self.run is None or resolve.weighing(self.config) is None or self.run.splits.get("train"):
            return []
        rule = self.config.ensemble.weights
        return [f"ensemble.weights={rule}: there are no labeled examples, so that all members count alike"]

    def annotate(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return with_members(rows, self.results)


def _members_of(folder: Path) -> tuple[list[str], list[float] | None]:
    """Names and weights of a finished ensemble's members. Raises `UserError` where its folder does not tell."""
    path = folder / "members.json"
    try:
        if path.is_file():
            found = read_json(path)
            return list(found["members"]), found["weights"]
        path = folder / "metrics.json"
        listed = read_json(path)["members"]  # a run of a version before there was such a file
        return [member["name"] for member in listed], [member["weight"] for member in listed]
    except (KeyError, TypeError):
        raise UserError(f"{path} is damaged: it does not tell the ensemble's members.") from None


class PetMethod(EnsembleMethod):
    """Members that label unlabeled text, in generations where it is iPET, and the student that learns from them."""

    def __init__(self, config: PetConfig, context: Context) -> None:
        super().__init__(config, context)
        self.student: PromptMethod | None = None
        self.generations: list[list[MemberResult]] = []

    def fit(self, splits: Mapping[str, Split]) -> None:
        config, ensemble = self.config, self.config.ensemble
        assert isinstance(ensemble, PetEnsemble)
        unlabeled = splits.get("unlabeled")
        if not unlabeled:
            raise UserError(
                f"ensemble={ensemble.name} needs unlabeled texts: a file named unlabeled in data.path, or a task with "
                "an unlabeled split."
            )
        check_growth(config, len(unlabeled), len(splits["train"]) if "train" in splits else 0)
        run, progress = self.begin(splits), self.context.progress
        with progress.within("members"):
            self.results = run_members(run)
        self.generations = [self.results]
        if isinstance(ensemble, IpetEnsemble):
            for number in range(1, ensemble.generations + 1):
                with progress.within(f"generation {number} of {ensemble.generations}"):
                    self.results = next_generation(run, self.results, number)
                self.generations.append(self.results)
        scores = ensemble_scores(config, self.results, splits, "unlabeled")
        write_soft_labels(run, scores)
        with progress.within("student"):
            self.student = distil(run, scores)

    def predict(self, split: Split) -> np.ndarray:
        assert self.student is not None
        return self.student.predict(split)

    def save(self, folder: Path, whole: bool = True) -> None:
        assert self.student is not None
        self.student.save(folder / "student", whole or self.config.save_model == "auto")
        store.write_config(folder / "student", student_config(self.config))

    @classmethod
    def load(cls, folder: Path, config: PetConfig, context: Context) -> PetMethod:
        own = cls(config, context)
        student = folder / "student"
        own.student = PromptMethod.load(student, saved_config(student), context)
        return own

    def facts(self, test: Split | None = None) -> dict[str, Any]:
        assert self.student is not None and self.run is not None
        told = [self._of(results) for results in self.generations]
        last = told[-1]
        return self.student.facts(test) | {
            "n_unlabeled": len(self.run.splits["unlabeled"]),
            "members": last["members"],
            "members_score": last["members_score"],
            "ensemble": in_short(last),
            "generations": [{"score": one["score"], "members_mean": one["members_score"]["mean"]} for one in told],
        }

    def _of(self, results: Sequence[MemberResult]) -> dict[str, Any]:
        """The metrics of a generation's members together on the test split, and each member's."""
        assert self.run is not None
        splits = self.run.splits
        scores = ensemble_scores(self.config, results, splits, "test")
        rows = member_rows(results, member_weights(self.config, results, splits, "test"))
        metrics = judged(self.config, splits["test"], scores)
        return metrics | {"members": rows, "members_score": spread_of(rows)}
