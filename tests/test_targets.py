"""What a task asks for: from a row's value to gold, to what is learned, to what is predicted and written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pet_cli.commands.cli import main
from pet_cli.errors import UserError
from pet_cli.tasks.metrics import titled
from pet_cli.tasks.targets import TARGETS, Target, make

LABELS = ("b", "a", "c")


def label_of(value: Any) -> int | None:
    if value in ("", None):
        return None
    if value not in LABELS:
        raise UserError(f"unknown label {value!r}")
    return LABELS.index(value)


def test_one_label_goes_the_whole_way() -> None:
    target = make("label", LABELS)
    assert [target.gold(value, label_of) for value in ("a", "b", "")] == [1, 0, None]
    learned = target.to_learn([1, 0, 2])
    assert learned.tolist() == [1, 0, 2] and learned.dtype.kind == "i"
    assert target.predicted(np.array([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])) == [1, 0]
    assert target.shown(1) == "a" and target.read("a") == 1
    assert target.columns(("x", "y")) == LABELS
    assert target.strata([1, 0, 1]) == {"label 'b'": [1], "label 'a'": [0, 2], "label 'c'": []}


# --- several labels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "gold"),
    [(["c", "b"], (0, 2)), ("a", (1,)), ("a; c", (1, 2)), ("c|b|c", (0, 2)), ([], ()), (None, None), ("", None)],
)
def test_several_labels_are_a_list_or_a_divided_text(value: Any, gold: Any) -> None:
    assert make("labels", LABELS).gold(value, label_of) == gold


def test_a_label_that_is_unknown_among_several_is_refused_by_name() -> None:
    for value in (["a", "x"], "x", "a;x"):
        with pytest.raises(UserError, match="'x'"):
            make("labels", LABELS).gold(value, label_of)


def test_several_labels_are_learned_in_equal_shares_and_none_as_all() -> None:
    assert make("labels", LABELS).to_learn([(0, 2), (1,), ()]).tolist() == [
        [0.5, 0, 0.5],
        [0, 1, 0],
        pytest.approx([1 / 3] * 3),
    ]


def test_labels_above_the_threshold_are_predicted() -> None:
    table = np.array([[0.5, 0.1, 0.4], [0.34, 0.33, 0.33], [0.9, 0.05, 0.05]])
    assert make("labels", LABELS).predicted(table) == [(0, 2), (0,), (0,)]
    assert make("labels", LABELS, threshold=0.45).predicted(table) == [(0,), (), (0,)]
    assert make("labels", LABELS, threshold=0).predicted(table) == [(0, 1, 2)] * 3


def test_several_labels_are_written_and_counted_by_name() -> None:
    target = make("labels", LABELS)
    assert target.shown((0, 2)) == ["b", "c"] and target.read(["b", "c"]) == (0, 2) and target.read([]) == ()
    assert target.strata([(0, 2), (2,), ()]) == {"label 'b'": [0], "label 'a'": [], "label 'c'": [0, 1]}


# --- a number ------------------------------------------------------------------------------------------------------

stars = make("number", ("bad", "good"), [1, 5])


def test_a_number_is_learned_as_where_it_lies_between_the_two_words() -> None:
    assert stars.to_learn([1, 5, 2, 3.0]).tolist() == [[1, 0], [0, 1], [0.75, 0.25], [0.5, 0.5]]
    assert stars.predicted(np.array([[1, 0], [0, 1], [0.75, 0.25], [0.4, 0.6]])) == pytest.approx([1, 5, 2, 3.4])


@given(st.floats(1, 5))
def test_what_is_learned_perfectly_is_predicted(number: float) -> None:
    assert stars.predicted(stars.to_learn([number])) == pytest.approx([number])


@pytest.mark.parametrize(
    ("value", "gold"), [(2, 2.0), ("2.5", 2.5), (5.0, 5.0), ("", None), (None, None), ("-", None), (-1, None)]
)
def test_a_number_is_read_as_it_is_written(value: Any, gold: Any) -> None:
    assert stars.gold(value, label_of) == gold
    assert stars.gold(float("nan"), label_of) is None


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (5.1, r"5.1 lies outside of task.range=\[1, 5\]"),
        ("0", "outside"),
        ("good", "'good' is no number"),
        (True, "True"),
        ([2], "no number"),
        (float("inf"), "outside"),
    ],
)
def test_a_number_outside_the_range_is_refused(value: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        stars.gold(value, label_of)


def test_minus_one_is_a_number_where_the_range_holds_it() -> None:
    assert make("number", ("bad", "good"), [-2, 2]).gold(-1, label_of) == -1.0


def test_shots_of_numbers_are_drawn_from_each_half() -> None:
    assert stars.strata([1, 3, 2.9, 5]) == {"the half below 3": [0, 2], "the half from 3": [1, 3]}
    assert stars.shown(2 / 3) == 0.666667 and stars.read(0.666667) == 0.666667


# --- a choice ------------------------------------------------------------------------------------------------------


def place(value: Any) -> int | None:
    return None if value in (None, "") else ["x", "y", "z"].index(value)


def test_a_choice_is_of_the_examples_own_candidates() -> None:
    target = make("choice", ())
    assert target.gold("y", place, ["x", "y", "z"]) == 1
    assert target.gold(["z", "x"], place, ["x", "y", "z"]) == (0, 2)
    assert target.gold(["z"], place, ["x", "y", "z"]) == 2
    assert target.gold([], place, ["x", "y", "z"]) is None
    assert target.to_learn([1, 0]).tolist() == [1, 0]
    assert target.to_learn([(0, 2), 1]).tolist() == [[0.5, 0, 0.5], [0, 1, 0]]
    assert target.predicted(np.array([[0.1, 0.9, 0], [0.3, 0.3, 0.4]])) == [1, 2]
    assert target.shown(1, ["x", "y"]) == "y" and target.shown((0, 1), ["x", "y"]) == ["x", "y"]
    assert target.read("y", ["x", "y"]) == 1 and target.read(["x", "y"], ["x", "y"]) == (0, 1)
    assert target.columns(["x", "y"]) == ["x", "y"]
    assert target.strata([1, 0, 1]) == {"the task": [0, 1, 2]}


# --- made from the keys of a task ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make_it", "says"),
    [
        (lambda: make("lable", LABELS), "task.target=lable: not one of .* Did you mean 'label"),
        (lambda: make("label", LABELS, [0, 1]), r"task.range=\[0, 1\]: only for task.target=number"),
        (lambda: make("number", LABELS, [0, 1], 0.5), "task.threshold=0.5: only for task.target=labels"),
        (lambda: make("number", LABELS, [0, 5]), "needs two labels, of the lowest and the highest number"),
        (lambda: make("number", LABELS[:2]), "task.range=None: write the lowest"),
        (lambda: make("number", LABELS[:2], [0, 1, 2]), "write the lowest"),
        (lambda: make("number", LABELS[:2], [0, "5"]), "write the lowest"),
        (lambda: make("number", LABELS[:2], [5, 5]), "the second must be above the first"),
        (lambda: make("labels", LABELS, None, 1), "task.threshold=1: a probability, 0 to below 1"),
        (lambda: make("labels", LABELS, None, "high"), "task.threshold=high"),
        (lambda: make("choice", LABELS), "the candidates take their place"),
    ],
)
def test_keys_that_do_not_make_sense_together_are_refused(make_it: Callable[[], Target], says: str) -> None:
    with pytest.raises(UserError, match=says):
        make_it()


def test_a_target_knows_its_kind() -> None:
    assert {kind: cls.kind for kind, cls in TARGETS.items()} == {kind: kind for kind in TARGETS}


# --- what goes together with which target ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("trainer.class_weights=balanced", "trainer.class_weights=balanced: only for task.target=label"),
        ("method=tfidf", "method=tfidf is only for task.target=label, not number"),
        ("ensemble=ipet", "ensemble: iPET, which labels texts for its members, is only for task.target=label"),
        ("task.metrics=accuracy", "task.metrics=accuracy: not for task.target=number; what fits it: pearson, spearman"),
        ("task.metrics=[pearson,spearmann]", "Did you mean 'spearman'"),
        ("ensemble=patterns ensemble.weights=matthews", "ensemble.weights=matthews: not for task.target=number"),
        ("ensemble=patterns ensemble.weights=scores", "Did you mean 'score'"),
        ("task.reader=multirk", "Did you mean 'multirc'"),
        ("task.range=[0,5,6]", "task.range=[0, 5, 6]: write the lowest"),
        ("task.target=choice", "task.range=[0, 5]: only for task.target=number, not choice"),
        ("task.candidates=[a,b]", "a choice names the columns of its candidates"),
    ],
)
def test_what_does_not_go_with_a_number_is_one_line(
    override: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "conf" / "task"
    own.mkdir(parents=True)
    (own / "graded.yaml").write_text(
        "name: graded\nfields: {text: text}\ntarget: number\nrange: [0, 5]\nlabels: [low, high]\n"
        "patterns: ['{text} It was {mask}.']\nverbalizers: [{low: bad, high: good}]\n"
    )
    arguments = ["--config-dir", str(own.parent), "task=graded", f"hydra.run.dir={tmp_path / 'run'}"]
    assert main(["train", *arguments, *override.split()]) == 2
    said = capsys.readouterr().err.strip()
    assert says in said and said.count("\n") == 0 and "Traceback" not in said


@pytest.mark.parametrize(
    ("kind", "extra", "labels", "wanted", "metric"),
    [
        ("labels", [], [["wet"], ["wet", "dry"], "dry", "dry; wet"], [["wet"], ["wet", "dry"], ["dry"]], "micro_f1"),
        ("number", ["task.range=[0,2]"], [0, 0.5, "1.5", 2], [0.0, 0.5, 1.5, 2.0], "pearson"),
    ],
)
def test_a_run_trains_chooses_scores_and_answers_in_the_terms_of_its_target(
    kind: str, extra: list[str], labels: list[Any], wanted: list[Any], metric: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    rows = [{"text": f"The road was {n}.", "label": labels[n % 4]} for n in range(24)]
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = tmp_path / "run"
    arguments = ["task=custom", "model=random", f"task.target={kind}", "verbalizer={wet: bad, dry: good}", *extra]
    arguments += [f"data.path={tmp_path}", "data.shots=2", "data.dev_shots=2", "trainer.max_steps=3", "device=cpu"]
    assert main(["train", *arguments, f"hydra.run.dir={run}"]) == 0
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["metric"] == metric and metrics["score"] == metrics[metric]
    assert metrics["target"] == kind and -1 <= metrics["dev_score"] <= 1
    told = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert len(told) == 24 and all(one["gold"] in (*wanted, ["dry", "wet"]) for one in told)
    for one in told:
        share = one["probabilities"]["dry"]
        if kind == "number":
            assert one["predicted"] == pytest.approx(2 * share, abs=1e-5)
        else:
            assert one["predicted"] == [label for label, p in one["probabilities"].items() if p > 0.5]
    capsys.readouterr()
    assert main(["predict", str(run), "--text", rows[0]["text"]]) == 0
    assert json.loads(capsys.readouterr().out)["predicted"] == told[0]["predicted"]
    assert main(["report", str(run)]) == 0
    page = (run / "report" / "report.md").read_text()
    assert "Confusion" not in page and titled(metrics)[metric] in page
