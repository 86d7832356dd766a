"""Folders are all that comes back from a job, in whatever process it ran."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pet_cli.commands import train
from pet_cli.commands.cli import main
from pet_cli.config import files as conf_files
from pet_cli.results import summary
from pet_cli.runs import states

SMALL = ("model=random", "trainer.max_steps=2", "data.shots=2", "data.max_test=8")
SWEEP = ("train", "-m", *SMALL, "seed=1,2", "hydra.sweep.dir=s")


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_report: None) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def state(folder: Path) -> dict:
    return json.loads((folder / "state.json").read_text())


def test_a_finished_run_is_shown_again_with_its_notes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *SMALL, "hydra.run.dir=a"]) == 0
    first = capsys.readouterr().out
    assert "note      scored on 8 test examples" in first
    assert main(["train", *SMALL, "hydra.run.dir=a", "resume=true", "device=cpu"]) == 0
    assert capsys.readouterr().out == first


@pytest.mark.slow
def test_a_run_refused_in_its_folder_is_told_by_the_sweep_and_leaves_what_is_there(
    in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SWEEP]) == 0
    (folder,) = (in_tmp / "s").glob("*seed=1,*")
    there = state(folder)
    (folder / "state.json").write_text(json.dumps({**there, "data": "other"}))
    before = (folder / "metrics.json").read_bytes()
    assert main([*SWEEP, "resume=true"]) == 1
    assert "refused" in capsys.readouterr().out
    rows = {row["run"]: row for row in summary.table(summary.run_folders(in_tmp / "s"))}
    assert rows[folder.name]["status"] == "refused" and "the data have changed" in rows[folder.name]["error"]
    assert (folder / "metrics.json").read_bytes() == before and state(folder)["status"] == "done"
    (folder / "state.json").write_text(json.dumps({**state(folder), "data": there["data"]}))
    assert main([*SWEEP, "resume=true"]) == 0
    assert state(folder) == there


def test_a_job_that_died_without_a_word_is_missed(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train._run
    monkeypatch.setattr(train, "_run", lambda config, *rest: whole(config, *rest) if config.seed == 2 else "gone")
    assert main([*SWEEP]) == 1
    assert "1 runs left no trace, model=random,data.shots=2,seed=1" in capsys.readouterr().err


@pytest.mark.slow
def test_jobs_in_processes_of_their_own_give_the_same_table(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a parallel launcher has them: each job a process that knows the command line and the sweep's folder alone."""
    sweep = [*SWEEP, "data.path=null,nowhere"]
    assert main(sweep) == 1
    here = capsys.readouterr()
    code = (
        "import sys; from hydra.core.utils import setup_globals; from hydra.core.hydra_config import HydraConfig\n"
        "import hydra; from pet_cli.commands import train; from pet_cli.config.files import conf_dir\n"
        "from omegaconf import open_dict\n"
        "number, folder, *overrides = sys.argv[1:]\n"
        "setup_globals()\n"
        "with hydra.initialize_config_dir(version_base='1.3', config_dir=str(conf_dir())):\n"
        "    cfg = hydra.compose('train', overrides=overrides, return_hydra_config=True)\n"
        "with open_dict(cfg):\n"
        "    cfg.hydra.mode, cfg.hydra.job.num, cfg.hydra.sweep.dir = 'MULTIRUN', int(number), folder\n"
        "    cfg.hydra.runtime.output_dir = f'{folder}/{cfg.hydra.sweep.subdir}'\n"
        "HydraConfig.instance().set_config(cfg)\n"
        "with open_dict(cfg): del cfg['hydra']\n"
        "import pathlib; pathlib.Path(HydraConfig.get().runtime.output_dir).mkdir(parents=True, exist_ok=True)\n"
        "train.job(cfg)\n"
    )
    (in_tmp / "whole").mkdir()
    (in_tmp / "s").rename(in_tmp / "whole" / "s")
    monkeypatch.chdir(in_tmp)
    numbers = iter(range(4))

    def elsewhere(cfg: object) -> None:
        from hydra.core.hydra_config import HydraConfig

        command = [sys.executable, "-c", code, str(next(numbers)), "s", *HydraConfig.get().overrides.task]
        subprocess.run(command, check=True)

    monkeypatch.setattr(train, "job", elsewhere)
    assert main(sweep) == 1
    there = capsys.readouterr()
    untimed = [re.sub(r"\d+ s", "", out) for out in (there.out, here.out)]
    assert untimed[0] == untimed[1] and there.out.count("data.path=nowhere: no such file") == 2
    for name in ("runs.csv", "summary.md"):
        assert (in_tmp / "s" / name).read_bytes() == (in_tmp / "whole" / "s" / name).read_bytes()


@pytest.mark.parametrize("key", ["device=cpu,auto", "save_model=auto,never", "seed=1,1"])
def test_runs_that_would_share_a_folder_are_refused_before_the_first(
    key: str, in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "-m", *SMALL, key, "hydra.sweep.dir=s"]) == 2
    assert "share a folder" in capsys.readouterr().err and not (in_tmp / "s").exists()


def test_names_of_folders_and_fingerprints_leave_out_the_same_keys() -> None:
    values = yaml.safe_load((conf_files.conf_dir() / "train.yaml").read_text())
    named = values["hydra"]["job"]["config"]["override_dirname"]["exclude_keys"]
    assert sorted({key.partition(".")[0] for key in named}) == sorted(states.LEFT_OUT)
    assert {key for key in named if key.startswith("choice.")} == {f"choice.{key}" for key in values["choice"]}


def test_a_single_run_that_is_refused_leaves_nothing_and_takes_nothing(in_tmp: Path) -> None:
    assert main(["train", *SMALL, "hydra.run.dir=a", "data.path=nowhere"]) == 2
    assert main(["train", *SMALL, "hydra.run.dir=a", "data.shots=1000"]) == 2
    assert list(in_tmp.iterdir()) == []
    assert main(["train", *SMALL, "hydra.run.dir=a"]) == 0
    there = {path.name: path.read_bytes() for path in (in_tmp / "a").iterdir() if path.is_file()}
    assert main(["train", *SMALL, "hydra.run.dir=a", "resume=true", "trainer.seed=5"]) == 2
    assert {path.name: path.read_bytes() for path in (in_tmp / "a").iterdir() if path.is_file()} == there


def test_a_printed_configuration_runs_nothing(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--cfg", "job", "hydra.run.dir=a"]) == 0
    assert "trainer:" in capsys.readouterr().out and list(in_tmp.iterdir()) == []


def test_runs_below_a_folder_called_members_are_seen_and_members_are_not(in_tmp: Path) -> None:
    for place in ("members/a", "members/a/members/p0-v0", "members/a/members/generation-1/p0-v0", "b/student"):
        (in_tmp / place).mkdir(parents=True)
        (in_tmp / place / "state.json").write_text("{}")
    found = [str(path.relative_to(in_tmp)) for path in summary.run_folders(in_tmp)]
    assert found == ["b/student", "members/a"]
