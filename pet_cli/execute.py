"""What a configuration asks for, done: one run, an ensemble, PET or iPET."""

from __future__ import annotations

import time
from pathlib import Path

from pet_cli import results
from pet_cli.config import PetConfig, PetEnsemble
from pet_cli.distillation import execute_pet
from pet_cli.members import Stage, execute_ensemble
from pet_cli.progress import Progress
from pet_cli.run import Clock, Outcome, execute_single, forget_peak_memory, timing
from pet_cli.session import Session


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
    results.write_timing(out, timing(clock, session.device(config), len(splits["test"])))
    return outcome
