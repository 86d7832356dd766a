"""What a configuration asks for, done: one run, an ensemble, PET or iPET."""

from __future__ import annotations

import time
from pathlib import Path

from pet_cli.base.progress import Progress
from pet_cli.config.ensemble import PetEnsemble
from pet_cli.config.schema import PetConfig
from pet_cli.ensembles.distillation import execute_pet
from pet_cli.ensembles.members import Stage, execute_ensemble
from pet_cli.runs import store
from pet_cli.runs.session import Session
from pet_cli.runs.single import Clock, Outcome, execute_single, forget_peak_memory, timing


def execute(config: PetConfig, out: Path, session: Session, progress: Progress | None = None) -> Outcome:
    """Runs a configuration and writes its folder."""
    progress = progress or Progress(enabled=False)
    clock = Clock()
    start = time.perf_counter()
    forget_peak_memory()
    with clock.phase("data"):
        splits = session.splits(config)
    if config.ensemble.name == "none":
        outcome = execute_single(config, out, session, splits, clock, progress)
    else:
        session.several()
        stage = Stage(config, out, session, splits, clock, progress)
        outcome = execute_pet(stage) if isinstance(config.ensemble, PetEnsemble) else execute_ensemble(stage)
    clock.seconds["total"] = time.perf_counter() - start
    store.write_timing(out, timing(clock, session.device(config), len(splits["test"])))
    return outcome
