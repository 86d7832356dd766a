"""Runs and sweeps that are killed, go on, or are at work elsewhere: nothing finished is lost or taken by mistake."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pet_cli.commands.cli import main
from pet_cli.results import summary
from pet_cli.runs import states

SMALL = ("model=random", "trainer.max_steps=3", "data.shots=4", "data.max_test=24")
PET = ("ensemble=pet", "ensemble.seeds=1", "ensemble.student_steps=3", "data.max_unlabeled=40")
SWEEP = ("-m", "pattern=p0,p1", "hydra.sweep.dir=s")


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_report: None) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["pet_cli.execute", "pet_cli.ensembles.method", "transformers", "hydra"])


def trained(arguments: list[str], *moment: Any) -> int:
    """Runs `pet train` in a process of its own; its exit status.

    Args:
        moment: a file's name, a number and a flag: at the so-many-th file of that name the process is killed, before
            the file is there, or (the flag) once it is.
    """
    process = FORKS.Process(target=_train, args=(arguments, str(Path.cwd()), *moment))
    process.start()
    process.join(300)
    assert process.exitcode is not None
    return process.exitcode


def _train(arguments: list[str], folder: str, name: str = "", number: int = 0, whole: bool = False) -> None:
    os.chdir(folder)
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    replace, seen = Path.replace, 0

    def counted(path: Path, target: Path) -> Path:
        nonlocal seen
        seen += target.name == name
        if target.name == name and seen == number:
            if whole:
                replace(path, target)
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(path, target)

    Path.replace = counted  # type: ignore[method-assign, assignment]
    sys.exit(main(["train", *arguments]))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder whose contents do not depend on the clock or (Hydra's own) on the folder."""
    found = [path for path in folder.rglob("*") if path.is_file() and "report" not in path.parts]
    return {str(p.relative_to(folder)): p.read_bytes() for p in found if p.name not in ("timing.json", "multirun.yaml")}


def elsewhere(monkeypatch: pytest.MonkeyPatch, where: Path, name: str) -> None:
    (where / name).mkdir()
    monkeypatch.chdir(where / name)


PET_RUN = (*SMALL, *PET, "ensemble.patterns=[p0,p1]", "hydra.run.dir=s")


@pytest.mark.parametrize(
    ("arguments", "moments"),
    [
        (PET_RUN, [("scores.safetensors", 2, False), ("state.json", 2, True), ("soft_labels.jsonl", 1, True)]),
        (PET_RUN, [("config.yaml", 2, False), ("predictions.jsonl", 1, False), ("metrics.json", 1, True)]),
        ((*SMALL, *SWEEP), [("sweep.json", 1, False), ("metrics.json", 2, False), ("state.json", 2, True)]),
        ((*SMALL, *SWEEP), [("state.json", 1, True), ("config.yaml", 2, True), ("runs.csv", 1, False)]),
    ],
    ids=["pet-members", "pet-student", "sweep-runs", "sweep-table"],
)
@pytest.mark.slow
def test_what_was_killed_again_and_again_ends_as_if_it_had_not_been(
    arguments: tuple[str, ...],
    moments: list[tuple[str, int, bool]],
    in_tmp: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    again = [*arguments, "resume=true"]
    elsewhere(monkeypatch, in_tmp, "whole")
    assert trained(again) == 0
    elsewhere(monkeypatch, in_tmp, "killed")
    for moment in moments:
        finished = _finished()
        assert trained(again, *moment) == -signal.SIGKILL, f"it did not come to {moment[0]}"
        assert finished.items() <= _finished().items()
    finished = _finished()
    assert trained(again) == 0
    assert finished.items() <= _finished().items()
    assert contents(in_tmp / "whole") == contents(in_tmp / "killed")


def _finished() -> dict[Path, int]:
    """When each finished run or member wrote its metrics, by their place."""
    done = [path for path in Path().rglob("state.json") if json.loads(path.read_text())["status"] == "done"]
    return {path: (path.parent / "metrics.json").stat().st_mtime_ns for path in done}


@pytest.mark.slow
def test_a_run_at_work_elsewhere_is_left_alone_and_one_whose_process_is_gone_is_run_again(
    in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = ["train", "-m", "seed=1,2", "hydra.sweep.dir=s", *SMALL]
    assert main(sweep) == 0
    (folder,) = (in_tmp / "s").glob("*seed=1*")
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    state = json.loads((folder / "state.json").read_text())
    state |= {"status": "running", "process": other.pid, "since": states._start(other.pid)}
    state["host"] = os.uname().nodename
    (folder / "state.json").write_text(json.dumps(state))
    before = (folder / "metrics.json").stat().st_mtime_ns
    try:
        assert main([*sweep, "resume=true"]) == 1
        assert f"running elsewhere, process {other.pid}" in capsys.readouterr().err
        assert main(["list", "runs", "s"]) == 0
        assert capsys.readouterr().out.splitlines()[0].startswith("running")
        assert main(["train", f"hydra.run.dir={folder}", "seed=1", *SMALL, "resume=true"]) == 2
        assert f"process {other.pid}" in capsys.readouterr().err
        assert (folder / "state.json").is_file()
    finally:
        other.kill()
        other.wait()
    assert (folder / "metrics.json").stat().st_mtime_ns == before
    assert main(["list", "runs", "s"]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("interrupted")
    assert main([*sweep, "resume=true"]) == 0
    assert (folder / "metrics.json").stat().st_mtime_ns > before


def test_a_run_made_anew_leaves_nothing_of_what_its_folder_held(in_tmp: Path) -> None:
    head = ("tuning=head", "resume=true", *SMALL)
    two = ("ensemble=patterns", "ensemble.patterns=[p1,p2]")
    whole = ("ensemble=patterns", "ensemble.patterns=[p0,p1]", "save_model=always", *SMALL)
    assert main(["train", *whole, "hydra.run.dir=r"]) == 0
    (in_tmp / "r" / "notes.txt").write_text("mine")
    for place, other in (("both", (*two, *head)), ("one", head)):
        state = json.loads((in_tmp / "r" / "state.json").read_text())
        (in_tmp / "r" / "state.json").write_text(json.dumps({**state, "status": "failed"}))
        assert main(["train", *other, "hydra.run.dir=r"]) == 0
        assert main(["train", *other, f"hydra.run.dir={place}"]) == 0
        assert contents(in_tmp / "r") == {**contents(in_tmp / place), "notes.txt": b"mine"}


@pytest.mark.parametrize("own", [(), ("ensemble=patterns", "ensemble.patterns=[p0]")])
def test_a_model_that_was_not_kept_is_trained_again_where_it_is_asked_for(own: tuple[str, ...], in_tmp: Path) -> None:
    run = ["train", "hydra.run.dir=r", "save_model=never", "baseline=false", *SMALL, *own]
    assert main(run) == 0
    before = contents(in_tmp / "r")
    run[2] = "save_model=always"
    assert main([*run, "resume=true"]) == 0
    [kept] = (in_tmp / "r").rglob("model.safetensors")
    made, after = kept.stat().st_mtime_ns, contents(in_tmp / "r")
    assert all(after[name] == before[name] for name in before if name != "state.json")  # it tells how it was asked
    assert main([*run, "resume=true"]) == 0 and kept.stat().st_mtime_ns == made


def test_a_run_that_changes_no_model_is_not_made_again_for_one(in_tmp: Path) -> None:
    run = ["train", "hydra.run.dir=r", "tuning=zero_shot", "save_model=always", "baseline=false", *SMALL]
    assert main(run) == 0
    made = (in_tmp / "r" / "metrics.json").stat().st_mtime_ns
    assert main([*run, "resume=true"]) == 0 and (in_tmp / "r" / "metrics.json").stat().st_mtime_ns == made


@pytest.mark.slow
def test_a_run_that_was_cut_short_stands_beside_its_like(in_tmp: Path) -> None:
    assert main(["train", "-m", "pattern=p0,p1", "seed=1,2", "hydra.sweep.dir=s", *SMALL]) == 0
    (folder,) = (in_tmp / "s").glob("*pattern=p1,*seed=2*")
    for name in ("config.yaml", "metrics.json"):
        (folder / name).unlink()
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | {"status": "interrupted"}))
    rows, configurations = summary.write_sweep(in_tmp / "s")
    assert summary.varied(configurations, summary.setting_keys(rows)) == ["pattern"]
    assert [(line["pattern"], line["n"], line["failed"]) for line in configurations] == [("p0", 2, 0), ("p1", 1, 1)]


def test_another_configuration_or_other_data_are_refused_with_the_reason(
    in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = in_tmp / "d"
    data.mkdir()
    for name, n in (("train", 24), ("test", 24)):
        rows = [json.dumps({"text": f"a text of number {i}", "label": i % 2}) for i in range(n)]
        (data / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
    run = ["train", "hydra.run.dir=r", "task=reviews", "data.path=d", *SMALL, "resume=true"]
    assert main(run) == 0
    assert main(run) == 0
    capsys.readouterr()
    assert main([*run, "trainer.seed=5"]) == 2
    assert "trainer.seed=13 there, 5 here" in capsys.readouterr().err
    (data / "test.jsonl").write_text((data / "test.jsonl").read_text().replace("number 3", "number x"))
    assert main(run) == 2
    assert "the data have changed" in capsys.readouterr().err
