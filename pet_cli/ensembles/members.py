"""Ensembles of patterns, PVPs and seeds: their members, and the run that combines them.

A member is a run of its own with one template and one verbalizer; its folder lies below the ensemble's and holds all
that a run's folder holds, so finished members are taken as they are when an ensemble is resumed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from pet_cli.base.files import atomic, read_json, write_json
from pet_cli.config import resolve
from pet_cli.config.build import option
from pet_cli.config.ensemble import IpetEnsemble, PetEnsemble
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.ensembles.combine import combine, confidence_weights, fit_weights, log_softmax
from pet_cli.ensembles.views import ViewsLearner
from pet_cli.errors import UserError
from pet_cli.methods.base import Context
from pet_cli.methods.prompted import Auxiliary, PromptMethod, build_learner, to_learn, with_saved_model
from pet_cli.runs import states, store
from pet_cli.runs.outcome import outcome_of, predictions, score
from pet_cli.runs.saved import lacks_model
from pet_cli.tasks.metrics import values
from pet_cli.tuning import Learner, PromptLearner


@dataclass(frozen=True)
class Member:
    """One member: its name (`p0-v0`, with `-s1` for a further seed) and its own run's settings."""

    name: str
    config: PetConfig


@dataclass(frozen=True)
class MemberResult:
    """What a member says of the splits it was asked about.

    Attributes:
        scores: split name -> label scores `[examples, labels]`.
        metrics: its own run's, on the test split.
        weight: what it counts by a rule that asks nothing of it, see `prior_weights`.
    """

    name: str
    scores: Mapping[str, np.ndarray]
    metrics: Mapping[str, Any]
    weight: float = 1.0


@dataclass(frozen=True)
class EnsembleRun:
    """What the members of one ensemble share while they are made.

    Attributes:
        folder: the ensemble's own; the members' lie below it.
    """

    config: PetConfig
    splits: Mapping[str, Split]
    context: Context
    folder: Path

    @property
    def asked(self) -> list[str]:
        """The splits that every member is asked about as soon as it is trained: all that any rule may need of it."""
        names = ("test", "dev", "unlabeled") if isinstance(self.config.ensemble, PetEnsemble) else ("test", "dev")
        return [name for name in names if self.splits.get(name)]

    @property
    def auxiliary(self) -> Auxiliary | None:
        """PET's loss beside the labels' while a member trains."""
        ensemble = self.config.ensemble
        if not isinstance(ensemble, PetEnsemble):
            return None
        return Auxiliary(self.splits["unlabeled"], ensemble.unlabeled_batch_size, ensemble.alpha)


def members(config: PetConfig) -> list[Member]:
    """Every pair of template and verbalizer under every training seed, pairs first.

    Raises:
        UserError: a pair stands there twice; members are told apart by their names.
    """
    ensemble = config.ensemble
    seeds = 1 if ensemble.average == "weights" else ensemble.seeds
    found: list[Member] = []
    for repetition in range(seeds):
        for pattern, verbalizer in resolve.pvps(config):
            name = f"{_label(pattern, 't')}-{_label(verbalizer, 'w')}" + (f"-s{repetition}" if repetition else "")
            seed = config.trainer.seed + repetition
            if name in {member.name for member in found}:
                raise UserError(f"ensemble={ensemble.name}: the member {name} stands there twice.")
            found.append(Member(name, resolve.member_config(config, pattern, verbalizer, seed)))
    return found


def _label(given: Any, letter: str) -> str:
    """An id as it is; a template or mapping in full by a short hash."""
    text = str(given)
    if len(text) <= 4 and text.isalnum():
        return text
    return letter + hashlib.sha256(text.encode()).hexdigest()[:6]


def forget_others(run: EnsembleRun) -> None:
    """Removes the members of an earlier ensemble in the same folder that are none of this one's."""
    ensemble, folder = run.config.ensemble, run.folder / "members"
    names = [member.name for member in members(run.config)] if ensemble.models == "separate" else []
    rounds = range(1, ensemble.generations + 1) if isinstance(ensemble, IpetEnsemble) else ()
    own = {folder / name for name in names} | {folder / f"generation-{n}" / name for n in rounds for name in names}
    for state in list(folder.rglob("state.json")):
        if state.parent not in own:
            shutil.rmtree(state.parent)


def run_members(run: EnsembleRun) -> list[MemberResult]:
    """All members of an ensemble on the run's own sample."""
    found = members(run.config)
    weights = prior_weights(run, found)
    if run.config.ensemble.models == "shared":
        return run_shared(run, found, weights)
    results = []
    for number, (member, weight) in enumerate(zip(found, weights, strict=True), start=1):
        with run.context.progress.within(f"member {number} of {len(found)} {member.name}"):
            results.append(run_member(run, member, weight, run.splits, run.folder / "members" / member.name))
    return results


def run_member(
    run: EnsembleRun, member: Member, weight: float, splits: Mapping[str, Split], folder: Path
) -> MemberResult:
    """Trains and asks a member, or takes it from its folder where it has finished with all that made it equal.

    Args:
        splits: the run's, or with another training set.
    """
    key = member_key(run, member, splits)
    finished = _finished(member, weight, folder, key)
    if finished is not None and not lacks_model(folder, member.config):
        return finished
    store.clear(folder, "state.json")
    if run.config.ensemble.average == "weights" and run.config.ensemble.seeds > 1:
        method = _averaged(run, member.config, splits)
    else:
        method = PromptMethod.build(member.config, run.context)
        method.fit(splits, auxiliary=run.auxiliary)
    result = result_of(run, member, weight, method, splits)
    method.save(folder, whole=run.config.save_model == "always")
    if "test" in splits:
        rows = predictions(splits["test"], result.scores["test"], method.target)
        store.write_run(folder, member.config, result.metrics, rows, splits)
    else:
        store.write_config(folder, member.config)
    with atomic(folder / "scores.safetensors") as temporary:
        save_file({name: np.ascontiguousarray(scores) for name, scores in result.scores.items()}, temporary)
    write_json(folder / "state.json", {"status": "done", "fingerprint": key})
    return result


def result_of(
    run: EnsembleRun, member: Member, weight: float, method: PromptMethod, splits: Mapping[str, Split]
) -> MemberResult:
    """What a trained member says of the splits that matter, with its metrics where there is a test split."""
    scores = {name: method.predict(splits[name]) for name in run.asked}
    metrics: dict[str, Any] = {}
    if "test" in splits:
        own = method.facts(splits["test"])
        metrics = outcome_of(member.config, splits, scores["test"], method.labels, own).metrics
    return MemberResult(member.name, scores, metrics, weight)


def member_key(run: EnsembleRun, member: Member, splits: Mapping[str, Split]) -> str:
    """Identifies all that makes a member: its settings, what else of the ensemble trains it, model and texts."""
    ensemble = run.config.ensemble
    own: dict[str, Any] = {}
    if ensemble.average == "weights":
        own |= {"average": ensemble.average, "seeds": ensemble.seeds}
    if run.auxiliary is not None and ensemble.alpha > 0:
        own |= {"alpha": ensemble.alpha, "unlabeled_batch_size": ensemble.unlabeled_batch_size}
    texts = {name: splits[name].fingerprint for name in ("train", *run.asked) if name in splits}
    made = [states.fingerprint(member.config), own, texts]  # the fingerprint holds the model's
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:32]


def _finished(member: Member, weight: float, folder: Path, key: str) -> MemberResult | None:
    """What a finished member's folder says; None where it is not whole, or of another member."""
    try:
        if read_json(folder / "state.json") != {"status": "done", "fingerprint": key}:
            return None
        metrics = read_json(folder / "metrics.json") if (folder / "metrics.json").is_file() else {}
        return MemberResult(member.name, load_file(folder / "scores.safetensors"), metrics, weight)
    except (UserError, OSError, SafetensorError):
        return None


def prior_weights(run: EnsembleRun, found: Sequence[Member]) -> list[float]:
    """What each member counts by a rule that asks nothing of it: listed numbers, or PET's rule; else 1.

    PET's rule is how good the untrained model is on the labeled examples with the member's template and words (Schick
    & Schütze 2021a, §3.3), by the task's score or the metric that is named. Without labeled examples, and where no
    member was ever right, all count alike.
    """
    rule = run.config.ensemble.weights
    if isinstance(rule, (list, tuple)):  # for each pair, or for each pair under each seed
        return [float(weight) for weight in rule] * (len(found) // len(rule))
    train = run.splits.get("train")
    metric = resolve.weighing(run.config)
    if metric is None or not train:
        return [1.0] * len(found)
    pairs = len(resolve.pvps(run.config))
    found_good = []
    for member in found[:pairs]:  # the others differ by the seed of a training that does not take place here
        untrained = PromptMethod.build(replace(member.config, tuning=option("tuning", "zero_shot")), run.context)
        found_good.append(max(0.0, score(member.config, train, untrained.predict(train), metric)))
    return (found_good if any(found_good) else [1.0] * pairs) * (len(found) // pairs)


def _averaged(run: EnsembleRun, config: PetConfig, splits: Mapping[str, Split]) -> PromptMethod:
    """One member trained under several seeds, its trained weights averaged: one model at inference."""
    total: dict[str, Tensor] = {}
    seeds = run.config.ensemble.seeds
    for repetition in range(seeds):
        own = replace(config, trainer=replace(config.trainer, seed=config.trainer.seed + repetition))
        method = PromptMethod.build(own, run.context)
        method.fit(splits, auxiliary=run.auxiliary)
        for name, tensor in _trained_tensors(method.learner).items():
            share = tensor.detach().double() / seeds
            total[name] = total[name] + share if name in total else share
    learner = method.learner
    last = learner.trained_state()
    learner.load_trained_state({name: total[f"own.{name}"].to(tensor.dtype) for name, tensor in last.items()})
    if learner.trains_model:
        with torch.no_grad():
            for name, tensor in learner.lm.model.named_parameters():
                tensor.copy_(total[f"model.{name}"])
    return method


def _trained_tensors(learner: Learner) -> dict[str, Tensor]:
    own = {f"own.{name}": tensor for name, tensor in learner.trained_state().items()}
    if learner.trains_model:
        own |= {f"model.{name}": tensor for name, tensor in learner.lm.model.named_parameters()}
    return own


def run_shared(run: EnsembleRun, found: Sequence[Member], weights: Sequence[float]) -> list[MemberResult]:
    """For each training seed one model, trained on its members' views of each example, asked through each view."""
    results = []
    views = len(found) // run.config.ensemble.seeds
    for seed, start in enumerate(range(0, len(found), views)):
        own = found[start : start + views]
        config = replace(run.config, trainer=own[0].config.trainer)
        learners = _views(own, config, run.context)
        method = PromptMethod(config, ViewsLearner(learners), run.context)
        with run.context.progress.within(f"model {seed + 1} of {run.config.ensemble.seeds}"):
            method.fit(ViewsLearner.spread(run.splits, views))
            trained = method.trained is not None
            method.save(_of_seed(run.folder, seed), whole=run.config.save_model == "always" and trained)
            for member, view, weight in zip(own, learners, weights[start:], strict=False):
                one = PromptMethod(member.config, view, run.context)
                one.trained = method.trained
                results.append(result_of(run, member, weight, one, run.splits))
    return results


def _of_seed(folder: Path, seed: int) -> Path:
    """Where the model of a training seed lies: the first one's in the run's own folder."""
    return folder / f"seed-{seed}" if seed else folder


def _views(found: Sequence[Member], config: PetConfig, context: Context) -> list[PromptLearner]:
    """The members as prompts on one model."""
    lm = context.session.language_model(config)
    torch.manual_seed(config.trainer.seed)
    views = [build_learner(member.config, lm, context.session) for member in found]
    return [view for view in views if isinstance(view, PromptLearner)]


def shared_views(folder: Path, config: PetConfig, context: Context) -> list[PromptMethod]:
    """The members of a finished ensemble with a shared model, each a view of its seed's model."""
    found = members(config)
    views = len(found) // config.ensemble.seeds
    loaded = []
    for seed, start in enumerate(range(0, len(found), views)):
        own = found[start : start + views]
        with torch.random.fork_rng(devices=[]):  # what is about to be loaded is drawn first
            learners = _views(own, with_saved_model(_of_seed(folder, seed), config), context)
            ViewsLearner(learners).load(_of_seed(folder, seed))
        loaded += [PromptMethod(member.config, view, context) for member, view in zip(own, learners, strict=True)]
    return loaded


def log_probabilities(results: Sequence[MemberResult], split: str) -> np.ndarray:
    """`[members, examples, labels]`, float64."""
    return np.stack([log_softmax(one.scores[split]) for one in results])


def member_weights(
    config: PetConfig, results: Sequence[MemberResult], splits: Mapping[str, Split], split: str
) -> np.ndarray:
    """How much each member counts, `[members]` or `[members, examples]`, by `ensemble.weights`.

    The members may be some of the ensemble's; of those that all count nothing, each counts alike.
    """
    rule = config.ensemble.weights
    if rule == "dev":
        return fit_weights(log_probabilities(results, "dev"), to_learn(config, splits["dev"]).numpy())
    if rule == "confidence":
        return confidence_weights(log_probabilities(results, split))
    weights = np.array([one.weight for one in results])
    return weights if weights.any() else np.ones(len(results))


def ensemble_scores(
    config: PetConfig, results: Sequence[MemberResult], splits: Mapping[str, Split], split: str
) -> np.ndarray:
    """The ensemble's label scores `[examples, labels]` on a split, log-probabilities in float64."""
    weights = member_weights(config, results, splits, split)
    return combine(log_probabilities(results, split), config.ensemble.combine, weights)


def member_rows(results: Sequence[MemberResult], weights: np.ndarray) -> list[dict[str, Any]]:
    """The members in the metrics file; a weight that differs by example is given as its mean."""
    shares = weights / weights.sum(axis=0)
    shares = shares if shares.ndim == 1 else shares.mean(axis=1)
    return [
        {"name": one.name, "score": one.metrics["score"], **values(one.metrics), "weight": float(share)}
        for one, share in zip(results, shares, strict=True)
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


def with_members(rows: list[dict[str, Any]], results: Sequence[MemberResult]) -> list[dict[str, Any]]:
    """Adds each member's probabilities to the predictions, so that they can be combined again without a model."""
    own = {one.name: store.softmax(one.scores["test"]) for one in results}
    for number, row in enumerate(rows):
        columns = list(row["probabilities"])  # the labels, or the example's own candidates
        row["members"] = {name: store.by_label(columns, table[number, : len(columns)]) for name, table in own.items()}
    return rows
