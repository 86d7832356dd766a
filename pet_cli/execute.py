"""What a configuration asks for, done: build, fit, predict, evaluate, write."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from pet_cli import methods
from pet_cli.base.clock import Clock
from pet_cli.base.files import write_json
from pet_cli.base.progress import Progress
from pet_cli.config import resolve
from pet_cli.config.build import option
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Split
from pet_cli.models import places
from pet_cli.runs import store
from pet_cli.runs.account import account
from pet_cli.runs.outcome import outcome_of, predictions
from pet_cli.runs.session import Session
from pet_cli.runs.timing import forget_peak_memory, timing


def execute(config: PetConfig, out: Path, session: Session, progress: Progress | None = None) -> methods.Method:
    """Runs a configuration and writes its folder; the method as it was fitted."""
    clock, progress = Clock(), progress or Progress(enabled=False)
    start = time.perf_counter()
    forget_peak_memory()
    with clock.phase("data"):
        splits = session.splits(config)
    test = splits["test"]
    progress.passed("data", ", ".join(f"{len(split):,} {name}" for name, split in splits.items() if len(split)))
    context = methods.Context(session, clock, progress, out)
    mark = zero_shot(config, context, test) if config.baseline else None
    if mark is not None:
        progress.passed("zero-shot", f"{len(test):,} examples")
    method = methods.build(config, context)
    method.fit(splits)
    progress.passed("fit")
    scores = method.predict(test)
    progress.passed("test", f"{len(test):,} examples")
    outcome = outcome_of(config, splits, scores, method.labels, method.facts(test))
    found_notes = resolve.found_notes(config, places.located(config.model.name))
    outcome.warnings[:0] = [*found_notes, *method.notes()]
    outcome.metrics["notes"] = outcome.warnings  # so that whoever reads the folder alone can say them
    with clock.phase("write"):
        method.save(out, saves_whole(config, session))
        write_json(out / "account.json", account(config, session, splits, scores, mark))
        rows = method.annotate(predictions(test, scores, method.target))
        store.write_run(out, config, outcome.metrics | {"warnings": outcome.warnings}, rows, splits)
    clock.seconds["total"] = time.perf_counter() - start
    store.write_timing(out, timing(clock, session.device(config), len(test)))
    return method


def zero_shot(config: PetConfig, context: methods.Context, test: Split) -> np.ndarray | None:
    """Label scores `[examples, labels]` of the model as it is with the run's prompt, the mark beside what was trained.

    It is asked before anything trains, without demonstrations. None where nothing is learned of examples, or there is
    no prompt.
    """
    if not resolve.uses_prompt(config) or not resolve.learns(config):
        return None
    untrained = replace(config, tuning=option("tuning", "zero_shot"), ensemble=option("ensemble", "none"))
    with context.clock.phase("zero-shot"):
        own = replace(context, clock=Clock(), folder=None)
        return methods.build(untrained, own).predict(test)


def saves_whole(config: PetConfig, session: Session) -> bool:
    """Whether a language model that training changed is written: where one run was asked for, or on request."""
    return config.save_model == "always" or (config.save_model == "auto" and not session.reuse)
