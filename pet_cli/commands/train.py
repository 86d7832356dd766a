"""`pet train` under Hydra: sweeps, and one task function that every launcher can call."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from pet_cli.base.files import is_empty, locked, read_json, remove_partial
from pet_cli.choice import scores, winners
from pet_cli.commands import choice
from pet_cli.commands.compose import check_files, composed, first_line, translate, typed
from pet_cli.commands.overrides import config_dir, is_sweep, prepare
from pet_cli.commands.sweep import Limits, Sweep, check_limits, combined, duration, limit, name, rung, varied
from pet_cli.config import files as conf_files
from pet_cli.config import registry
from pet_cli.config.schema import PetConfig
from pet_cli.errors import Unfit, UserError
from pet_cli.results import summary
from pet_cli.results.left_out import LeftOut
from pet_cli.runs import states, store
from pet_cli.runs.saved import lacks_model
from pet_cli.tasks.metrics import score, title

_FIRST_KEYS = ("rung", "pattern", "verbalizer", "tuning", "ensemble", "model", "data.shots", "seed", "task")
_LONG_KEYS = (
    *("data.path", "experiment", "template", "verbalizer", "data.fields", "data.labels", "data.max_test"),
    "found",
)


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
    return tuning if not known or registry.settings_class("method", method).tunes else method


OmegaConf.register_new_resolver("pet_folder", folder_name, replace=True)
OmegaConf.register_new_resolver("pet_way", way, replace=True)


class Refused(BaseException):
    """Takes an error of a single run, or of a sweep before its first run, past Hydra.

    Of an `Exception` in a job Hydra prints its own account; one in a callback it turns into a warning and goes on.
    """

    def __init__(self, error: Exception) -> None:
        self.error = error


class CheckSweep(Callback):
    """Checks every combination of a sweep before its first run, and lets `train` know what Hydra begins.

    `train` finds the folder in `HydraConfig`, as any job finds its own there; nothing else comes back from a job.

    Args:
        only: rung -> the shots at which a sweep takes it; a rung that is not named is taken at all of them.
    """

    def __init__(self, only: Any = None) -> None:
        given = OmegaConf.to_container(only) if OmegaConf.is_config(only) else only
        self.only: Limits = given or {}  # type: ignore[assignment]

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        HydraConfig.instance().set_config(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            self.check(config)
        except Exception as error:
            raise Refused(error) from None
        HydraConfig.instance().set_config(config)

    def check(self, config: DictConfig) -> None:
        """Composes and checks each combination, makes sure that the folder is free, and writes the sweep's plan."""
        folder = Path(config.hydra.sweep.dir)
        given = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
        task = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
        assert isinstance(task, list)
        combinations = combined([*given, *map(str, task)])
        own = [one for one in config.hydra.overrides.hydra if not one.startswith("hydra.mode=")]
        check_limits(self.only, _config_dir(config.hydra))
        keys = varied(combinations)
        resume, folders, configs = False, [], []
        left_out: list[LeftOut] = []
        for number, combination in enumerate(combinations):
            found = composed([*own, *combination], with_hydra=True)
            subfolder = _subfolder(found)
            with open_dict(found):
                del found["hydra"]
            try:
                checked = typed(found, _config_dir(config.hydra))
                limit(self.only, checked, combination)
            except Unfit as error:
                on = rung(combination)
                if on is None:
                    raise
                left_out.append(LeftOut(name(combination, keys), number, on, found.data.shots, str(error)))
                continue
            folders.append(subfolder)
            configs.append(checked)
            resume = checked.resume
        if not configs:
            raise UserError(f"Nothing of this sweep is left: {left_out[0].why}")
        if not resume and folder.is_dir() and any(folder.iterdir()):
            raise UserError(
                f"hydra.sweep.dir={folder}: the folder is not empty. Give another, or resume=true to go on with it."
            )
        from pet_cli.commands.words import check_words

        check_words(configs)
        known = [one for one in folders if one is not None]
        if len(set(known)) < len(known):
            _share_a_folder(keys)
        rules = choice.asked(configs)
        if folder.is_dir():
            remove_partial(folder, below=False)
        Sweep(len(configs), keys, known, left_out, rules).write(folder)
        # Callbacks run only in the process of the sweep; a message here must not reach stdout's table.
        print(f"Sweep of {len(configs)} runs in {folder}", file=sys.stderr)
        if left_out:
            from pet_cli.commands.tables import show_left_out

            show_left_out(left_out)


def _config_dir(hydra_config: Any) -> str | None:
    """The folder of `--config-dir`, as every process of a sweep is told."""
    given = [one.path for one in hydra_config.runtime.config_sources if one.provider == "command-line"]
    return str(given[0]) if given else None


def _subfolder(composed: DictConfig) -> str | None:
    """The name of a run's folder in the sweep's; None where it depends on what is known only when the job starts."""
    try:
        return str(composed.hydra.sweep.subdir)
    except OmegaConfBaseException:
        return None


def _share_a_folder(varied: Sequence[str]) -> None:
    """Raises the error for runs of a sweep that would lie in one folder."""
    idle = [key for key in varied if key.lstrip("+").partition(".")[0] in states.LEFT_OUT]
    if idle == ["select"]:
        raise UserError("select: several rules are a list, select=[cv,mdl]; they change no result.")
    if idle:
        raise UserError(f"{idle[0]}: it changes no result, so runs that differ by it alone share a folder; give one.")
    raise UserError("two runs of this sweep are the same, or share a folder: a value stands there twice.")


def job(cfg: DictConfig) -> None:
    """The task function: one run, in this process or a launcher's worker. Its folder tells how it ended."""
    hydra_config = HydraConfig.get()
    out, overrides = Path(hydra_config.runtime.output_dir), list(hydra_config.overrides.task)
    if hydra_config.mode != RunMode.MULTIRUN:
        try:
            config = typed(cfg, _config_dir(hydra_config))
            winners.check_sweep([config])
            _run(config, out, overrides, "")
        except Exception as error:
            raise Refused(error) from error
        return
    sweep = Sweep.read(Path(hydra_config.sweep.dir))
    if sweep.leaves_out(overrides):
        with contextlib.suppress(OSError):  # Hydra has made a folder; an earlier sweep's run may lie there
            out.rmdir()
        return
    number = sweep.place(int(hydra_config.job.num))
    place = f"run {number + 1} of {sweep.total}"
    try:
        said = _run(typed(cfg, _config_dir(hydra_config)), out, overrides, f"{place}{sweep.left(number)} ·")
    except Exception as error:
        said = f"FAILED: {_message(error)}"
        with contextlib.suppress(UserError):  # `train` misses a folder that could not be written
            states.refuse(out, overrides, _message(error))
    line = f"{place}: {sweep.name(overrides)}: {said}{sweep.left(number + 1)}"
    print(line, file=sys.stderr, flush=True)


def _run(config: PetConfig, out: Path, overrides: list[str], heading: str) -> str:
    """One run in its folder, which tells how it ended; returns what a sweep says of it.

    Args:
        heading: what its bars begin with, in a sweep; empty for a single run.
    """
    with locked(out):  # of two processes that share a sweep, one takes the run
        taken = _claim(config, out, overrides, sweeping=bool(heading))
        if taken == _DONE and scores.lacking(out, config):
            states.hold(out)
        elif taken:
            return taken

    from pet_cli.base.progress import Progress
    from pet_cli.execute import execute  # torch is loaded here, once the configuration is known to be good
    from pet_cli.runs import session

    start, own, progress = time.monotonic(), session.of_process(bool(heading)), Progress(heading)
    if taken:
        return f"{taken}, scored for choice{choice.score(config, out, own, progress, None)}"
    try:
        method = execute(config, out, own, progress)
    except KeyboardInterrupt:
        states.finish(out, "interrupted")
        raise
    except Exception as error:
        store.write_config(out, config)
        states.finish(out, "failed", _message(error))
        raise
    further = choice.score(config, out, own, progress, method) if scores.lacking(out, config) else ""
    states.finish(out, "done")
    metric, value = score(read_json(out / "metrics.json"))
    return f"{title(metric)} {value:.3f} ({duration(time.monotonic() - start)}){further}"


_DONE = "done already"


def _message(error: Exception) -> str:
    """An error in one line: a user's mistake in its own words, another after its kind."""
    mistake = translate(error)
    return str(mistake) if mistake is not None else f"{type(error).__name__}: {first_line(error)}"


def _claim(config: PetConfig, out: Path, overrides: list[str], sweeping: bool) -> str | None:
    """Makes a run this process's own; or says, in words, that another is at it or has done it."""
    state = states.read(out)
    if config.resume and (where := states.elsewhere(state)):
        if not sweeping:
            raise UserError(f"{out}: {where} is at work on this run. Wait for it, or give another folder.")
        return f"running elsewhere, {where}"
    finished = config.resume and states.finished(state, config)
    if finished and not lacks_model(out, config):
        states.accept(out)
        return _DONE
    if config.resume and state.get("status") == "done" and not finished and not states.reusable(state, config):
        why = states.difference(out, state, config)
        raise UserError(f"{out} holds another finished run ({why}); give another folder.")
    if not (config.resume and state) and not is_empty(out):
        way = "or resume=true" if state else "it holds no run"
        raise UserError(f"hydra.run.dir={out}: the folder is not empty. Give another, {way}.")
    remove_partial(out)
    states.write(out, "running", config, overrides)
    store.clear(out, *(() if config.ensemble.several else ("members",)))  # members are looked at one by one
    return None


def _clean(out: Path) -> None:
    """Leaves nothing of a single run that failed before it had results."""
    left = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if left <= {"state.json", "config.yaml"} and states.read(out).get("status") in (None, "failed"):
        for name in left:
            (out / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            out.rmdir()


def train(argv: Sequence[str]) -> int:
    """Runs `pet train ARGV`; the exit status."""
    from pet_cli.runs import session

    arguments = prepare(argv)
    conf_files.folders(config_dir(arguments))  # refused before anything is composed of it
    check_files(arguments, config_dir(arguments))
    sweeping = is_sweep(arguments)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach us instead of being printed
    before, sys.argv = sys.argv, ["pet train", *arguments]
    begun = HydraConfig.instance()
    begun.cfg = None
    session.of_process.cache_clear()
    try:
        hydra.main(version_base="1.3", config_path=str(conf_files.conf_dir()), config_name="train")(job)()
    except Refused as refused:
        if begun.cfg is not None and not sweeping:
            _clean(Path(begun.cfg.hydra.run.dir))
        raise (translate(refused.error) or refused.error) from None
    except ValueError as error:  # Hydra's, of the command line: a run keeps its own errors
        raise translate(error) or UserError(first_line(error)) from None
    except Exception as error:
        raise (translate(error) or error) from None
    except KeyboardInterrupt:
        if begun.cfg is not None and sweeping:
            summary.write_sweep(Path(begun.cfg.hydra.sweep.dir))
        raise
    finally:
        sys.argv = before
    if begun.cfg is None or any(one.split("=")[0] in ("--cfg", "-c", "--info", "-i") for one in arguments):
        return 0  # something was printed, nothing was run
    if sweeping:
        return _tell_sweep(Path(begun.cfg.hydra.sweep.dir))
    return _tell_run(Path(begun.cfg.hydra.run.dir), config_dir(arguments))


def _tell_run(folder: Path, own: str | None) -> int:
    """Shows a single run as its folder tells it; `own` is the user's folder of configs."""
    from pet_cli.commands.tables import show_run

    store.point_latest(folder.absolute())
    show_run(folder, own)
    return 0


def _tell_sweep(folder: Path) -> int:
    """Writes and shows the tables of a sweep, as its runs' folders tell them; the exit status."""
    from pet_cli.commands.tables import show_sweep

    rows, configurations = summary.write_sweep(folder)
    store.point_latest(folder.absolute())
    show_sweep(rows, configurations, folder)
    plan = Sweep.read(folder)
    chosen = not plan.choice or choice.tell(folder, plan.choice, plan.varied)
    if any(line["status"] == "done" for line in rows):
        from pet_cli.report import write_report

        print(f"Report: {write_report([folder])}")
    missing = [name for name in plan.folders if not (folder / name / "state.json").is_file()]
    if missing:
        print(f"pet: {len(missing)} runs left no trace, {missing[0]} first; go on with resume=true.", file=sys.stderr)
    return 1 if missing or not chosen or any(line["status"] != "done" for line in rows) else 0
