"""What a run says when it ends: ten lines of 80 columns, honest about what was gained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pet_cli.commands import account
from pet_cli.commands.cli import main
from pet_cli.prompts.template import Template, fill

SMALL = ("model=random", "trainer.max_steps=3", "data.shots=4", "data.max_test=24")


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def metrics(score: float, **marks: float | None) -> dict[str, Any]:
    return {"metric": "accuracy", "score": score, "accuracy": score, "interval": [score - 0.05, score + 0.05]} | {
        "marks": marks
    }


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """The lines of an account by the name in front of each."""
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 or line[10:].startswith("pet ") or line.startswith("note") for line in lines), lines
    return {line[:10].strip(): line[10:] for line in lines}


def test_a_run_says_what_was_done_whether_it_is_good_and_what_to_type_next(
    in_tmp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *SMALL]) == 0
    lines = said(capsys)
    assert lines["task"].startswith("reviews: is a short review positive or negative?")
    assert lines["model"].startswith("random (bert, ") and lines["model"].endswith("parameters), tuning=full")
    assert lines["template"].endswith("It was [MASK].")
    assert lines["words"] == "negative: terrible · positive: great"
    assert lines["trained"].startswith("4 examples of each of 2 labels, 3 steps in ")
    own = json.loads((in_tmp / "outputs/latest/metrics.json").read_text())
    kept = json.loads((in_tmp / "outputs/latest/account.json").read_text())
    low, high = kept["interval"]
    assert low < own["score"] < high
    assert lines["accuracy"].startswith(f"{own['score']:.3f} (95 %: {low:.3f} to {high:.3f}) on 24 test examples")
    assert f"zero-shot with this prompt {kept['marks']['zero_shot']:.3f}" in lines["beside"]
    assert lines["next"] == 'pet predict outputs/latest --text "..."'
    assert main(["train", *SMALL, "tuning=zero_shot"]) == 0
    alone = json.loads((in_tmp / "outputs/latest/metrics.json").read_text())
    assert alone["score"] == kept["marks"]["zero_shot"], "the mark is what zero-shot reaches"
    assert "zero-shot" not in said(capsys)["beside"], "zero-shot is not held beside itself"


def test_the_command_that_a_run_proposes_is_the_run_as_a_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *SMALL, "seed=5", "pattern=p1"]) == 0
    command = capsys.readouterr().out.splitlines()[-1].strip()
    assert command == f"pet train -m {' '.join(SMALL)} pattern=p0,p1,p2 seed=13,21,42"
    Path("own configs").mkdir()
    assert main(["train", "--config-dir", "own configs", *SMALL, "tuning=classifier"]) == 0
    command = capsys.readouterr().out.splitlines()[-1].strip()
    own = f"pet train -m --config-dir 'own configs' {' '.join(SMALL)} tuning=classifier seed=13,21,42"
    assert command == own, "it reads no pattern"


def test_examples_that_are_only_shown_trained_nothing() -> None:
    found, steps = {"n_train": 8, "train_counts": {"a": 4, "b": 4}}, {"steps": 3}
    runs = ((0, found), (1, found), (1, found | steps))
    told = [account._trained({"demonstrations": {"per_label": n}}, own, {}) for n, own in runs]
    on = "4 examples of each of 2 labels"
    assert told == [on, f"nothing: demonstrations of {on}", f"{on}, 3 steps"]


def test_the_mark_is_left_out_on_request_and_changes_nothing(in_tmp: Path) -> None:
    for name, baseline in (("with", "true"), ("without", "false")):
        assert main(["train", *SMALL, f"baseline={baseline}", f"hydra.run.dir={name}"]) == 0
    read = lambda name, file: json.loads((in_tmp / name / file).read_text())  # noqa: E731
    assert read("with", "account.json")["marks"]["zero_shot"] is not None
    assert read("without", "account.json")["marks"]["zero_shot"] is None
    assert read("with", "metrics.json") == read("without", "metrics.json")
    assert read("with", "state.json")["fingerprint"] == read("without", "state.json")["fingerprint"]


def test_a_method_without_a_model_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "method=tfidf", *SMALL[2:]]) == 0
    lines = said(capsys)
    assert lines["model"] == "method=tfidf, no language model"
    assert "template" not in lines and "zero-shot" not in lines["beside"]


def test_a_long_name_of_a_score_stands_apart_from_it(in_tmp: Path) -> None:
    assert main(["train", "method=lexicon", "data.shots=0", "data.max_test=24"]) == 0
    path = in_tmp / "outputs/latest/metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"metric": "pearson", "score": 0.5}))
    (line,) = [line for line in account.lines(path.parent) if line.startswith("Pearson correlation  0.500 (95 %")]
    assert len(line) <= 80


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (metrics(0.50, majority=0.50, zero_shot=0.45), "No better than always saying the commonest label."),
        (metrics(0.60, majority=0.50, zero_shot=0.60), "Training did not help"),
        (metrics(0.60, majority=0.50, zero_shot=0.58), "too few test examples"),
        (metrics(0.80, majority=0.50, zero_shot=0.60), ""),
        (metrics(0.80, majority=None, zero_shot=None), ""),
    ],
)
def test_where_nothing_was_gained_a_sentence_says_so(found: dict[str, Any], sentence: str) -> None:
    verdict = account.verdict(found)
    assert sentence in verdict and bool(verdict) == bool(sentence)


def test_majority_is_the_commonest_label_of_the_test_examples(in_tmp: Path) -> None:
    rows = [{"text": f"a text of number {i}", "label": int(i >= 12)} for i in range(40)]
    (in_tmp / "d").mkdir()
    for name, part in (("train", rows[:24]), ("test", [*rows[:6], *rows[26:]])):
        (in_tmp / "d" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    assert main(["train", "data.path=d", *SMALL, "hydra.run.dir=r"]) == 0
    assert json.loads((in_tmp / "r" / "account.json").read_text())["marks"]["majority"] == pytest.approx(14 / 20)


def test_a_template_is_filled_and_cut_where_the_text_is_long() -> None:
    template = Template.parse("{a} ? {mask}, {b}.")
    assert fill(template, {"a": "One", "b": "two"}) == "One ? [MASK], two."
    line = fill(template, {"a": "word " * 40, "b": "short text"}, width=50)
    assert len(line) <= 50 and line.endswith("? [MASK], short text.") and "…" in line
    line = fill(Template.parse("{a:strip}? {mask}"), {"a": "word " * 40}, width=30)
    assert line.endswith("…? [MASK]"), "what is stripped is the text's end, not the cut's"
