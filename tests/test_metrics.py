"""Metrics, by values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pet_cli.tasks.metrics import calibration_error, confusion, evaluate

LABELS = ["a", "b", "c"]


def one_hot(predicted: list[int], confidence: float = 0.8, n: int = 3) -> np.ndarray:
    table = np.full((len(predicted), n), (1 - confidence) / (n - 1))
    table[np.arange(len(predicted)), predicted] = confidence
    return table


def test_metrics_of_ten_examples_by_hand() -> None:
    gold = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
    predicted = [0, 0, 0, 1, 1, 1, 2, 2, 0, 2]
    found = evaluate(gold, one_hot(predicted), LABELS)
    assert found["accuracy"] == pytest.approx(0.7)
    assert found["confusion"] == [[3, 1, 0], [0, 2, 1], [1, 0, 2]]
    assert found["per_label"]["a"] == {"precision": 0.75, "recall": 0.75, "f1": 0.75, "n": 4, "predicted": 4}
    assert found["per_label"]["b"] == pytest.approx(
        {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "n": 3, "predicted": 3}
    )
    assert found["macro_f1"] == pytest.approx((0.75 + 2 / 3 + 2 / 3) / 3)
    assert found["calibration_error"] == pytest.approx(0.1)  # all 0.8 sure, 0.7 right
    assert found["one_label"] is None


def test_precision_recall_and_f1_differ_as_they_should() -> None:
    found = evaluate([0, 0, 0, 1], one_hot([0, 1, 1, 1], n=2), ["a", "b"])["per_label"]
    assert found["a"] == pytest.approx({"precision": 1.0, "recall": 1 / 3, "f1": 0.5, "n": 3, "predicted": 1})
    assert found["b"] == pytest.approx({"precision": 1 / 3, "recall": 1.0, "f1": 0.5, "n": 1, "predicted": 3})


def test_a_label_that_neither_occurs_nor_is_predicted_is_left_out_of_macro_f1() -> None:
    found = evaluate([0, 0, 1, 1], one_hot([0, 0, 1, 0]), LABELS)
    assert found["per_label"]["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "n": 0, "predicted": 0}
    assert found["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    missed = evaluate([0, 0, 1, 2], one_hot([0, 0, 1, 1]), LABELS)
    assert missed["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)  # c occurs, so its 0 counts


def test_a_classifier_that_says_one_thing_only_is_noticed() -> None:
    assert evaluate([0, 1, 2], one_hot([1, 1, 1]), LABELS)["one_label"] == "b"


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


pairs = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


@given(pairs=pairs)
@settings(max_examples=60, deadline=None)
def test_the_parts_fit_together(pairs: list[tuple[int, int]]) -> None:
    gold, predicted = (list(side) for side in zip(*pairs, strict=True))
    found = evaluate(gold, one_hot(predicted), LABELS)
    table = confusion(gold, predicted, 3)
    assert table.sum() == len(pairs) and table.tolist() == found["confusion"]
    assert found["accuracy"] == pytest.approx(np.trace(table) / len(pairs))
    for i, label in enumerate(LABELS):
        own = found["per_label"][label]
        assert (own["n"], own["predicted"]) == (gold.count(i), predicted.count(i))
        if own["precision"] + own["recall"]:
            harmonic = 2 * own["precision"] * own["recall"] / (own["precision"] + own["recall"])
            assert own["f1"] == pytest.approx(harmonic)
    assert 0 <= found["macro_f1"] <= 1 and 0 <= found["calibration_error"] <= 1
