"""Drawing few examples: which, how many, and that nothing else changes them."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pet_cli.data.examples import Example
from pet_cli.data.sampling import capped, k_shot, ranked
from pet_cli.errors import UserError

LABELS = ["a", "b"]
FIRST_TEN = [
    8,
    1,
    6,
    4,
    3,
    7,
    0,
    2,
    9,
    5,
]  # the order of ten rows by seed 13, written down so that no release changes it
quick = settings(max_examples=60, deadline=None)


def examples(n: int, n_labels: int = 2) -> list[Example]:
    return [Example(row, {"text": f"text {row}"}, row % n_labels) for row in range(n)]


def rows(drawn: list[Example]) -> list[int]:
    return [example.row for example in drawn]


@given(shots=st.integers(1, 10), dev=st.integers(0, 10), seed=st.integers(0, 10**6))
@quick
def test_a_sample_has_as_many_of_each_label_and_no_row_twice(shots: int, dev: int, seed: int) -> None:
    train, held_out = k_shot(examples(60, 3), ["a", "b", "c"], shots, seed, dev)
    assert Counter(example.label for example in train) == {0: shots, 1: shots, 2: shots}
    assert Counter(example.label for example in held_out) == Counter({0: dev, 1: dev, 2: dev})
    drawn = rows(train) + rows(held_out)
    assert len(set(drawn)) == len(drawn) == 3 * (shots + dev)


@given(few=st.integers(1, 8), more=st.integers(0, 8), seed=st.integers(0, 10**6))
@quick
def test_a_smaller_sample_is_part_of_a_larger_one(few: int, more: int, seed: int) -> None:
    small, _ = k_shot(examples(40), LABELS, few, seed)
    large, _ = k_shot(examples(40), LABELS, few + more, seed)
    assert set(rows(small)) <= set(rows(large))
    assert [row for row in rows(large) if row in rows(small)] == rows(small), "in the same order"


@given(seed=st.integers(0, 10**6), shuffle=st.integers(0, 10**6))
@quick
def test_a_sample_does_not_depend_on_the_order_of_the_rows(seed: int, shuffle: int) -> None:
    shuffled = examples(40)
    random.Random(shuffle).shuffle(shuffled)
    assert k_shot(shuffled, LABELS, 5, seed, 3) == k_shot(examples(40), LABELS, 5, seed, 3)


def test_rows_added_to_one_label_leave_the_sample_of_the_other() -> None:
    before, _ = k_shot(examples(40), LABELS, 5, seed=1)
    added = [*examples(40), *(Example(row, {"text": "new"}, 1) for row in range(40, 80))]
    after, _ = k_shot(added, LABELS, 5, seed=1)
    assert {e.row for e in before if e.label == 0} == {e.row for e in after if e.label == 0}


def test_all_examples_are_taken_without_shots_less_those_held_out() -> None:
    train, held_out = k_shot(examples(20), LABELS, None, seed=1, dev_shots=3)
    assert sorted(rows(train) + rows(held_out)) == list(range(20))
    assert len(held_out) == 6


def test_no_shots_draw_nothing() -> None:
    assert k_shot(examples(20), LABELS, 0, seed=1) == ([], [])


def test_another_seed_draws_others() -> None:
    drawn = {tuple(rows(k_shot(examples(100), LABELS, 8, seed)[0])) for seed in range(20)}
    assert len(drawn) == 20


def test_every_row_is_drawn_as_often_as_any_other() -> None:
    counts = Counter(row for seed in range(1000) for row in rows(k_shot(examples(20), LABELS, 3, seed)[0]))
    assert set(counts) == set(range(20))
    assert all(240 < count < 360 for count in counts.values())  # 300 expected, 4 standard deviations


def test_the_order_of_a_seed_is_the_same_in_every_version() -> None:
    assert rows(ranked(examples(10), seed=13)) == FIRST_TEN


@pytest.mark.parametrize(
    ("shots", "dev", "message"),
    [
        (11, 0, r"data\.shots=11: label 'a' has only 10 training examples"),
        (8, 3, r"data\.shots=8 and data\.dev_shots=3: label 'a' has only 10"),
        (None, 10, r"data\.shots=null and data\.dev_shots=10: label 'a' has only 10"),
    ],
)
def test_too_few_examples_of_a_label_are_refused(shots: int | None, dev: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        k_shot(examples(20), LABELS, shots, seed=1, dev_shots=dev)


def test_too_few_examples_of_a_label_are_taken_where_that_is_allowed() -> None:
    uneven = [example for example in examples(40) if example.label == 0 or example.row < 6]
    train, _ = k_shot(uneven, LABELS, 5, seed=1, take_fewer=True)
    assert Counter(example.label for example in train) == {0: 5, 1: 3}


def test_unlabeled_rows_are_never_drawn() -> None:
    mixed = [*examples(10), *(Example(row, {"text": ""}, None) for row in range(10, 50))]
    train, _ = k_shot(mixed, LABELS, 5, seed=1)
    assert all(example.label is not None for example in train)


def test_a_cap_keeps_the_order_and_takes_all_where_there_are_fewer() -> None:
    kept = capped(examples(30), 10, seed=1)
    assert len(kept) == 10 and rows(kept) == sorted(rows(kept))
    assert set(rows(kept)) <= set(rows(capped(examples(30), 20, seed=1)))
    assert capped(examples(30), None, seed=1) == capped(examples(30), 30, seed=1) == examples(30)
