"""Metrics, by values worked out by hand."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pet_cli
from pet_cli.errors import UserError
from pet_cli.tasks.evaluation import calibration_error, contributions, evaluate, interval
from pet_cli.tasks.metrics import ALWAYS, METRICS, Answers, named, plain_answer, score, titled, values

LABELS = ["a", "b", "c"]


def one_hot(predicted: list[int], confidence: float = 0.8, n: int = 3) -> np.ndarray:
    table = np.full((len(predicted), n), (1 - confidence) / (n - 1))
    table[np.arange(len(predicted)), predicted] = confidence
    return table


def said(gold: list[int], predicted: list[int], n: int = 3, groups: Any = None) -> Answers:
    return Answers("label", gold, predicted, one_hot(predicted, n=n), LABELS[:n], groups)


def of(name: str, answers: Answers) -> float:
    return named(name, answers.kind, answers.labels)[0].of(answers)


def numbers(gold: list[float], predicted: list[float]) -> Answers:
    return Answers("number", gold, predicted, np.zeros((len(gold), 2)), ["low", "high"])


def several(gold: list[tuple[int, ...]], predicted: list[tuple[int, ...]], n: int = 3) -> Answers:
    return Answers("labels", gold, predicted, np.zeros((len(gold), n)), LABELS[:n])


def test_metrics_of_ten_examples_by_hand() -> None:
    gold = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
    predicted = [0, 0, 0, 1, 1, 1, 2, 2, 0, 2]
    found = evaluate(said(gold, predicted), named(None, "label", LABELS))
    assert found["accuracy"] == pytest.approx(0.7)
    assert (found["metric"], found["score"]) == ("accuracy", found["accuracy"])
    assert found["confusion"] == [[3, 1, 0], [0, 2, 1], [1, 0, 2]]
    assert found["per_label"]["a"] == {"precision": 0.75, "recall": 0.75, "f1": 0.75, "n": 4, "predicted": 4}
    assert found["per_label"]["b"] == pytest.approx(
        {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "n": 3, "predicted": 3}
    )
    assert found["macro_f1"] == pytest.approx((0.75 + 2 / 3 + 2 / 3) / 3)
    assert found["calibration_error"] == pytest.approx(0.1)  # all 0.8 sure, 0.7 right
    assert found["one_label"] is None


def test_precision_recall_and_f1_differ_as_they_should() -> None:
    found = evaluate(said([0, 0, 0, 1], [0, 1, 1, 1], n=2), named("macro_f1", "label", ["a", "b"]))
    assert found["per_label"]["a"] == pytest.approx(
        {"precision": 1.0, "recall": 1 / 3, "f1": 0.5, "n": 3, "predicted": 1}
    )
    assert found["per_label"]["b"] == pytest.approx(
        {"precision": 1 / 3, "recall": 1.0, "f1": 0.5, "n": 1, "predicted": 3}
    )
    assert (found["metric"], found["score"], found["accuracy"]) == ("macro_f1", pytest.approx(0.5), 0.5)


def test_a_label_that_neither_occurs_nor_is_predicted_is_left_out_of_macro_f1() -> None:
    found = evaluate(said([0, 0, 1, 1], [0, 0, 1, 0]), named(None, "label", LABELS))
    assert found["per_label"]["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "n": 0, "predicted": 0}
    assert found["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    # c occurs, so its 0 counts
    assert of("macro_f1", said([0, 0, 1, 2], [0, 0, 1, 1])) == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_a_classifier_that_says_one_thing_only_is_noticed() -> None:
    assert evaluate(said([0, 1, 2], [1, 1, 1]), named(None, "label", LABELS))["one_label"] == "b"
    assert evaluate(numbers([1, 2, 3], [2.5] * 3), named(None, "number", LABELS))["one_label"] == "2.5"
    assert evaluate(several([(0,), (1,)], [(0, 1)] * 2), named(None, "labels", LABELS))["one_label"] == "a, b"
    chosen = Answers("choice", [0, 1], [1, 1], one_hot([1, 1], n=2), (), None, [["x", "y"], ["z", "w"]])
    assert evaluate(chosen, named(None, "choice", ()))["one_label"] == "candidate 2"


def test_calibration_error_by_hand() -> None:
    # bins of 10 %: two at .55 (one right), one at .75 (right), one at 1.0 (wrong)
    probabilities = np.array([[0.55, 0.45], [0.55, 0.45], [0.25, 0.75], [1.0, 0.0]])
    expected = 0.5 * abs(0.5 - 0.55) + 0.25 * abs(1 - 0.75) + 0.25 * abs(0 - 1)
    assert calibration_error([0, 1, 1, 1], probabilities) == pytest.approx(expected)
    assert calibration_error([0, 1, 1, 1], probabilities, bins=1) == pytest.approx(abs(0.5 - 2.85 / 4))


def test_sure_and_right_is_calibrated_and_sure_and_wrong_is_not() -> None:
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert calibration_error([0, 1], sure) == 0.0
    assert calibration_error([1, 0], sure) == 1.0


# --- each metric ---------------------------------------------------------------------------------------------------


def test_f1_of_a_label_takes_it_for_the_positive_one() -> None:
    answers = said([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 1])  # of b: 1 hit, 3 said, 2 there
    assert of("f1:b", answers) == pytest.approx(2 * 1 / (3 + 2))
    assert of("f1:a", answers) == pytest.approx(2 * 2 / (3 + 3))
    assert of("f1:c", answers) == 0.0
    assert of("f1:c", said([0, 1], [0, 1])) == 0.0  # neither there nor said
    assert named("f1:b", "label", LABELS)[0].title == "F1 of b"


def test_matthews_by_hand() -> None:
    # hits 3, correct rejections 2, false alarms 1, misses 2: (3 * 2 - 1 * 2) / sqrt(4 * 5 * 3 * 4)
    gold, predicted = [1, 1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0, 1]
    assert of("matthews", said(gold, predicted, n=2)) == pytest.approx(4 / math.sqrt(240))
    assert of("matthews", said([0, 1, 0], [1, 0, 1], n=2)) == pytest.approx(-1)
    assert of("matthews", said([0, 1, 0, 1], [1, 1, 1, 1], n=2)) == 0.0


def test_pearson_and_spearman_by_hand() -> None:
    curved = numbers([1, 2, 3, 4], [1, 4, 9, 16])
    assert of("spearman", curved) == pytest.approx(1)
    # deviations -1.5 -.5 .5 1.5 and -6.5 -3.5 1.5 8.5: 25 / sqrt(5 * 129)
    assert of("pearson", curved) == pytest.approx(25 / math.sqrt(5 * 129))
    assert of("spearman", numbers([1, 2, 3], [2, 1, 3])) == pytest.approx(1 - 6 * 2 / (3 * 8))
    assert of("pearson", numbers([0, 5], [1, 0])) == pytest.approx(-1)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_a_correlation_with_what_is_all_the_same_is_zero_and_no_nan(name: str) -> None:
    assert of(name, numbers([1, 2, 3], [2.5, 2.5, 2.5])) == 0.0
    assert of(name, numbers([2], [1])) == 0.0


def test_multirc_counts_answers_by_f1_and_questions_by_exact_match() -> None:
    # questions x (all right), y (one of two wrong), z (right), its answers not side by side
    answers = said([1, 0, 1, 1, 0], [1, 0, 1, 0, 0], n=2, groups=["x", "x", "y", "y", "z"])
    assert of("exact_match", answers) == pytest.approx(2 / 3)
    assert of("f1a:b", answers) == pytest.approx(2 * 2 / (2 + 3))
    apart = said([1, 1, 1], [1, 1, 0], n=2, groups=["x", "y", "x"])
    assert of("exact_match", apart) == 0.5
    assert of("exact_match", said([1, 1, 1], [1, 1, 0], n=2)) == pytest.approx(2 / 3)  # each its own


def test_several_labels_by_hand() -> None:
    answers = several([(0, 1), (1,), ()], [(0,), (1, 2), ()])
    # a: 1 hit, 1 said, 1 there; b: 1, 1, 2; c: 0, 1, 0
    assert of("micro_f1", answers) == pytest.approx(2 * 2 / (3 + 3))
    assert of("macro_f1", answers) == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert of("exact_match", answers) == pytest.approx(1 / 3)
    found = evaluate(answers, named(None, "labels", LABELS))
    assert found["metric"] == "micro_f1" and "confusion" not in found and "calibration_error" not in found
    assert found["per_label"]["b"] == pytest.approx(
        {"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "n": 2, "predicted": 1}
    )


def test_a_label_of_several_that_nobody_has_or_says_is_left_out_of_macro_f1() -> None:
    assert of("macro_f1", several([(0,), (0, 1)], [(0,), (0,)])) == pytest.approx((1 + 0) / 2)
    assert of("macro_f1", several([()], [()])) == 0.0


def choosing(gold: list[Any], predicted: list[int], candidates: list[list[str]]) -> Answers:
    return Answers("choice", gold, predicted, np.zeros((len(gold), 3)), (), None, candidates)


def test_record_compares_texts_by_exact_match_and_by_words() -> None:
    names = ["The River Thames", "river thames", "London Bridge", "New London Bridge"]
    same = choosing([0], [1], [names])
    assert of("em", same) == of("token_f1", same) == 1.0  # case and articles aside
    near = choosing([2, 2], [3, 0], [names, names])
    assert of("em", near) == 0.0
    assert of("token_f1", near) == pytest.approx((2 * 2 / (3 + 2) + 0) / 2)
    either = choosing([(0, 2)], [3], [names])
    assert of("token_f1", either) == pytest.approx(4 / 5)  # by the right answer that fits best
    assert of("accuracy", choosing([(0, 2), (0, 2)], [2, 1], [names, names])) == 0.5


def test_answers_are_compared_as_squad_does() -> None:
    assert plain_answer(" The  U.S.A., an  ally; A. ") == "usa ally"
    assert plain_answer("Theatre") == "theatre"


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "kind", "says"),
    [
        ("acuracy", "label", "task.metrics=acuracy: not one of .* Did you mean 'accuracy'"),
        (["accuracy", "mathews"], "label", "Did you mean 'matthews'"),
        ("pearson", "label", "task.metrics=pearson: not for task.target=label; what fits it: accuracy, macro_f1"),
        ("accuracy", "number", "what fits it: pearson, spearman"),
        ("f1", "label", "task.metrics=f1: of which label\\? Write f1:c"),
        ("f1:d", "label", "task.metrics=f1:LABEL=d: not one of a, b, c"),
        ("matthews:a", "label", "matthews is not of one label; write matthews"),
        (["accuracy", "accuracy"], "label", "stands there twice"),
        (3, "label", "task.metrics=3"),
    ],
)
def test_a_metric_that_is_unknown_or_does_not_fit_is_one_line(names: Any, kind: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        named(names, kind, LABELS)
    assert "\n" not in str(error.value)


def test_a_single_name_or_none_at_all_will_do() -> None:
    assert [metric.name for metric in named("matthews", "label", LABELS)] == ["matthews"]
    assert [named(None, kind, LABELS)[0].name for kind in ALWAYS] == ["accuracy", "micro_f1", "pearson", "accuracy"]


def test_the_first_metric_is_the_score_and_the_others_stand_beside_it() -> None:
    found = evaluate(said([0, 1, 1, 0], [0, 1, 0, 1], n=2), named(["f1:b", "matthews"], "label", LABELS[:2]))
    assert score(found) == ("f1:b", 0.5)
    assert titled(found) == {
        "f1:b": "F1 of b",
        "accuracy": "accuracy",
        "macro_f1": "macro-F1",
        "matthews": "Matthews correlation",
    }
    assert values(found) == {"accuracy": 0.5, "macro_f1": 0.5, "f1:b": 0.5, "matthews": 0.0}


def test_a_metrics_file_of_the_version_before_is_read_as_accuracy() -> None:
    assert score({"accuracy": 0.75, "macro_f1": 0.5}) == ("accuracy", 0.75)


def test_the_word_for_the_most_usual_metric_stands_with_the_metrics_alone() -> None:
    root = Path(pet_cli.__file__).parent
    others = [path for path in root.rglob("*.py") if path != root / "tasks" / "metrics.py"]
    assert len(others) > 90
    found = [path.relative_to(root) for path in others if re.search("accurac", path.read_text("utf-8"), re.I)]
    assert not found


# --- properties ----------------------------------------------------------------------------------------------------

pairs = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30)


@given(pairs=pairs)
@settings(max_examples=40, deadline=None)
def test_the_parts_fit_together(pairs: list[tuple[int, int]]) -> None:
    gold, predicted = (list(side) for side in zip(*pairs, strict=True))
    found = evaluate(said(gold, predicted), named(["macro_f1", "matthews", "exact_match"], "label", LABELS))
    table = np.array(found["confusion"])
    assert table.sum() == len(pairs)
    assert found["accuracy"] == found["exact_match"] == pytest.approx(np.trace(table) / len(pairs))
    for i, label in enumerate(LABELS):
        own = found["per_label"][label]
        assert (own["n"], own["predicted"]) == (gold.count(i), predicted.count(i))
        assert table[i].sum() == own["n"] and table[:, i].sum() == own["predicted"]
        assert own["f1"] == pytest.approx(of(f"f1:{label}", said(gold, predicted)))
        if own["precision"] + own["recall"]:
            harmonic = 2 * own["precision"] * own["recall"] / (own["precision"] + own["recall"])
            assert own["f1"] == pytest.approx(harmonic)
    for name, value in values(found).items():
        assert METRICS[name].low <= value <= METRICS[name].high
    assert 0 <= found["calibration_error"] <= 1


@given(pairs=pairs, metric=st.sampled_from(["accuracy", "macro_f1", "matthews", "f1:b", "exact_match"]))
@settings(max_examples=30, deadline=None)
def test_what_units_contribute_has_the_metric_as_its_mean(pairs: list[tuple[int, int]], metric: str) -> None:
    gold, predicted = (list(side) for side in zip(*pairs, strict=True))
    answers = said(gold, predicted, groups=[i // 2 for i in range(len(pairs))])
    own = named(metric, "label", LABELS)[0]
    units, parts = contributions(answers, own)
    assert len(units) == len(parts)
    assert parts.mean() == pytest.approx(own.of(answers))


def test_contributions_are_what_the_metric_loses_without_the_unit() -> None:
    answers = numbers([1, 2, 3, 5], [1, 3, 2, 4])
    own = METRICS["pearson"]
    without = [own.of(answers.take([j for j in range(4) if j != i])) for i in range(4)]
    units, parts = contributions(answers, own)
    assert list(units) == [0, 1, 2, 3]
    assert parts.tolist() == pytest.approx([own.of(answers) + 3 * (sum(without) / 4 - one) for one in without])
    units, parts = contributions(said([0, 1, 1], [0, 0, 1], groups=["q", "q", "r"]), METRICS["exact_match"])
    assert (list(units), parts.tolist()) == (["q", "r"], [0.0, 1.0])


def test_a_share_has_wilson_s_interval() -> None:
    low, high = interval(said([0] * 10, [0] * 8 + [1] * 2), METRICS["accuracy"])
    z = 1.959964
    middle, half = (0.8 + z**2 / 20) / (1 + z**2 / 10), z * math.sqrt(0.8 * 0.2 / 10 + z**2 / 400) / (1 + z**2 / 10)
    assert (low, high) == (pytest.approx(middle - half, abs=1e-5), pytest.approx(middle + half, abs=1e-5))
    grouped = said([0] * 10, [0] * 8 + [1] * 2, groups=[i // 5 for i in range(10)])
    assert interval(grouped, METRICS["exact_match"]) == pytest.approx((0.0945, 0.9055), abs=1e-3)  # 1 of 2


def test_any_other_metric_has_a_bootstrap_s_interval_that_narrows_with_examples() -> None:
    few = said([0, 1] * 10, ([0, 1] * 4 + [1, 0]) * 2, n=2)
    many = said([0, 1] * 100, ([0, 1] * 4 + [1, 0]) * 20, n=2)
    own = METRICS["matthews"]
    assert own.of(few) == own.of(many) == pytest.approx(0.6)
    narrow, wide = interval(many, own, draws=200), interval(few, own, draws=200)
    assert wide[0] < narrow[0] < 0.6 < narrow[1] < wide[1] <= 1
    assert interval(few, own, draws=200) == wide


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=20))
def test_what_is_counted_here_is_what_scikit_learn_and_scipy_say(pairs: list[tuple[int, int]]) -> None:
    from scipy.stats import binomtest
    from sklearn import metrics as sk

    gold, said = map(list, zip(*pairs, strict=True))
    found = evaluate(Answers("label", gold, said, one_hot(said), LABELS), [METRICS["accuracy"], METRICS["macro_f1"]])
    assert found["confusion"] == sk.confusion_matrix(gold, said, labels=range(3)).tolist()
    theirs = sk.precision_recall_fscore_support(gold, said, labels=range(3), zero_division=0.0)
    names = ("precision", "recall", "f1", "n")
    assert [[found["per_label"][label][name] for name in names] for label in LABELS] == [
        pytest.approx(list(column)) for column in zip(*theirs, strict=True)
    ]
    assert found["macro_f1"] == pytest.approx(sk.f1_score(gold, said, average="macro", zero_division=np.nan))
    right = sum(g == s for g, s in pairs)
    wilson = binomtest(right, len(pairs)).proportion_ci(method="wilson")
    answers = Answers("label", gold, said, one_hot(said), LABELS)
    assert interval(answers, METRICS["accuracy"]) == pytest.approx((wilson.low, wilson.high), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sets(st.integers(0, 2)), st.sets(st.integers(0, 2))), min_size=1, max_size=12))
def test_of_several_labels_too(pairs: list[tuple[set[int], set[int]]]) -> None:
    from sklearn import metrics as sk

    gold, said = ([tuple(sorted(pair[side])) for pair in pairs] for side in (0, 1))
    tables = [np.array([[int(i in row) for i in range(3)] for row in side]) for side in (gold, said)]
    answers = Answers("labels", gold, said, np.full((len(pairs), 3), 1 / 3), LABELS)
    if any(table.any() for table in tables):
        assert METRICS["macro_f1"].of(answers) == pytest.approx(
            sk.f1_score(*tables, average="macro", zero_division=np.nan)
        )
    assert METRICS["micro_f1"].of(answers) == pytest.approx(sk.f1_score(*tables, average="micro", zero_division=0.0))
    per_label = evaluate(answers, [METRICS["micro_f1"]])["per_label"]
    assert [per_label[label]["predicted"] for label in LABELS] == tables[1].sum(axis=0).tolist()
