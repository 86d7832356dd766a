"""One run: from its settings to a folder of results.

data -> sample -> model -> learner -> training -> scores -> metrics -> files
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pet_cli import config as settings
from pet_cli import results
from pet_cli.config import PetConfig
from pet_cli.data import Split
from pet_cli.metrics import evaluate
from pet_cli.models.masked import MaskedLM
from pet_cli.progress import Progress
from pet_cli.session import Session
from pet_cli.training import TrainReport, TrainSettings, balanced_weights, default_learning_rate, steps_for, train
from pet_cli.tuning import LEARNERS, Learner, PromptLearner
from pet_cli.verbalizer import Verbalizer


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


def build_learner(config: PetConfig, lm: MaskedLM, session: Session) -> Learner:
    """The tuning mode's learner on a model. Raises `UserError` for words or lengths the model cannot take."""
    max_length = config.trainer.max_length or min(256, lm.positions)
    if max_length > lm.positions:
        raise settings.UserError(f"trainer.max_length={max_length}: the model takes at most {lm.positions} tokens.")
    cls = LEARNERS[config.tuning.name]
    options: dict[str, Any] = {
        "settings": config.tuning,
        "labels": settings.labels(config),
        "max_length": max_length,
        "batch_size": config.trainer.eval_batch_size,
        "memo": session.memo,
    }
    if not issubclass(cls, PromptLearner):
        return cls(lm, settings.input_template(config), **options)
    return cls(
        lm,
        settings.prompt_template(config),
        verbalizer=Verbalizer(settings.verbalizer_words(config), config.scoring.combine),
        learned_rate=config.scoring.learned_rate,
        learned_penalty=config.scoring.learned_penalty,
        **options,
    )


def train_settings(config: PetConfig, lm: MaskedLM, n: int) -> TrainSettings:
    """Resolves what the configuration leaves open: steps by the number of examples, the learning rate by the model."""
    trainer = config.trainer
    rate = trainer.learning_rate or getattr(config.tuning, "learning_rate", None) or config.model.learning_rate
    return TrainSettings(
        steps=steps_for(n, trainer.max_steps, trainer.batch_size, config.tuning),
        learning_rate=rate or default_learning_rate(lm.width),
        batch_size=trainer.batch_size,
        weight_decay=trainer.weight_decay,
        warmup=trainer.warmup,
        grad_clip=trainer.grad_clip,
        seed=trainer.seed,
        eval_every=trainer.eval_every,
    )


def fit(
    config: PetConfig, learner: Learner, splits: dict[str, Split], clock: Clock, progress: Progress
) -> tuple[TrainReport, TrainSettings] | None:
    """Trains a learner on the run's sample; None where its mode has nothing to train."""
    if config.tuning.name == "zero_shot":
        return None
    sample = splits["train"]
    how = train_settings(config, learner.lm, len(sample))
    weights = None
    if config.trainer.class_weights == "balanced":
        weights = balanced_weights(sample.targets, len(learner.labels))
    with clock.phase("encode"), progress.stage("encode", len(sample)) as advance:
        encoded = learner.encode(sample.rows, sample.fingerprint, advance)
        dev = None
        if len(splits["dev"]):
            dev = (learner.encode(splits["dev"].rows, splits["dev"].fingerprint), splits["dev"].targets)
    with clock.phase("train"), progress.stage("train", how.steps) as advance:
        report = train(
            learner,
            encoded,
            torch.tensor(sample.targets),
            how,
            class_weight=weights,
            dev=dev,
            advance=advance,
        )
    return report, how


def execute(config: PetConfig, out: Path, session: Session, progress: Progress | None = None) -> Outcome:
    """Runs a configuration and writes its folder."""
    progress = progress or Progress(enabled=False)
    clock = Clock()
    start = time.perf_counter()
    with clock.phase("data"):
        splits = session.splits(config)
    with clock.phase("model"):
        lm = session.language_model(config)
    torch.manual_seed(config.trainer.seed)
    learner = build_learner(config, lm, session)
    trained = fit(config, learner, splits, clock, progress)
    test = splits["test"]
    with clock.phase("encode test"), progress.stage("encode", len(test)) as advance:
        encoded = learner.encode(test.rows, test.fingerprint, advance)
    with clock.phase("evaluate"), progress.stage("evaluate", len(test)) as advance:
        scores = learner.predict(encoded, advance)
    outcome = _outcome(config, learner, splits, scores, trained, encoded.shortened)
    with clock.phase("write"):
        whole = config.save_model == "always" or (config.save_model == "auto" and not session.reuse)
        learner.save(out, whole)
        results.write_run(out, config, outcome.metrics, predictions(test, scores, learner.labels), splits)
    clock.seconds["total"] = time.perf_counter() - start
    results.write_timing(out, timing(clock, lm, len(test)))
    return outcome


def _outcome(
    config: PetConfig,
    learner: Learner,
    splits: dict[str, Split],
    scores: Tensor,
    trained: tuple[TrainReport, TrainSettings] | None,
    shortened: int,
) -> Outcome:
    test = splits["test"]
    metrics = evaluate(test.targets, scores.softmax(dim=1).double().numpy(), learner.labels)
    sample = splits.get("train")
    metrics |= {
        "labels": learner.labels,
        "n_train": len(sample) if sample else 0,
        "n_dev": len(splits["dev"]) if sample else 0,
        "n_test": len(test),
        "max_test": config.data.max_test,
        "shortened": shortened,
        "seed": {"data": config.data.seed, "trainer": config.trainer.seed},
        "versions": results.versions(),
    }
    if trained is not None:
        report, how = trained
        metrics |= {
            "trained_parameters": learner.trained_parameters(),
            "steps": how.steps,
            "learning_rate": how.learning_rate,
            "first_loss": report.losses[0] if report.losses else None,
            "last_loss": float(np.mean(report.losses[-10:])) if report.losses else None,
            "dev_accuracy": report.dev_accuracy,
            "kept_step": report.kept_step,
        }
    return Outcome(metrics, scores, test, warnings(metrics, splits))


def warnings(metrics: dict[str, Any], splits: dict[str, Split]) -> list[str]:
    """What a reader of the table should know before believing it."""
    found = []
    if metrics["one_label"] is not None:
        found.append(f"every prediction is '{metrics['one_label']}'")
    if metrics["shortened"]:
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
            "probabilities": {label: round(p, 6) for label, p in zip(labels, row, strict=True)},
        }
        for example, row in zip(test.examples, probabilities, strict=True)
    ]


def timing(clock: Clock, lm: MaskedLM, n_test: int) -> dict[str, Any]:
    """What differs from run to run: seconds, speed, memory, and the machine."""
    scored = clock.seconds.get("encode test", 0.0) + clock.seconds.get("evaluate", 0.0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "seconds": {name: round(seconds, 4) for name, seconds in clock.seconds.items()},
        "test_examples_per_second": round(n_test / scored, 1) if scored else None,
        "peak_memory_bytes": peak,
        "peak_device_memory_bytes": torch.cuda.max_memory_allocated() if lm.device.type == "cuda" else None,
        "device": str(lm.device),
        "threads": torch.get_num_threads(),
        "process": os.getpid(),
    }
