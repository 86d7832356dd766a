"""The command line as a user meets it: the installed `pet`, its exit status, its words, its files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pet_cli.commands.cli import main
from pet_cli.commands.overrides import prepare, quote

SMALL = ("model=random", "trainer.max_steps=3", "data.shots=4", "data.max_test=24")


def pet(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The installed command in a process of its own."""
    command = [str(Path(sys.executable).parent / "pet"), *arguments]
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def ends_with_one_line(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Runs in this process; the message of a user's mistake, which must be short and have status 2."""
    assert main(list(arguments)) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("pet: ") and len(said.splitlines()) <= 2 and "Traceback" not in said, said
    return said


def test_smoke_experiment_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = pet("train", "+experiment=smoke", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout and "macro-F1" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    latest = tmp_path / "outputs" / "latest"
    names = {
        "account.json",
        "config.yaml",
        "metrics.json",
        "predictions.jsonl",
        "sample.json",
        "state.json",
        "timing.json",
        "model",
    }
    assert {path.name for path in latest.iterdir()} == names
    metrics = json.loads((latest / "metrics.json").read_text())
    assert metrics["n_test"] == 16 and metrics["n_train"] == 8 and 0 <= metrics["accuracy"] <= 1
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "outputs/latest", "--text", "I liked it.", "--text", "more"]) == 2
    assert "text" in capsys.readouterr().err
    assert main(["predict", "outputs/latest", "--text", "I liked it."]) == 0
    assert json.loads(capsys.readouterr().out)["predicted"] in ("negative", "positive")


def test_help_and_lists_never_import_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pet_cli.commands.cli import main\n"
        "for argv in (['--help'], ['train', '--help'], ['list', 'tasks'], ['list', 'patterns', 'sst2'],"
        " ['train', 'task=nope'], ['train', 'pattern=p99']):\n"
        "    try: main(argv)\n"
        "    except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True).returncode == 0


def test_lists_show_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "tasks"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: line.split() for line in lines}
    assert rows["trec"][1:4] == ["label", "6", "en"] and rows["stsb"][1] == "number"
    assert "package" in rows["reviews"] and "hub" in rows["sst2"]
    assert main(["list", "tasks", "stsb"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("STS-B: ") and "pearson, spearman" in out and "number, 0 to 5" in out
    assert main(["list", "tasks", "sst3"]) == 2
    assert "Did you mean 'sst" in capsys.readouterr().err
    assert main(["list", "patterns", "sst2"]) == 0
    assert "p1  {text} | It was {mask}." in capsys.readouterr().out
    assert main(["list", "tunings"]) == 0
    assert "head" in capsys.readouterr().out


def test_show_explains_a_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "task=sst2", "pattern=p1", "--text", "I like the Disney films very much."]) == 0
    out = capsys.readouterr().out
    assert "tokens B  it was [MASK] . [SEP]" in out and "great" in out


MISTAKES = [
    (["train", "task=sst3"], "sst5"),
    (["train", "pattern=p77"], "pattern=p77"),
    (["train", "tuning=ful"], "'full'"),
    (["train", "trainer.max_stps=3"], "'trainer.max_steps'"),
    (["train", "trainer.max_steps=abc"], "trainer.max_steps"),
    (["train", "trainer.max_steps=0"], "at least 1"),
    (["train", "trainer.learning_rate=-1"], "trainer.learning_rate"),
    (["train", "tuning=soft_prompt", "tuning.network_learning_rate=0"], "tuning.network_learning_rate=0"),
    (["train", "tuning=soft_prompt", "tuning.learning_rate=null"], "tuning.learning_rate"),
    (["train", "+foo=1"], "'foo'"),
    (["train", "tuning.decoder=true"], "tuning=head"),
    (["train", "pattern=p0,p1"], "add -m"),
    (["train", "template={text}"], "{mask}"),
    (["train", "template={txt} is {mask}"], "'text'"),
    (["train", "template={text is {mask}"], "unbalanced"),
    (["train", "verbalizer={negative: bad}"], "positive"),
    (["train", "verbalizer={negative: bad, positve: good}"], "'positive'"),
    (["train", "verbalizer={negative: bad, positive: bad}"], "both"),
    (["train", "verbalizer={negative: bad, positive: ''}"], "empty"),
    (["train", "verbalizer={negative: bad, positive: true}"], "quotes"),
    (["train", "verbalizer={negative: bad, positive: unputdownable}"], "unputdownable"),
    (["train", "data.shots=5000"], "data.shots=5000"),
    (["train", "data.path=/no/such/place"], "no such"),
    (["train", "model.name=/no/such/model"], "no such folder"),
    (["train", "device=cuda:7"], "CUDA"),
    (["train", "device=gpu"], "device=gpu"),
    (["train", "precision=fp8"], "precision"),
    (["train", "data.fields={txt: a}"], "'text'"),
    (["train", "--config-dir", "/no/such/dir"], "config"),
    (["train", "trainer.max_length=100000", "data.shots=2"], "512"),
    (["train", "template=" + "very " * 600 + "{text} {mask}", "data.shots=2"], "max_length"),
    (["train", "task=custom"], "verbalizer="),
    (["train", "scoring.combine=average"], "scoring.combine"),
    (["train", "ensemble=patterns", "ensemble.patterns=[p0,p99]"], "ensemble: pattern=p99"),
    (["train", "ensemble=patterns", "ensemble.weights=[1]"], "weights"),
    (["train", "ensemble=pvps", "ensemble.pvps=[[p0,v0],[p1,v0]]", "ensemble.weights=[0,0]"], "not all 0"),
    (["train", "ensemble=patterns", "ensemble.weights=dev"], "data.dev_shots"),
    (["train", "ensemble=pet", "ensemble.alpha=2"], "alpha"),
    (["train", "ensemble=pet", "ensemble.temperature=0"], "temperature"),
    (["train", "ensemble=pet", "ensemble.student=[p0,v99]"], "ensemble.student: verbalizer=v99"),
    (["train", "ensemble=ipet", "ensemble.growth=500"], "unlabeled texts"),
    (["train", "ensemble=ipet", "ensemble.growth=1"], "above 1"),
    (["lst"], "'list'"),
    (["list", "task"], "tasks"),
    (["list", "patterns", "sst3"], "sst5"),
    (["predict", "/no/such/run"], "no such folder"),
    (["ensemble", "/no/such/run"], "predictions.jsonl"),
]


@pytest.mark.parametrize(("arguments", "said"), MISTAKES, ids=[" ".join(m[0])[:60] for m in MISTAKES])
def test_a_mistake_ends_in_one_line_and_leaves_nothing(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "train" and not any("model" in argument for argument in arguments):
        arguments = [*arguments, "model=random"]
    assert said in ends_with_one_line(arguments, capsys)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_hub_out_of_reach_is_one_message_within_seconds(tmp_path: Path) -> None:
    code = (
        "import sys; from pet_cli.commands.cli import main\n"
        "for override in sys.argv[1:]: print(main(['train', override]), file=sys.stderr)"
    )
    nowhere = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", code, "model.name=some-model", "task=sst2"]
    done = subprocess.run(command, cwd=tmp_path, env=nowhere, capture_output=True, text=True, timeout=120)
    model, one, data, other = done.stderr.strip().splitlines()
    assert (one, other) == ("2", "2") and "hub" in model and "hub" in data and "data.path" in data


def test_a_run_folder_in_use_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("do not lose me")
    said = ends_with_one_line(["train", "hydra.run.dir=mine", *SMALL], capsys)
    assert "not empty" in said and (tmp_path / "mine" / "thesis.tex").exists()
    said = ends_with_one_line(["train", "-m", "hydra.sweep.dir=mine", "seed=1,2", *SMALL], capsys)
    assert "not empty" in said


def test_all_combinations_are_checked_before_the_first_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "p99" in ends_with_one_line(["train", "-m", "pattern=p0,p99", *SMALL], capsys)
    assert not list(tmp_path.rglob("state.json"))


@pytest.mark.parametrize(("command", "how"), [("train", "resume=true"), ("search", "same command"), ("predict", None)])
def test_what_is_interrupted_says_how_it_goes_on(
    command: str, how: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("pet_cli.commands.cli._dispatch", interrupted)
    assert main([command, "x"]) == 130
    said = capsys.readouterr().err
    assert said.startswith("pet: interrupted") and (how in said if how else "kept" not in said)


def test_overrides_are_quoted_for_hydra() -> None:
    assert quote("template={text} It was {mask}.") == "template='{text} It was {mask}.'"
    assert quote("template=it's {mask}") == r"template='it\'s {mask}'"
    assert quote("data.path=my folder (new)/x.csv") == "data.path='my folder (new)/x.csv'"
    assert quote("seed=13,21") == "seed=13,21"
    assert quote("verbalizer={1: terrible, 5: great}") == "verbalizer='{1: terrible, 5: great}'"
    assert prepare(["seed=1", "-m", "task=sst2"])[0] == "-m"
    assert "model=custom" in prepare(["model.name=roberta-large"])
    assert "model=random" in prepare(["model.name=random"])
    assert prepare(["experiment=smoke"]) == ["+experiment=smoke"]


def test_a_folder_of_configs_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine" / "task").mkdir(parents=True)
    (tmp_path / "mine" / "task" / "moods.yaml").write_text(
        "name: moods\nfields: {text: text}\nlabels: [sad, glad]\nsource: {}\n"
        'patterns: ["{text} It was {mask}."]\nverbalizers: [{sad: bad, glad: good}]\n'
    )
    rows = [{"text": f"a day number {i}", "label": ["sad", "glad"][i % 2]} for i in range(24)]
    (tmp_path / "days.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--config-dir", "mine", "task=moods", "data.path=days.jsonl", *SMALL]) == 0


def test_a_csv_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["review,stars", *(f'"number {i}, fine",{[1, 5][i % 2]}' for i in range(20))]
    (tmp_path / "my.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    csv = ["task=custom", "data.path=my.csv", "data.fields={text: review}", "data.label=stars"]
    prompt = ["template={text} It was {mask}.", "verbalizer={1: terrible, 5: great}"]
    assert main(["train", *csv, *prompt, *SMALL]) == 0
    metrics = json.loads((tmp_path / "outputs" / "latest" / "metrics.json").read_text())
    assert list(metrics["per_label"]) == ["1", "5"] and metrics["n_test"] == 10
