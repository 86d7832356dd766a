"""Runs and sweeps: equal seeds give equal files, a sweep's run is the run alone, nothing finished is lost."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from pet_cli.commands.cli import main

SMALL = ("model=random", "trainer.max_steps=3", "data.shots=4", "data.max_test=24")


def files(folder: Path) -> dict[str, bytes]:
    """Everything of a run but its timings."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "timing.json"
    }


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_report: None) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("tuning", ["zero_shot", "head", "full", "classifier"])
def test_equal_seeds_give_equal_files(tuning: str, in_tmp: Path) -> None:
    for name in ("a", "b"):
        assert main(["train", *SMALL, f"tuning={tuning}", f"hydra.run.dir={name}"]) == 0
    assert files(in_tmp / "a") == files(in_tmp / "b")


def test_another_seed_gives_another_sample(in_tmp: Path) -> None:
    for seed in (13, 21):
        assert main(["train", *SMALL, f"seed={seed}", f"hydra.run.dir=s{seed}"]) == 0
    samples = [json.loads((in_tmp / f"s{seed}" / "sample.json").read_text()) for seed in (13, 21)]
    assert samples[0] != samples[1]


@pytest.mark.slow
def test_a_run_in_a_sweep_equals_the_run_alone_also_after_a_full_run(in_tmp: Path) -> None:
    own = ["save_model=always", *SMALL]
    assert main(["train", "-m", "tuning=full,head,classifier,zero_shot", "hydra.sweep.dir=sweep", *own]) == 0
    for tuning in ("full", "head", "classifier", "zero_shot"):
        assert main(["train", f"tuning={tuning}", f"hydra.run.dir=alone/{tuning}", *own]) == 0
        (inside,) = [path for path in (in_tmp / "sweep").iterdir() if f"tuning={tuning}," in path.name]
        alone, swept = files(in_tmp / "alone" / tuning), files(inside)
        for one in (alone, swept):
            state = json.loads(one.pop("state.json"))
            assert state["status"] == "done"
        assert alone == swept


def test_a_sweep_has_a_row_for_each_run_and_one_for_each_configuration(
    in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Only six of each label are there for a seed of the larger sample: that configuration fails, and the sweep goes on.
    assert main(["train", "-m", "data.shots=4,4000", "seed=1,2", "hydra.sweep.dir=s", *SMALL[:2], SMALL[3]]) == 1
    out = capsys.readouterr().out
    failed = [line for line in out.splitlines() if line.startswith("failed: ")]  # a reason stays whole
    assert len(failed) == 2 and "data.shots=4000" in failed[0]
    assert max(len(line) for line in out.splitlines() if line not in failed) <= 80
    rows = list(csv.DictReader((in_tmp / "s" / "runs.csv").open()))
    assert [row["status"] for row in rows].count("failed") == 2 and len(rows) == 4
    assert all("data.shots=4000" in row["error"] for row in rows if row["status"] == "failed")
    summary = list(csv.DictReader((in_tmp / "s" / "summary.csv").open()))
    assert {(row["data.shots"], row["n"], row["failed"]) for row in summary} == {("4", "2", "0"), ("4000", "0", "2")}
    mean = sum(float(row["accuracy"]) for row in rows if row["accuracy"]) / 2
    (line,) = [row for row in summary if row["n"] == "2"]
    assert float(line["accuracy_mean"]) == pytest.approx(mean)


@pytest.mark.slow
def test_a_sweep_grows_and_takes_what_is_finished(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = ["train", "-m", "hydra.sweep.dir=s", *SMALL]
    assert main([*sweep, "pattern=p0,p1", "seed=1"]) == 0
    before = {path.parent.name: files(path.parent) for path in (in_tmp / "s").rglob("state.json")}
    times = {path: path.stat().st_mtime_ns for path in (in_tmp / "s").rglob("metrics.json")}
    assert main([*sweep, "pattern=p0,p1,p2", "seed=1,2", "resume=true"]) == 0
    assert "done already" in capsys.readouterr().err
    for name, contents in before.items():
        assert files(in_tmp / "s" / name) == contents
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert len(list(csv.DictReader((in_tmp / "s" / "runs.csv").open()))) == 6


@pytest.mark.slow
def test_a_failed_run_is_run_again_on_resume(in_tmp: Path) -> None:
    rows = [{"text": f"text {i}", "label": i % 2} for i in range(6)]
    data = in_tmp / "d"
    data.mkdir()
    write = lambda name, some: (data / name).write_text("".join(json.dumps(r) + "\n" for r in some))  # noqa: E731
    write("train.jsonl", rows[:4])
    write("test.jsonl", rows)
    sweep = ["train", "-m", "task=reviews", "data.path=d", "seed=1,2", "hydra.sweep.dir=s", *SMALL]
    assert main(sweep) == 1
    write("train.jsonl", rows * 4)
    assert main([*sweep, "resume=true"]) == 0


def test_predictions_of_one_label_are_pointed_out(in_tmp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": "the same", "label": i % 2} for i in range(16)]
    for name in ("train", "test"):
        (in_tmp / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["train", "data.path=.", *SMALL]) == 0
    assert "every prediction is" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["ensemble=none", "ensemble=patterns"])
def test_texts_that_the_vocabulary_does_not_have_are_pointed_out(
    in_tmp: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    own = [how, "ensemble.patterns=[p0,p1]", "ensemble.seeds=1"] if how == "ensemble=patterns" else [how]
    for text, said in (("很好吃的饭 good", True), ("a good meal 很", False)):
        for name in ("train", "test"):
            rows = [{"text": f"{text} {i}", "label": i % 2} for i in range(8)]
            (in_tmp / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert main(["train", "data.path=.", f"hydra.run.dir=out-{said}", *own, *SMALL]) == 0
        assert ("vocabulary lacks" in capsys.readouterr().out) == said


def test_a_saved_model_is_read_by_plain_from_pretrained_and_by_predict(
    in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoModelForMaskedLM

    from pet_cli import methods
    from pet_cli.data.examples import Split
    from pet_cli.data.rows import read_rows
    from pet_cli.runs import store

    for tuning in ("full", "head", "classifier"):
        assert main(["train", f"tuning={tuning}", f"hydra.run.dir={tuning}", *SMALL]) == 0
        folder = in_tmp / tuning
        method = methods.load(folder)
        package = Path(__file__).parent.parent / "pet_cli" / "embedded" / "reviews" / "test.jsonl"
        texts = {number: row["text"] for number, (_, row) in enumerate(read_rows(package))}
        for line in (folder / "predictions.jsonl").read_text().splitlines()[:5]:
            row = json.loads(line)
            scores = store.softmax(method.predict(Split.passing([{"text": texts[row["row"]]}])))[0]
            assert scores == pytest.approx(list(row["probabilities"].values()), abs=1e-4)
    AutoModelForMaskedLM.from_pretrained(in_tmp / "full" / "model")


def test_the_embedded_model_learns_from_few_examples(in_tmp: Path) -> None:
    own = ["task=topics", "tuning=head", "data.shots=16"]
    assert main(["train", "task=topics", "tuning=zero_shot", "hydra.run.dir=zero"]) == 0
    assert main(["train", *own, "hydra.run.dir=head"]) == 0
    accuracy = {name: json.loads((in_tmp / name / "metrics.json").read_text())["accuracy"] for name in ("zero", "head")}
    assert accuracy["head"] > accuracy["zero"] > 0.25
