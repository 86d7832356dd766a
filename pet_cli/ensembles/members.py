"""Ensembles of patterns, PVPs and seeds: their members, and the run that combines them.

A member is a run of its own with one template and one verbalizer; its folder lies below the ensemble's and holds all
that a run's folder holds, so finished members are taken as they are when an ensemble is resumed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pet_cli.base.clock import Clock
from pet_cli.base.files import atomic, read_json, write_json
from pet_cli.base.progress import Progress
from pet_cli.config import resolve
from pet_cli.config.schema import PetConfig
from pet_cli.config.tuning import ZeroShotTuning
from pet_cli.data.examples import Split
from pet_cli.ensembles.combine import combine, confidence_weights, fit_weights
from pet_cli.ensembles.views import ViewsLearner
from pet_cli.methods.base import Context
from pet_cli.methods.prompted import (
    Auxiliary,
    Fitted,
    PromptMethod,
    ask,
    build_learner,
    facts,
    fit,
    fit_and_score,
    to_learn,
    with_saved_model,
)
from pet_cli.runs import states, store
from pet_cli.runs.outcome import outcome_of, predictions, score
from pet_cli.runs.session import Session
from pet_cli.tasks.metrics import values
from pet_cli.tuning import PromptLearner


@dataclass(frozen=True)
class Member:
    """One member: its name (`p0-v0`, with `-s1` for a further seed) and its own run's settings."""

    name: str
    config: PetConfig


@dataclass
class Said:
    """What a member said: label scores by split, its metrics, and its weight by PET's rule.

    Attributes:
        scores: split name -> `[examples, labels]`.
        before: the score on the training examples before training; None where there are none.
    """

    name: str
    scores: dict[str, Tensor]
    metrics: dict[str, Any]
    before: float | None = None


@dataclass
class Stage:
    """What the members of one ensemble share while they run."""

    config: PetConfig
    out: Path
    session: Session
    splits: Mapping[str, Split]
    clock: Clock
    progress: Progress
    score: Sequence[str] = ("test",)
    auxiliary: Auxiliary | None = None
    trained: int = 0
    results: list[Said] = field(default_factory=list)


def members(config: PetConfig) -> list[Member]:
    """Every pair of template and verbalizer under every training seed, pairs first."""
    ensemble = config.ensemble
    seeds = 1 if ensemble.average == "weights" else ensemble.seeds
    found = []
    for repetition in range(seeds):
        for pattern, verbalizer in resolve.pvps(config):
            name = f"{_label(pattern, 't')}-{_label(verbalizer, 'w')}" + (f"-s{repetition}" if repetition else "")
            seed = config.trainer.seed + repetition
            found.append(Member(name, resolve.member_config(config, pattern, verbalizer, seed)))
    return found


def _label(given: Any, letter: str) -> str:
    """An id as it is; a template or mapping in full by a short hash."""
    text = str(given)
    if len(text) <= 4 and text.isalnum():
        return text
    return letter + hashlib.sha256(text.encode()).hexdigest()[:6]


def run_member(member: Member, stage: Stage, splits: Mapping[str, Split], folder: Path) -> Said:
    """Trains and asks a member, or takes it from its folder where it has finished with equal settings and data."""
    session, progress = stage.session, stage.progress
    data = "-".join(splits[name].fingerprint for name in ("train", *stage.score) if name in splits)
    key = f"{states.fingerprint(member.config)}-{hashlib.sha256(data.encode()).hexdigest()[:16]}"
    if _finished(folder, key):
        return _load(member, folder)
    title = progress.prefix
    progress.prefix = f"{title} {member.name}".strip()
    try:
        before = _score_before(member.config, stage, splits)
        if stage.config.ensemble.average == "weights" and stage.config.ensemble.seeds > 1:
            fitted = _averaged(member.config, stage, splits)
        else:
            fitted = fit_and_score(
                member.config, session, splits, stage.score, stage.clock, progress, auxiliary=stage.auxiliary
            )
    finally:
        progress.prefix = title
    stage.trained += fitted.trained is not None
    said = Said(member.name, fitted.scores, member_metrics(member, fitted, splits), before)
    fitted.learner.save(folder, whole=stage.config.save_model == "always")
    if "test" in splits:
        rows = predictions(splits["test"], fitted.scores["test"].numpy(), resolve.target(member.config))
        store.write_run(folder, member.config, said.metrics, rows, splits)
    else:
        store.write_config(folder, member.config)
    scores = {name: tensor.contiguous() for name, tensor in fitted.scores.items()}
    with atomic(folder / "scores.safetensors") as temporary:
        save_file(scores, temporary, metadata={"before": "" if before is None else repr(before)})
    write_json(folder / "state.json", {"status": "done", "fingerprint": key})
    return said


def member_metrics(member: Member, fitted: Fitted, splits: Mapping[str, Split]) -> dict[str, Any]:
    """A member's own metrics on the test split; none where there is no such split."""
    if "test" not in splits:
        return {}
    learner, scores = fitted.learner, fitted.scores["test"].numpy()
    own = facts(learner, fitted.trained, fitted.shortened)
    return outcome_of(member.config, splits, scores, learner.labels, own).metrics


def _finished(folder: Path, key: str) -> bool:
    state = folder / "state.json"
    return state.is_file() and read_json(state) == {"status": "done", "fingerprint": key}


def _load(member: Member, folder: Path) -> Said:
    from safetensors import safe_open

    path = folder / "scores.safetensors"
    with safe_open(path, "pt") as file:
        before = (file.metadata() or {}).get("before", "")
    scores = load_file(path)
    return Said(member.name, scores, read_json(folder / "metrics.json"), float(before) if before else None)


def _score_before(config: PetConfig, stage: Stage, splits: Mapping[str, Split]) -> float | None:
    """PET's weight: how good the untrained model is on the training examples."""
    metric = resolve.weighing(stage.config)
    if metric is None or not splits.get("train"):
        return None
    untrained = replace(config, tuning=ZeroShotTuning())
    learner = build_learner(untrained, stage.session.language_model(untrained), stage.session)
    scores, _ = ask(learner, splits["train"], stage.clock, stage.progress)
    return score(config, splits["train"], scores.numpy(), metric)


def _averaged(config: PetConfig, stage: Stage, splits: Mapping[str, Split]) -> Fitted:
    """One member trained under several seeds, its trained weights averaged: one model at inference."""
    total: dict[str, Tensor] = {}
    seeds = stage.config.ensemble.seeds
    trained = None
    for repetition in range(seeds):
        own = replace(config, trainer=replace(config.trainer, seed=config.trainer.seed + repetition))
        learner = build_learner(own, stage.session.language_model(own), stage.session)
        trained = fit(own, learner, splits, stage.clock, stage.progress, auxiliary=stage.auxiliary) or trained
        for name, tensor in _trained_tensors(learner).items():
            share = tensor.detach().double() / seeds
            total[name] = total[name] + share if name in total else share
    last = learner.trained_state()
    learner.load_trained_state({name: total[f"own.{name}"].to(tensor.dtype) for name, tensor in last.items()})
    if learner.trains_model:
        with torch.no_grad():
            for name, tensor in learner.lm.model.named_parameters():
                tensor.copy_(total[f"model.{name}"])
    fitted = Fitted(learner, {}, trained, 0)
    for name in stage.score:
        fitted.scores[name], shortened = ask(learner, splits[name], stage.clock, stage.progress)
        fitted.shortened += shortened if name == "test" else 0
    return fitted


def _trained_tensors(learner: Any) -> dict[str, Tensor]:
    own = {f"own.{name}": tensor for name, tensor in learner.trained_state().items()}
    if learner.trains_model:
        own |= {f"model.{name}": tensor for name, tensor in learner.lm.model.named_parameters()}
    return own


def run_shared(found: Sequence[Member], stage: Stage, splits: Mapping[str, Split]) -> list[Said]:
    """One model trained on all members' views of each example, asked once through each view."""
    config = stage.config
    lm = stage.session.language_model(config)
    before = [_score_before(member.config, stage, splits) for member in found]
    lm = stage.session.language_model(config)
    torch.manual_seed(config.trainer.seed)
    views = [build_learner(member.config, lm, stage.session) for member in found]
    assert all(isinstance(view, PromptLearner) for view in views)
    learner = ViewsLearner([view for view in views if isinstance(view, PromptLearner)])
    trained = fit(config, learner, learner.spread(splits), stage.clock, stage.progress)
    learner.save(stage.out, whole=stage.config.save_model == "always" and trained is not None)
    said = []
    for member, view, weight in zip(found, views, before, strict=True):
        fitted = Fitted(view, {}, trained, 0)
        for name in stage.score:
            fitted.scores[name], shortened = ask(view, splits[name], stage.clock, stage.progress)
            fitted.shortened += shortened if name == "test" else 0
        said.append(Said(member.name, fitted.scores, member_metrics(member, fitted, splits), weight))
    return said


def shared_views(folder: Path, config: PetConfig, context: Context) -> list[PromptMethod]:
    """The members of a finished ensemble with a shared model, each a view of that model."""
    own = with_saved_model(folder, config)
    lm = context.session.language_model(own)
    found = members(own)
    views = [build_learner(member.config, lm, context.session) for member in found]
    ViewsLearner([view for view in views if isinstance(view, PromptLearner)]).load(folder)
    return [PromptMethod(member.config, view, context) for member, view in zip(found, views, strict=True)]


def run_members(stage: Stage) -> list[Said]:
    """All members of an ensemble on the run's own sample."""
    found = members(stage.config)
    if stage.config.ensemble.models == "shared":
        return run_shared(found, stage, stage.splits)
    total = len(found)
    title = stage.progress.prefix
    said = []
    for number, member in enumerate(found, start=1):
        stage.progress.prefix = f"{title} member {number} of {total}".strip()
        said.append(run_member(member, stage, stage.splits, stage.out / "members" / member.name))
    stage.progress.prefix = title
    return said


def log_probabilities(said: Sequence[Said], split: str) -> np.ndarray:
    """`[members, examples, labels]`, float64."""
    return np.stack([one.scores[split].double().log_softmax(dim=1).numpy() for one in said])


def member_weights(config: PetConfig, said: Sequence[Said], splits: Mapping[str, Split], split: str) -> np.ndarray:
    """How much each member counts, `[members]` or `[members, examples]`, by `ensemble.weights`."""
    rule = config.ensemble.weights
    if isinstance(rule, (list, tuple)):
        repeat = len(said) // len(rule)
        return np.array(list(rule) * repeat, dtype=float)
    if resolve.weighing(config) is not None:
        known = [max(0.0, one.before) for one in said if one.before is not None]  # a correlation may be negative
        if len(known) == len(said) and sum(known) > 0:
            return np.array(known)
    if rule == "dev":
        return fit_weights(log_probabilities(said, "dev"), to_learn(config, splits["dev"]).numpy())
    if rule == "confidence":
        return confidence_weights(log_probabilities(said, split))
    return np.ones(len(said))


def together(config: PetConfig, said: Sequence[Said], splits: Mapping[str, Split], split: str) -> Tensor:
    """The ensemble's label scores `[examples, labels]` on a split, log-probabilities."""
    weights = member_weights(config, said, splits, split)
    return torch.from_numpy(combine(log_probabilities(said, split), config.ensemble.combine, weights)).float()


def member_rows(said: Sequence[Said], weights: np.ndarray) -> list[dict[str, Any]]:
    """The members in the metrics file; a weight that differs by example is given as its mean."""
    shares = weights / weights.sum(axis=0)
    shares = shares if shares.ndim == 1 else shares.mean(axis=1)
    return [
        {"name": one.name, "score": one.metrics["score"], **values(one.metrics), "weight": float(share)}
        for one, share in zip(said, shares, strict=True)
    ]


def spread_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean, standard deviation and best of the members' scores."""
    scores = [row["score"] for row in rows]
    best = max(rows, key=lambda row: row["score"])
    return {
        "mean": float(np.mean(scores)),
        "std": float(np.std(scores, ddof=1)) if len(scores) > 1 else None,
        "best": best["name"],
        "best_score": best["score"],
        "worst_score": min(scores),
    }


def with_members(rows: list[dict[str, Any]], said: Sequence[Said], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Adds each member's probabilities to the predictions, so that they can be combined again without a model."""
    own = {one.name: store.softmax(one.scores["test"]) for one in said}
    for number, row in enumerate(rows):
        row["members"] = {name: store.by_label(labels, table[number]) for name, table in own.items()}
    return rows
