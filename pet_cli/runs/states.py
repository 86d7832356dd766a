"""Where a run stands, as its folder tells whoever looks: running, done, failed or interrupted.

A process that was killed cannot say so. Whoever reads "running" asks whether that process still lives.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from pet_cli.base.files import read_json, write_json
from pet_cli.base.values import canonical
from pet_cli.config.schema import PetConfig
from pet_cli.data import load as data
from pet_cli.errors import UserError
from pet_cli.models import places
from pet_cli.version import __version__

LEFT_OUT = ("baseline", "choice", "device", "resume", "save_model", "select")
"""Keys that say where and how a result is made and kept, not what it is: no part of a fingerprint or folder's name."""

_OF_PROMPTS = ("pattern", "template")
_PROCESS = ("host", "process", "since")


def plain(config: PetConfig) -> dict[str, Any]:
    """The configuration as plain values, without what does not change a result: nor a model where none is used.

    A model's folder is given in full, so that the run can be asked from anywhere.
    """
    values = asdict(config)
    kept = ("device",)  # where a run was made is worth knowing
    left_out = [key for key in LEFT_OUT if key not in kept]
    for key in (*left_out, *(() if config.method.reads_template else _OF_PROMPTS)):
        del values[key]
    if not config.method.tunes:
        del values["scoring"], values["demonstrations"]
        values |= {group: {"name": "none"} for group in ("tuning", "ensemble")}
    elif (file := config.tuning.starts_from) is not None:
        values["tuning"]["init"] = str(file.resolve())
    if config.method.uses_model:
        values["model"]["name"] = places.located(config.model.name)
    else:
        values["model"] = {"name": "none"}
    if config.method.file is not None:
        values["method"][config.method.file_key] = str(Path(config.method.file).expanduser().resolve())
    return values


def computed(config: PetConfig) -> dict[str, Any]:
    """The configuration as plain values, as far as it decides what is computed."""
    return {key: value for key, value in plain(config).items() if key not in LEFT_OUT}


def file_stamp(config: PetConfig) -> str | None:
    """Identifies the file that a method reads, or a tuning mode starts from, by its size and time; None where there is
    none."""
    path = config.tuning.starts_from if config.method.tunes else config.method.file
    if path is None:
        return None
    path = Path(path).expanduser()
    return f"{path.stat().st_size} {path.stat().st_mtime_ns}" if path.is_file() else None


def model_stamp(config: PetConfig) -> str | None:
    """Identifies the files of a model in a local folder; None for any other, and where no model is used."""
    return places.stamp(config.model.name) if config.method.uses_model else None


_AFTER_MEMBERS = (
    *("combine", "weights", "temperature"),
    *("student", "student_steps", "student_batch_size", "student_learning_rate"),
)


def fingerprint(config: PetConfig, *, members_only: bool = False) -> str:
    """Identifies what a run would compute: its settings, the files of a local model, and the version of the code.

    Args:
        members_only: leaves out what an ensemble does with its members once they are trained, so that equal means
            that finished members can be taken again.
    """
    values = computed(config)
    if members_only:
        values["ensemble"] = {k: v for k, v in values["ensemble"].items() if k not in _AFTER_MEMBERS}
    if stamp := file_stamp(config):
        values["file"] = stamp
    text = canonical([values, model_stamp(config), __version__])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write(folder: Path, status: str, config: PetConfig, overrides: Sequence[str], error: str | None = None) -> None:
    """Notes where a run stands."""
    state: dict[str, Any] = {
        "status": status,
        "fingerprint": fingerprint(config),
        "overrides": list(overrides),
    }
    if config.ensemble.several:
        state["members"] = fingerprint(config, members_only=True)
    if stamp := data.stamp(config.task, config.data):
        state["data"] = stamp
    if stamp := model_stamp(config):
        state["model"] = stamp  # part of the fingerprint; here to tell what has changed
    if status == "running":
        state |= _this_process()
    if error is not None:
        state["error"] = error
    write_json(folder / "state.json", state)


def _this_process() -> dict[str, Any]:
    return {"host": platform.node(), "process": os.getpid(), "since": _start(os.getpid())}


def hold(folder: Path) -> None:
    """Notes that a run is done, and that this process still adds to its folder; `finish` takes that back."""
    write_json(folder / "state.json", read_json(folder / "state.json") | {"status": "done"} | _this_process())


def finish(folder: Path, status: str, error: str | None = None) -> None:
    """Notes how a running run ended: its settings and data stay those that it began with."""
    state: dict[str, Any] = read_json(folder / "state.json")
    kept = {key: value for key, value in state.items() if key not in (*_PROCESS, "error")}
    write_json(folder / "state.json", kept | {"status": status} | ({} if error is None else {"error": error}))


def refuse(folder: Path, overrides: Sequence[str], error: str) -> None:
    """Notes that a run of a sweep was refused before it began; what another run left in the folder stays."""
    path = folder / "state.json"
    if path.is_file() and (there := read_json(path)).get("status") != "failed":
        write_json(path, there | {"refused": error})
    elif not path.is_file():
        write_json(path, {"status": "failed", "overrides": list(overrides), "error": error})


def accept(folder: Path) -> None:
    """Takes back what `refuse` noted: the finished run of the folder is again what is asked for."""
    state: dict[str, Any] = read_json(folder / "state.json")
    if state.pop("refused", None) is not None:
        write_json(folder / "state.json", state)


def heard(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state as whoever started the run is told it: a refusal comes before what an earlier run left."""
    refused = state.get("refused")
    return dict(state) if refused is None else {**state, "status": "refused", "error": refused}


def read(folder: Path) -> dict[str, Any]:
    """The state of a run's folder, empty where it has none; "running" becomes "interrupted" if its process is gone.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / "state.json"
    if not path.is_file():
        return {}
    state: dict[str, Any] = read_json(path)
    overrides = state.get("overrides", []) if isinstance(state, dict) else None
    said = isinstance(overrides, list) and all(isinstance(override, str) for override in overrides)
    if not said or not isinstance(state.get("status"), str):
        raise UserError(f"{path} is damaged: it does not say how the run stands.")
    if state.get("status") == "running" and not _lives(state):
        state["status"] = "interrupted"
    if state.get("status") == "done" and "process" in state and not _lives(state):
        state = {key: value for key, value in state.items() if key not in _PROCESS}
    return state


def finished(state: Mapping[str, Any], config: PetConfig) -> bool:
    """Whether a run is done that computed just what this configuration asks for, of the same data."""
    return (
        state.get("status") == "done"
        and state.get("fingerprint") == fingerprint(config)
        and state.get("data") == data.stamp(config.task, config.data)
    )


def reusable(state: Mapping[str, Any], config: PetConfig) -> bool:
    """Whether an ensemble's trained members are those this configuration asks for; each tells by its own data."""
    return state.get("members") == fingerprint(config, members_only=True) and config.ensemble.several


def difference(folder: Path, state: Mapping[str, Any], config: PetConfig) -> str:
    """Why the finished run of a folder is not what this configuration asks for, in words."""
    path = folder / "config.yaml"
    written = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if not isinstance(written, Mapping):
        raise UserError(f"{path} is damaged: it is not a mapping.")
    there = _flat(written)
    here = _flat(json.loads(json.dumps(computed(config), default=str)))
    changed = [key for key in {**there, **here} if key not in LEFT_OUT and there.get(key) != here.get(key)]
    if changed:
        shown = [f"{key}={there.get(key)} there, {here.get(key)} here" for key in changed[:3]]
        return "; ".join(shown) + (f"; and {len(changed) - 3} more" if len(changed) > 3 else "")
    if state.get("data") != data.stamp(config.task, config.data):
        return "the data have changed since"
    if state.get("model") != model_stamp(config):
        return f"the files of model.name={config.model.name} have changed since"
    return f"it was made by another version than {__version__}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


def elsewhere(state: Mapping[str, Any]) -> str | None:
    """The other process that is working on a run, or adds to a finished one, in words; None where there is none."""
    if state.get("status") not in ("running", "done") or "process" not in state:
        return None
    if (state.get("host"), state.get("process")) == (platform.node(), os.getpid()):
        return None
    return f"process {state.get('process')} on {state.get('host')}"


def _lives(state: Mapping[str, Any]) -> bool:
    """Whether the process that wrote a state still runs; taken to be so on another host, which cannot be asked."""
    process = state.get("process")
    if state.get("host") != platform.node() or not isinstance(process, int) or os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    # The number may have gone to another process since.
    return state.get("since") is None or state["since"] == _start(process)


def _start(process: int) -> int | None:
    """When a process started, in clock ticks since the machine did; None where the system does not say."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        return int(stat.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
