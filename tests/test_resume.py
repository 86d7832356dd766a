"""Runs and sweeps that are killed, go on, or are at work elsewhere: nothing finished is lost or taken by mistake."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pet_cli.commands.cli import main
from pet_cli.results import summary
from pet_cli.runs import states

SMALL = ("model=random", "trainer.max_steps=3", "data.shots=4", "data.max_test=24")
PET = ("ensemble=pet", "ensemble.seeds=1", "ensemble.student_steps=3", "data.max_unlabeled=40")
SWEEP = ("-m", "pattern=p0,p1,p2", "seed=1,2", "hydra.sweep.dir=s")


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def killed(arguments: list[str], progress: str, dice: random.Random, longest: float) -> None:
    """Starts `pet train` and kills it at a random moment after one more file of `progress` has appeared."""
    before = len(list(Path().glob(progress)))
    command = [sys.executable, "-m", "pet_cli", "train", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(list(Path().glob(progress))) <= before and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(dice.uniform(0, longest))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder whose contents do not depend on the clock or (Hydra's own) on the folder."""
    found = [path for path in folder.rglob("*") if path.is_file() and "report" not in path.parts]
    return {str(p.relative_to(folder)): p.read_bytes() for p in found if p.name not in ("timing.json", "multirun.yaml")}


def elsewhere(monkeypatch: pytest.MonkeyPatch, where: Path, name: str) -> None:
    (where / name).mkdir()
    monkeypatch.chdir(where / name)


@pytest.mark.parametrize(
    ("arguments", "progress"),
    [
        ((*SMALL, *PET, "ensemble.patterns=[p0,p1,p2]", "hydra.run.dir=s"), "s/members/*/state.json"),
        ((*SMALL, *SWEEP), "s/*/metrics.json"),
    ],
    ids=["pet", "sweep"],
)
def test_what_was_killed_at_random_moments_ends_as_if_it_had_not_been(
    arguments: tuple[str, ...], progress: str, in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(monkeypatch, in_tmp, "whole")
    assert main(["train", *arguments, "resume=true"]) == 0
    elsewhere(monkeypatch, in_tmp, "killed")
    dice = random.Random(1)
    for _ in range(2):
        killed([*arguments, "resume=true"], progress, dice, 0.3)
    finished = {path: path.stat().st_mtime_ns for path in Path().glob(progress)}
    assert len(finished) >= 2
    assert main(["train", *arguments, "resume=true"]) == 0
    assert all(path.stat().st_mtime_ns == time for path, time in finished.items())
    assert contents(in_tmp / "whole") == contents(in_tmp / "killed")


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
