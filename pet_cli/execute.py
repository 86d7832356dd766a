"""What a configuration asks for, done: build, fit, predict, evaluate, write."""

from __future__ import annotations

import time
from pathlib import Path

from pet_cli import methods
from pet_cli.base.clock import Clock
from pet_cli.base.progress import Progress
from pet_cli.config.schema import PetConfig
from pet_cli.runs import store
from pet_cli.runs.outcome import Outcome, outcome_of, predictions
from pet_cli.runs.session import Session
from pet_cli.runs.timing import forget_peak_memory, timing


def execute(config: PetConfig, out: Path, session: Session, progress: Progress | None = None) -> Outcome:
    """Runs a configuration and writes its folder."""
    clock = Clock()
    start = time.perf_counter()
    forget_peak_memory()
    with clock.phase("data"):
        splits = session.splits(config)
    test = splits["test"]
    method = methods.build(config, methods.Context(session, clock, progress or Progress(enabled=False), out))
    method.fit(splits)
    scores = method.predict(test)
    outcome = outcome_of(config, splits, scores, method.labels, method.facts(test))
    outcome.warnings[:0] = method.notes()
    outcome.metrics["notes"] = outcome.warnings  # so that whoever reads the folder alone can say them
    with clock.phase("write"):
        method.save(out, saves_whole(config, session))
        rows = method.annotate(predictions(test, scores, method.target))
        store.write_run(out, config, outcome.metrics | {"warnings": outcome.warnings}, rows, splits)
    clock.seconds["total"] = time.perf_counter() - start
    store.write_timing(out, timing(clock, session.device(config), len(test)))
    return outcome


def saves_whole(config: PetConfig, session: Session) -> bool:
    """Whether a language model that training changed is written: where one run was asked for, or on request."""
    return config.save_model == "always" or (config.save_model == "auto" and not session.reuse)
