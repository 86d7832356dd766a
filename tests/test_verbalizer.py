"""Label words: what a user may write, and how the words' scores become scores of labels."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from pet_cli.commands.compose import compose
from pet_cli.config.build import option
from pet_cli.config.resolve import verbalizer_words
from pet_cli.errors import UserError
from pet_cli.prompts.query import Answers
from pet_cli.verbalizers.base import MaskOutput
from pet_cli.verbalizers.manual import ManualVerbalizer
from pet_cli.verbalizers.words import COMBINATIONS, all_words, parse_words

LABELS = ["bad", "good"]
quick = settings(max_examples=60, deadline=None)


def verbalizer(combine: str, bad: Any, good: Any) -> ManualVerbalizer:
    return ManualVerbalizer(
        parse_words({"bad": bad, "good": good}, LABELS), option("scoring", "words", combine=combine)
    )


class Said(MaskOutput):
    """A mask at which word scores were given."""

    states = features = torch.zeros(0)

    def __init__(self, scores: Tensor) -> None:
        self.scores = scores

    def word_scores(self, answers: Answers) -> Tensor:
        return self.scores


def loss(words: ManualVerbalizer, scores: Tensor, *given: Any) -> Tensor:
    words.answers = Answers(tuple((token,) for token in range(scores.shape[1])))
    return words.loss(Said(scores), *given)


def log_of(*odds: float) -> Tensor:
    """Word scores of one example from the words' probabilities up to a factor."""
    return torch.tensor([[log(value) for value in odds]])


# --- what may be written -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        {"bad": "awful", "good": "fine"},
        {"bad": ["awful"], "good": ("fine",)},
        {"bad": {"awful": 1}, "good": {" fine ": 1.0}},
        {"good": "fine", "bad": "awful"},
    ],
)
def test_words_may_be_one_a_list_or_weighted_and_come_in_the_order_of_the_labels(written: dict[str, Any]) -> None:
    parsed = parse_words(written, LABELS)
    assert list(parsed) == LABELS
    assert parsed == {"bad": {"awful": 1.0}, "good": {"fine": 1.0}}


def test_labels_written_as_numbers_are_their_names() -> None:
    assert parse_words({1: "terrible", 5: "great"}, ["1", "5"]) == {"1": {"terrible": 1.0}, "5": {"great": 1.0}}


def test_a_weight_of_zero_beside_another_is_allowed() -> None:
    assert parse_words({"bad": {"awful": 0, "poor": 2}, "good": "fine"}, LABELS)["bad"] == {"awful": 0.0, "poor": 2.0}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            {"bad": True, "good": "no"},
            r'the word True of label \'bad\' is not text; write it in quotes: "Yes" or "true"',
        ),
        ({"bad": ["awful", False], "good": "no"}, r'the word False .* quotes: "No" or "false"'),
        ({"bad": {True: 1.0}, "good": "no"}, r'the word True .* quotes: "Yes" or "true"'),
        ({"bad": 1, "good": "no"}, r'the word 1 .* quotes: "1"'),
        ({"bad": [0, 1], "good": "no"}, r'the word 0 .* quotes: "0"'),
        ({"bad": None, "good": "no"}, "the word None .* is not text"),
        ({"bad": [["awful"]], "good": "no"}, r"the word \['awful'\] of label 'bad' is not text"),
        ({"bad": "awful"}, "no word for label 'good'"),
        ({"bad": "awful", "good": []}, "no word for label 'good'"),
        ({"bad": "awful", "good": {}}, "no word for label 'good'"),
        ({"bad": "awful", "god": "fine"}, r"unknown label 'god'; the labels are bad, good\. Did you mean 'good'\?"),
        ({"bad": "awful", "zzz": "fine"}, r"unknown label 'zzz'; the labels are bad, good\.$"),
        ({"bad": "", "good": "fine"}, "label 'bad' has an empty word"),
        ({"bad": ["awful", "  "], "good": "fine"}, "label 'bad' has an empty word"),
        ({"bad": "fine", "good": "fine"}, "'fine' is a word of both 'bad' and 'good'"),
        ({"bad": ["poor", "awful"], "good": ["fine", " awful"]}, "'awful' is a word of both 'bad' and 'good'"),
        ({"bad": ["poor", "poor "], "good": "fine"}, "'poor' stands twice for label 'bad'"),
        ({"bad": {"awful": -1}, "good": "fine"}, r"the weight of 'awful' is -1; it must be a number >= 0"),
        ({"bad": {"awful": "much"}, "good": "fine"}, "the weight of 'awful' is 'much'"),
        ({"bad": {"awful": True}, "good": "fine"}, "the weight of 'awful' is True"),
        ({"bad": {"awful": float("nan")}, "good": "fine"}, "the weight of 'awful' is nan"),
        ({"bad": {"awful": float("inf")}, "good": "fine"}, "the weight of 'awful' is inf"),
        ({"bad": {"awful": 0, "poor": 0.0}, "good": "fine"}, "every word of label 'bad' has weight 0"),
        ({}, "write label: word"),
        (["awful", "fine"], "write label: word"),
        ("awful", "write label: word"),
    ],
)
def test_a_mistake_in_a_verbalizer_is_named(written: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_words(written, LABELS)


def test_vote_needs_as_many_words_for_every_label() -> None:
    with pytest.raises(UserError, match="vote needs the same number of words"):
        verbalizer("vote", ["awful", "poor"], "fine")


# --- how scores combine: values worked out by hand -----------------------------------------------------------------

THREE_AND_ONE = (["a1", "a2", "a3"], "b")
ODDS = (1.0, 2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    ("combine", "expected"),
    [("mean", (2, 4)), ("max", (3, 4)), ("sum", (6, 4)), ("weighted", (2, 4)), ("learned", (2, 4))],
)
def test_a_label_of_three_words_against_one_of_one(combine: str, expected: Sequence[float]) -> None:
    scores = verbalizer(combine, *THREE_AND_ONE).label_scores(log_of(*ODDS))
    torch.testing.assert_close(scores, log_of(*expected))


def test_weights_are_normalised_within_their_label() -> None:
    weighted = verbalizer("weighted", {"a1": 1, "a2": 1, "a3": 2}, {"b": 5})
    torch.testing.assert_close(weighted.label_scores(log_of(*ODDS)), log_of((1 + 2 + 6) / 4, 4))


def test_a_sum_takes_weights_as_they_stand() -> None:
    added = verbalizer("sum", {"a1": 1, "a2": 1, "a3": 2}, {"b": 5})
    torch.testing.assert_close(added.label_scores(log_of(*ODDS)), log_of(1 + 2 + 6, 20))
    torch.testing.assert_close(verbalizer("sum", {"a": 3}, "b").label_scores(log_of(1, 2)), log_of(3, 2))
    torch.testing.assert_close(verbalizer("mean", {"a": 3}, "b").label_scores(log_of(1, 2)), log_of(1, 2))


def test_a_word_of_weight_zero_counts_for_nothing_and_gets_no_gradient() -> None:
    words = log_of(*ODDS).requires_grad_()
    scores = verbalizer("weighted", {"a1": 0, "a2": 3, "a3": 0}, "b").label_scores(words)
    torch.testing.assert_close(scores, log_of(2, 4))
    scores[0, 0].backward()
    assert words.grad is not None
    assert words.grad.tolist() == [[0.0, 1.0, 0.0, 0.0]]


def test_learned_weights_are_a_softmax_within_their_label() -> None:
    words = verbalizer("learned", *THREE_AND_ONE)
    raw = words.word_weights
    assert raw is not None
    raw.data = torch.tensor([0.0, log(2), log(5), 7.0])
    scores = words.label_scores(log_of(*ODDS))
    torch.testing.assert_close(scores, log_of((1 * 1 + 2 * 2 + 5 * 3) / 8, 4))
    scores[0, 0].backward()
    assert raw.grad is not None and raw.grad[:3].abs().min() > 0 and raw.grad[3] == 0


def test_each_word_set_votes_and_the_mean_probability_breaks_ties() -> None:
    voting = verbalizer("vote", ["a1", "a2", "a3"], ["b1", "b2", "b3"])
    assert voting.columns.tolist() == [[0, 1, 2], [3, 4, 5]]
    # sets: 4:1, 4:1 and 1:9 -> probabilities .8, .8 and .1 for the first label, two votes of three
    [scores] = voting.label_scores(log_of(4, 4, 1, 1, 1, 9)).exp().tolist()
    assert scores == pytest.approx([0.99 * 2 / 3 + 0.01 * 1.7 / 3, 0.99 / 3 + 0.01 * 1.3 / 3])
    # one vote each, and a set that ties; the second label is the more probable on average
    tie = verbalizer("vote", ["a1", "a2"], ["b1", "b2"]).label_scores(log_of(3, 1, 2, 9))
    assert tie.argmax() == 1
    [shared] = voting.label_scores(log_of(3, 1, 1, 1, 3, 1)).exp().tolist()
    assert shared == pytest.approx([0.5, 0.5])


def test_one_vote_more_wins_however_many_word_sets_vote() -> None:
    sets = 201
    voting = verbalizer("vote", [f"a{i}" for i in range(sets)], [f"b{i}" for i in range(sets)])
    barely = [1.01 if i < 101 else 0.001 for i in range(sets)]  # 101 votes by a hair, 100 lost by far
    assert voting.label_scores(log_of(*barely, *[1.0] * sets)).argmax() == 0


@pytest.mark.parametrize("combine", COMBINATIONS)
def test_equal_words_make_equal_labels_except_that_sum_favours_more_words(combine: str) -> None:
    unequal = (["a1", "a2", "a3"], ["b1"])
    words = verbalizer(combine, *((["a1", "a2"], ["b1", "b2"]) if combine == "vote" else unequal))
    [scores] = words.label_scores(torch.full((1, len(words.flat)), 0.7)).tolist()
    if combine == "sum":
        assert scores[0] - scores[1] == pytest.approx(log(3))
    else:
        assert scores[0] == pytest.approx(scores[1])


@pytest.mark.parametrize("combine", COMBINATIONS)
def test_with_one_word_for_each_label_every_rule_says_the_same(combine: str) -> None:
    words = torch.tensor([[0.3, -1.0], [-2.0, 2.0], [0.0, 0.1]])
    scores = verbalizer(combine, "awful", "fine").label_scores(words)
    assert scores.argmax(1).tolist() == [0, 1, 1]
    if combine != "vote":
        torch.testing.assert_close(scores.softmax(1), words.softmax(1))


word_scores = st.lists(st.floats(-20, 20, width=32), min_size=4, max_size=4)


@pytest.mark.parametrize("combine", COMBINATIONS)
@given(scores=word_scores, shift=st.floats(-30, 30, width=32))
@quick
def test_a_constant_of_the_example_changes_no_prediction(combine: str, scores: list[float], shift: float) -> None:
    words = verbalizer(combine, {"a1": 1, "a2": 3}, {"b1": 2, "b2": 1})
    plain = torch.tensor([scores], dtype=torch.float64)
    if words.word_weights is not None:
        words.word_weights.data = torch.tensor([0.3, -0.2, 1.0, 0.0], dtype=torch.float64)
    here, there = (words.label_scores(x).softmax(1) for x in (plain, plain + shift))
    if combine == "vote":
        assume((plain[0, :2] - plain[0, 2:]).abs().min() > 1e-6)
    torch.testing.assert_close(here, there, atol=1e-6, rtol=1e-5)


@given(scores=word_scores)
@quick
def test_the_mean_lies_between_the_least_and_the_best_word(scores: list[float]) -> None:
    plain = torch.tensor([scores])
    mean, best, total = (
        verbalizer(combine, ["a1", "a2"], ["b1", "b2"]).label_scores(plain) for combine in ("mean", "max", "sum")
    )
    least = plain.reshape(1, 2, 2).amin(2)
    assert (least - 1e-4 <= mean).all() and (mean <= best + 1e-4).all() and (best <= total + 1e-4).all()


# --- the loss ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 2.0])])
def test_the_loss_of_vote_is_the_sum_over_its_word_sets(soft: bool, weight: Tensor | None) -> None:
    words = torch.tensor([[0.1, 0.2, 0.3, 0.9], [1.0, -1.0, 0.5, 0.0], [2.0, 0.0, 0.0, 2.0]])
    targets = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]) if soft else torch.tensor([0, 1, 1])
    first, second = words[:, [0, 2]], words[:, [1, 3]]
    expected = F.cross_entropy(first, targets, weight=weight) + F.cross_entropy(second, targets, weight=weight)
    found = loss(verbalizer("vote", ["a1", "a2"], ["b1", "b2"]), words, targets, weight)
    torch.testing.assert_close(found, expected)


def test_the_loss_is_the_cross_entropy_of_the_labels_by_hand() -> None:
    found = loss(verbalizer("mean", *THREE_AND_ONE), log_of(*ODDS), torch.tensor([0]))
    assert exp(-found.item()) == pytest.approx(2 / (2 + 4))


@pytest.mark.parametrize("combine", COMBINATIONS)
def test_a_temperature_softens_what_is_predicted_with(combine: str) -> None:
    """A student learns the function that it answers with: T divides label scores, of several words too."""
    words = verbalizer(combine, ["a1", "a2"], ["b1", "b2"])
    soft, hot = torch.tensor([[0.3, 0.7]]), 2.0
    found = loss(words, log_of(*ODDS), soft, None, hot)
    if combine == "vote":  # trains by its word sets
        sets = [log_of(1, 3), log_of(2, 4)]
    else:
        sets = [words.label_scores(log_of(*ODDS)).detach()]
    expected = sum(-(soft * (scores / hot).log_softmax(1)).sum() for scores in sets) * hot**2
    assert found.item() == pytest.approx(float(expected.detach()))


def test_all_words_of_a_task_together() -> None:
    config = compose(["task=sst2", "verbalizer=all"])
    words = {"negative": ["terrible", "bad", "awful"], "positive": ["great", "good", "wonderful"]}
    assert {label: list(own) for label, own in verbalizer_words(config).items()} == words


def test_a_word_that_different_verbalizers_give_to_different_labels_is_refused() -> None:
    first = parse_words({"a": "yes", "b": "no"}, ["a", "b"])
    second = parse_words({"a": "no", "b": "never"}, ["a", "b"])
    with pytest.raises(UserError, match="'no' is a word of both 'a' and 'b'"):
        all_words([first, second])
