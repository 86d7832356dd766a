"""One run: from its settings to a folder of results.

data -> sample -> model -> learner -> training -> scores -> metrics -> files
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pet_cli.base.progress import Progress
from pet_cli.config import resolve
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.errors import UserError
from pet_cli.models.base import LanguageModel
from pet_cli.runs import store
from pet_cli.runs.session import Session
from pet_cli.tasks.metrics import evaluate
from pet_cli.training.loop import TrainReport, TrainSettings, balanced_weights, steps_for, train
from pet_cli.training.mlm import MaskedModelling
from pet_cli.tuning import LEARNERS, Learner, PromptLearner
from pet_cli.verbalizers.manual import Verbalizer


@dataclass
class Clock:
    """Seconds by phase."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@dataclass
class Outcome:
    """What a run found.

    Attributes:
        metrics: what `metrics.json` holds.
        scores: label scores of the test examples `[examples, labels]`.
        test: the examples scored.
        warnings: what a reader of the table should know.
    """

    metrics: dict[str, Any]
    scores: Tensor
    test: Split
    warnings: list[str]


def build_learner(config: PetConfig, lm: LanguageModel, session: Session) -> Learner:
    """The tuning mode's learner on a model. Raises `UserError` for words or lengths the model cannot take."""
    max_length = config.trainer.max_length or min(256, lm.positions)
    if max_length > lm.positions:
        raise UserError(f"trainer.max_length={max_length}: the model takes at most {lm.positions} tokens.")
    lm.normalise = config.scoring.length_normalise
    cls = LEARNERS[config.tuning.name]
    options: dict[str, Any] = {
        "settings": config.tuning,
        "labels": resolve.labels(config),
        "max_length": max_length,
        "batch_size": config.trainer.eval_batch_size,
        "memo": session.memo,
    }
    if not issubclass(cls, PromptLearner):
        return cls(lm, resolve.input_template(config), **options)
    return cls(
        lm,
        resolve.prompt_template(config),
        verbalizer=Verbalizer(resolve.verbalizer_words(config), config.scoring.combine),
        learned_rate=config.scoring.learned_rate,
        learned_penalty=config.scoring.learned_penalty,
        **options,
    )


def train_settings(config: PetConfig, lm: LanguageModel, n: int) -> TrainSettings:
    """Resolves what the configuration leaves open: steps by the number of examples, the learning rate by the model."""
    trainer = config.trainer
    rate = trainer.learning_rate or getattr(config.tuning, "learning_rate", None) or config.model.learning_rate
    return TrainSettings(
        steps=steps_for(n, trainer.max_steps, trainer.batch_size, config.tuning),
        learning_rate=rate or lm.default_learning_rate,
        batch_size=trainer.batch_size,
        weight_decay=trainer.weight_decay,
        warmup=trainer.warmup,
        grad_clip=trainer.grad_clip,
        seed=trainer.seed,
        eval_every=trainer.eval_every,
    )


@dataclass(frozen=True)
class Auxiliary:
    """PET's auxiliary task while a member trains: unlabeled texts, their number in a step, the share of the loss."""

    unlabeled: Split
    batch_size: int
    alpha: float


@dataclass
class Fitted:
    """A trained learner and what it says.

    Attributes:
        scores: split name -> label scores `[examples, labels]`.
        trained: the loop's report and settings; None where nothing trained.
        shortened: how many test examples were shortened.
    """

    learner: Learner
    scores: dict[str, Tensor]
    trained: tuple[TrainReport, TrainSettings] | None
    shortened: int


def fit(
    config: PetConfig,
    learner: Learner,
    splits: Mapping[str, Split],
    clock: Clock,
    progress: Progress,
    *,
    soft: Tensor | None = None,
    temperature: float = 1.0,
    auxiliary: Auxiliary | None = None,
) -> tuple[TrainReport, TrainSettings] | None:
    """Trains a learner on the run's sample; None where there is nothing to train, or nothing to train on.

    Args:
        soft: label probabilities `[examples, labels]` to learn instead of the labels, at `temperature`.
    """
    sample = splits.get("train")
    if not resolve.trains(config) or not sample:
        return None
    how = train_settings(config, learner.lm, len(sample))
    weights = None
    if config.trainer.class_weights == "balanced":
        weights = balanced_weights(sample.targets, len(learner.labels))
    with clock.phase("encode"), progress.stage("encode", len(sample)) as advance:
        encoded = learner.encode(sample.rows, sample.fingerprint, advance)
        dev = None
        if splits.get("dev"):
            dev = (learner.encode(splits["dev"].rows, splits["dev"].fingerprint), splits["dev"].targets)
        mlm = None
        if auxiliary is not None and auxiliary.alpha > 0:
            texts = auxiliary.unlabeled
            prompts = learner.encode(texts.rows, texts.fingerprint).prompts
            mlm = MaskedModelling(learner.lm, prompts, auxiliary.batch_size, how.seed)
    with clock.phase("train"), progress.stage("train", how.steps) as advance:
        report = train(
            learner,
            encoded,
            torch.tensor(sample.targets) if soft is None else soft,
            how,
            class_weight=weights,
            dev=dev,
            temperature=temperature,
            mlm=mlm,
            alpha=auxiliary.alpha if auxiliary else 0.0,
            advance=advance,
        )
    return report, how


def fit_and_score(
    config: PetConfig,
    session: Session,
    splits: Mapping[str, Split],
    score: Sequence[str],
    clock: Clock,
    progress: Progress,
    **training: Any,
) -> Fitted:
    """Builds, trains and asks one learner: the core of a single run, of a member and of a student alike."""
    with clock.phase("model"):
        lm = session.language_model(config)
    torch.manual_seed(config.trainer.seed)
    learner = build_learner(config, lm, session)
    trained = fit(config, learner, splits, clock, progress, **training)
    fitted = Fitted(learner, {}, trained, 0)
    for name in score:
        fitted.scores[name], shortened = ask(learner, splits[name], clock, progress)
        fitted.shortened += shortened if name == "test" else 0
    return fitted


def ask(learner: Learner, split: Split, clock: Clock, progress: Progress) -> tuple[Tensor, int]:
    """Label scores `[examples, labels]` of a split, and how many of its examples were shortened."""
    with clock.phase(f"encode {split.name}"), progress.stage("encode", len(split)) as advance:
        encoded = learner.encode(split.rows, split.fingerprint, advance)
    with clock.phase(f"evaluate {split.name}"), progress.stage("evaluate", len(split)) as advance:
        return learner.predict(encoded, advance), encoded.shortened


def saves_whole(config: PetConfig, session: Session) -> bool:
    return config.save_model == "always" or (config.save_model == "auto" and not session.reuse)


def execute_single(
    config: PetConfig, out: Path, session: Session, splits: Mapping[str, Split], clock: Clock, progress: Progress
) -> Outcome:
    """Runs one template with one verbalizer (or no prompt at all) and writes its folder."""
    fitted = fit_and_score(config, session, splits, ["test"], clock, progress)
    outcome = outcome_of(config, fitted, splits)
    with clock.phase("write"):
        fitted.learner.save(out, saves_whole(config, session))
        rows = predictions(splits["test"], outcome.scores, fitted.learner.labels)
        store.write_run(out, config, outcome.metrics, rows, splits)
    return outcome


def outcome_of(config: PetConfig, fitted: Fitted, splits: Mapping[str, Split]) -> Outcome:
    """The metrics of a fitted learner on the test split."""
    learner, scores = fitted.learner, fitted.scores["test"]
    metrics = evaluate(splits["test"].targets, scores.softmax(dim=1).double().numpy(), learner.labels)
    metrics |= facts(config, splits, learner.labels) | {"shortened": fitted.shortened}
    if fitted.trained is not None:
        report, how = fitted.trained
        metrics |= {
            "trained_parameters": learner.trained_parameters(),
            "steps": how.steps,
            "learning_rate": how.learning_rate,
            "first_loss": report.losses[0] if report.losses else None,
            "last_loss": float(np.mean(report.losses[-10:])) if report.losses else None,
            "dev_accuracy": report.dev_accuracy,
            "kept_step": report.kept_step,
        }
    return Outcome(metrics, scores, splits["test"], warnings(metrics, splits))


def facts(config: PetConfig, splits: Mapping[str, Split], labels: list[str]) -> dict[str, Any]:
    """What a result is about: labels, numbers of examples, seeds, versions."""
    return {
        "labels": labels,
        "n_train": len(splits["train"]) if "train" in splits else 0,
        "n_dev": len(splits["dev"]) if "dev" in splits else 0,
        "n_test": len(splits["test"]),
        "max_test": config.data.max_test,
        "seed": {"data": config.data.seed, "trainer": config.trainer.seed},
        "versions": store.versions(),
    }


def warnings(metrics: Mapping[str, Any], splits: Mapping[str, Split]) -> list[str]:
    """What a reader of the table should know before believing it."""
    found = []
    if metrics["one_label"] is not None:
        found.append(f"every prediction is '{metrics['one_label']}'")
    if metrics.get("shortened"):
        found.append(f"{metrics['shortened']} of {metrics['n_test']} test examples were shortened")
    if metrics["max_test"] is not None:
        found.append(f"scored on {metrics['n_test']} test examples (data.max_test={metrics['max_test']})")
    for name in ("train", "test"):
        targets = splits[name].targets if name in splits else []
        share = max((targets.count(label) / len(targets) for label in set(targets)), default=0.0)
        if share > 0.8:
            found.append(f"one label holds {share:.0%} of the {name} examples: read macro-F1")
    return found


def predictions(test: Split, scores: Tensor, labels: list[str]) -> list[dict[str, Any]]:
    """One row for each test example: its row in the source, gold and predicted label, probabilities by label."""
    probabilities = scores.softmax(dim=1).tolist()
    return [
        {
            "row": example.row,
            "gold": labels[example.label] if example.label is not None else None,
            "predicted": labels[max(range(len(labels)), key=row.__getitem__)],
            "probabilities": {label: float(f"{p:.6g}") for label, p in zip(labels, row, strict=True)},
        }
        for example, row in zip(test.examples, probabilities, strict=True)
    ]


def forget_peak_memory() -> None:
    """Starts the peak of memory anew where Linux lets us: a run of a sweep is not to report an earlier one's."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None) if os.name == "posix" else None, "malloc_trim", None):
        trim(0)  # glibc keeps what was freed, and it would count
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def timing(clock: Clock, device: torch.device, n_test: int) -> dict[str, Any]:
    """What differs from run to run: seconds, speed, memory, and the machine."""
    scored = clock.seconds.get("encode test", 0.0) + clock.seconds.get("evaluate test", 0.0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "seconds": {name: round(seconds, 4) for name, seconds in clock.seconds.items()},
        "test_examples_per_second": round(n_test / scored, 1) if scored else None,
        "peak_memory_bytes": peak,
        "peak_device_memory_bytes": torch.cuda.max_memory_allocated() if device.type == "cuda" else None,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "process": os.getpid(),
    }
