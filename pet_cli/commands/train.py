"""`pet train` under Hydra: sweeps, and one task function that every launcher can call."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from pet_cli.base.files import is_empty, locked, remove_partial
from pet_cli.commands.compose import first_line, translate, typed
from pet_cli.commands.overrides import config_dir, is_sweep, prepare
from pet_cli.config import files as conf_files
from pet_cli.config import registry
from pet_cli.config.schema import PetConfig
from pet_cli.errors import UserError
from pet_cli.results import summary
from pet_cli.runs import states, store
from pet_cli.tasks.metrics import score, title

_FIRST_KEYS = ("pattern", "verbalizer", "tuning", "ensemble", "model", "data.shots", "seed", "task")
_LONG_KEYS = ("data.path", "experiment", "template", "verbalizer", "data.fields", "data.labels", "data.max_test")


def folder_name(overrides: str) -> str:
    """A run's folder within a sweep: its overrides as far as a folder can bear them, and a hash of them all.

    It depends on nothing else, so a sweep that grows finds its finished runs under the same names.
    """
    import hashlib
    import re

    kept = {one.lstrip("+").partition("=")[0]: one for one in overrides.split(",")}
    order = [key for key in (*_FIRST_KEYS, *kept) if key in kept and key not in _LONG_KEYS]
    safe = re.sub(r"[^\w.=,+-]+", "_", ",".join(kept[key] for key in dict.fromkeys(order))).strip("_.,")[:80] or "run"
    return f"{safe}-{hashlib.sha256(overrides.encode()).hexdigest()[:6]}"


def way(method: str, tuning: str) -> str:
    """What a single run's folder is called after: its tuning mode, or the method that has none."""
    known = method in registry.KINDS["method"]
    return tuning if not known or registry.settings_class("method", method).uses_model else method


OmegaConf.register_new_resolver("pet_folder", folder_name, replace=True)
OmegaConf.register_new_resolver("pet_way", way, replace=True)


@dataclass
class Sweep:
    """Where a sweep of this process stands."""

    folder: Path
    total: int
    varied: list[str]
    done: int = 0
    start: float = field(default_factory=time.monotonic)

    def left(self) -> str:
        if not self.done:
            return ""
        seconds = (time.monotonic() - self.start) / self.done * (self.total - self.done)
        return f", about {duration(seconds)} left" if self.done < self.total else ""

    def name(self, overrides: Sequence[str]) -> str:
        """A run by what sets it apart from the sweep's others."""
        return " ".join(one for one in overrides if one.partition("=")[0] in self.varied) or "run"


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


class Refused(BaseException):
    """Ends a sweep before its first run. Hydra turns any `Exception` of a callback into a warning and goes on."""

    def __init__(self, error: Exception) -> None:
        self.error = error


_sweep: Sweep | None = None
_error: Exception | None = None
_session: Any = None
_outcome: Any = None


class CheckSweep(Callback):
    """Checks every combination of a sweep before its first run."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            self.check(config)
        except Exception as error:
            raise Refused(error) from None

    def check(self, config: DictConfig) -> None:
        """Composes and checks each combination, and makes sure that the folder is free."""
        global _sweep
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
        from hydra.core.override_parser.overrides_parser import OverridesParser

        folder = Path(config.hydra.sweep.dir)
        given = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
        overrides = OverridesParser.create().parse_overrides([*given, *config.hydra.overrides.task])
        combinations = BasicSweeper.split_arguments(overrides, None)[0]
        resume = False
        for combination in combinations:
            resume = typed(hydra.compose("train", overrides=combination), _config_dir(config.hydra)).resume
        if not resume and folder.is_dir() and any(folder.iterdir()):
            raise UserError(
                f"hydra.sweep.dir={folder}: the folder is not empty. Give another, or resume=true to go on with it."
            )
        values: dict[str, set[str]] = {}
        for combination in combinations:
            for override in combination:
                key, _, value = override.partition("=")
                values.setdefault(key, set()).add(value)
        _sweep = Sweep(folder, len(combinations), [key for key, seen in values.items() if len(seen) > 1])
        # Callbacks run only in the process of the sweep; a message here must not reach stdout's table.
        print(f"Sweep of {len(combinations)} runs in {folder}", file=sys.stderr)


def _config_dir(hydra_config: Any) -> str | None:
    """The folder of `--config-dir`, as every process of a sweep is told."""
    given = [one.path for one in hydra_config.runtime.config_sources if one.provider == "command-line"]
    return str(given[0]) if given else None


def job(cfg: DictConfig) -> dict[str, Any]:
    """The task function: one run, in this process or a launcher's worker. Its folder tells how it ended."""
    global _error
    hydra_config = HydraConfig.get()
    out = Path(hydra_config.runtime.output_dir)
    sweeping = hydra_config.mode == RunMode.MULTIRUN
    try:
        return _run(typed(cfg, _config_dir(hydra_config)), out, list(hydra_config.overrides.task), sweeping)
    except Exception as error:
        # Kept for `train`: Hydra would print its own account of an error first.
        _error = error
        if sweeping:
            return _finish(out, list(hydra_config.overrides.task), sweeping, f"FAILED: {error}")
        _clean(out)
        return {"folder": str(out), "message": str(error)}


def _run(config: PetConfig, out: Path, overrides: list[str], sweeping: bool) -> dict[str, Any]:
    global _session, _outcome
    with locked(out):  # of two processes that share a sweep, one takes the run
        taken = _claim(config, out, overrides, sweeping)
    if taken:
        return _finish(out, overrides, sweeping, taken)

    from pet_cli.execute import execute  # torch is loaded here, once the configuration is known to be good
    from pet_cli.runs.session import Session

    if _session is None:
        _session = Session(reuse=sweeping)
    start = time.monotonic()
    try:
        _outcome = execute(config, out, _session, _progress(overrides))
    except KeyboardInterrupt:
        states.write(out, "interrupted", config, overrides)
        raise
    except Exception as error:
        if not sweeping:
            raise
        store.write_config(out, config)
        message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {first_line(error)}"
        states.write(out, "failed", config, overrides, message)
        return _finish(out, overrides, sweeping, f"FAILED: {message}")
    states.write(out, "done", config, overrides)
    if not sweeping:
        store.point_latest(out)
    name, value = score(_outcome.metrics)
    return _finish(out, overrides, sweeping, f"{title(name)} {value:.3f} ({duration(time.monotonic() - start)})")


def _claim(config: PetConfig, out: Path, overrides: list[str], sweeping: bool) -> str | None:
    """Makes a run this process's own; or says, in words, that another is at it or has done it."""
    state = states.read(out)
    if config.resume and (where := states.elsewhere(state)):
        if not sweeping:
            raise UserError(f"{out}: {where} is at work on this run. Wait for it, or give another folder.")
        return f"running elsewhere, {where}"
    if config.resume and states.finished(state, config):
        return "done already"
    if config.resume and state.get("status") == "done" and not states.reusable(state, config):
        why = states.difference(out, state, config)
        raise UserError(f"{out} holds another finished run ({why}); give another folder.")
    if not (config.resume and state) and not is_empty(out):
        way = "or resume=true" if state else "it holds no run"
        raise UserError(f"hydra.run.dir={out}: the folder is not empty. Give another, {way}.")
    remove_partial(out)
    states.write(out, "running", config, overrides)
    return None


def _clean(out: Path) -> None:
    """Leaves nothing of a single run that failed before it had results."""
    state = states.read(out)
    if state.get("status") == "running" and not states.elsewhere(state):
        (out / "state.json").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        out.rmdir()  # only where it is empty


def _finish(out: Path, overrides: Sequence[str], sweeping: bool, message: str) -> dict[str, Any]:
    if sweeping and _sweep is not None:
        _sweep.done += 1
        line = f"run {_sweep.done} of {_sweep.total}: {_sweep.name(overrides)}: {message}{_sweep.left()}"
        print(line, file=sys.stderr, flush=True)
    elif sweeping:  # a launcher's worker, which does not know the others
        print(f"{out.name}: {message}", file=sys.stderr, flush=True)
    return {"folder": str(out), "message": message}


def _progress(overrides: Sequence[str]) -> Any:
    from pet_cli.base.progress import Progress

    return Progress(f"run {_sweep.done + 1} of {_sweep.total}{_sweep.left()} ·" if _sweep else "")


def train(argv: Sequence[str]) -> int:
    """Runs `pet train ARGV`; the exit status."""
    global _sweep, _session, _outcome, _error
    _sweep = _session = _outcome = _error = None
    arguments = prepare(argv)
    conf_files.folders(config_dir(arguments))  # refused before anything is composed of it
    sweeping = is_sweep(arguments)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us instead of being printed
    before = sys.argv
    sys.argv = ["pet train", *arguments]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_files.conf_dir()), config_name="train")(job)()
    except Refused as refused:
        raise (translate(refused.error) or refused.error) from None
    except Exception as error:
        raise (translate(error) or error) from None
    finally:
        sys.argv = before
        if _sweep is not None and sweeping:
            rows, configurations = summary.write_sweep(_sweep.folder)
            store.point_latest(_sweep.folder.absolute())
    if sweeping and _sweep is not None:
        from pet_cli.commands.tables import show_sweep

        show_sweep(rows, configurations, _sweep.folder)
        if any(line["status"] == "done" for line in rows):
            from pet_cli.report import write_report

            print(f"Report: {write_report([_sweep.folder])}")
        if _error is not None:  # a run that could not even begin in its folder
            raise translate(_error) or _error
        return 1 if any(line["status"] != "done" for line in rows) else 0
    if _error is not None:
        raise translate(_error) or _error
    if _outcome is not None:
        from pet_cli.commands.tables import show_run

        show_run(_outcome.metrics, _outcome.warnings)
    return 0
