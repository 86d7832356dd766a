"""Drawing few examples: which, how many, and that nothing else changes them."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pet_cli.data.examples import Example
from pet_cli.data.sampling import capped, k_shot, ranked
from pet_cli.errors import UserError
from pet_cli.tasks.targets import Target, make

TARGET = make("label", ["a", "b"])
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
    train, held_out = k_shot(examples(60, 3), make("label", ["a", "b", "c"]), shots, seed, dev)
    assert Counter(example.gold for example in train) == {0: shots, 1: shots, 2: shots}
    assert Counter(example.gold for example in held_out) == Counter({0: dev, 1: dev, 2: dev})
    drawn = rows(train) + rows(held_out)
    assert len(set(drawn)) == len(drawn) == 3 * (shots + dev)


@given(few=st.integers(1, 8), more=st.integers(0, 8), seed=st.integers(0, 10**6))
@quick
def test_a_smaller_sample_is_part_of_a_larger_one(few: int, more: int, seed: int) -> None:
    small, _ = k_shot(examples(40), TARGET, few, seed)
    large, _ = k_shot(examples(40), TARGET, few + more, seed)
    assert set(rows(small)) <= set(rows(large))
    assert [row for row in rows(large) if row in rows(small)] == rows(small), "in the same order"


@given(seed=st.integers(0, 10**6), shuffle=st.integers(0, 10**6))
@quick
def test_a_sample_does_not_depend_on_the_order_of_the_rows(seed: int, shuffle: int) -> None:
    shuffled = examples(40)
    random.Random(shuffle).shuffle(shuffled)
    assert k_shot(shuffled, TARGET, 5, seed, 3) == k_shot(examples(40), TARGET, 5, seed, 3)


def test_rows_added_to_one_label_leave_the_sample_of_the_other() -> None:
    before, _ = k_shot(examples(40), TARGET, 5, seed=1)
    added = [*examples(40), *(Example(row, {"text": "new"}, 1) for row in range(40, 80))]
    after, _ = k_shot(added, TARGET, 5, seed=1)
    assert {e.row for e in before if e.gold == 0} == {e.row for e in after if e.gold == 0}


def test_all_examples_are_taken_without_shots_less_those_held_out() -> None:
    train, held_out = k_shot(examples(20), TARGET, None, seed=1, dev_shots=3)
    assert sorted(rows(train) + rows(held_out)) == list(range(20))
    assert len(held_out) == 6


def test_no_shots_draw_nothing() -> None:
    assert k_shot(examples(20), TARGET, 0, seed=1) == ([], [])


def test_another_seed_draws_others() -> None:
    drawn = {tuple(rows(k_shot(examples(100), TARGET, 8, seed)[0])) for seed in range(20)}
    assert len(drawn) == 20


def test_every_row_is_drawn_as_often_as_any_other() -> None:
    counts = Counter(row for seed in range(1000) for row in rows(k_shot(examples(20), TARGET, 3, seed)[0]))
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
        k_shot(examples(20), TARGET, shots, seed=1, dev_shots=dev)


def test_too_few_examples_of_a_label_are_taken_where_that_is_allowed() -> None:
    uneven = [example for example in examples(40) if example.gold == 0 or example.row < 6]
    train, _ = k_shot(uneven, TARGET, 5, seed=1, take_fewer=True)
    assert Counter(example.gold for example in train) == {0: 5, 1: 3}


def test_unlabeled_rows_are_never_drawn() -> None:
    mixed = [*examples(10), *(Example(row, {"text": ""}, None) for row in range(10, 50))]
    train, _ = k_shot(mixed, TARGET, 5, seed=1)
    assert all(example.gold is not None for example in train)


def test_a_cap_keeps_the_order_and_takes_all_where_there_are_fewer() -> None:
    kept = capped(examples(30), 10, seed=1)
    assert len(kept) == 10 and rows(kept) == sorted(rows(kept))
    assert set(rows(kept)) <= set(rows(capped(examples(30), 20, seed=1)))
    assert capped(examples(30), None, seed=1) == capped(examples(30), 30, seed=1) == examples(30)


# --- targets other than one label ------------------------------------------------------------------------------------


def of_gold(gold: list[Any], groups: list[str] | None = None) -> list[Example]:
    return [
        Example(row, {"text": f"text {row}"}, own, group=groups[row] if groups else None)
        for row, own in enumerate(gold)
    ]


def test_shots_of_numbers_are_so_many_on_each_half() -> None:
    target = make("number", ["low", "high"], [0, 5])
    train, dev = k_shot(of_gold([row * 0.5 for row in range(10)] * 4), target, 4, 1, dev_shots=2)
    assert [sum(e.gold < 2.5 for e in drawn) for drawn in (train, dev)] == [4, 2]
    assert (len(train), len(dev)) == (8, 4) and not {*rows(train)} & {*rows(dev)}
    with pytest.raises(UserError, match=r"data\.shots=3: the half from 2\.5 has only 2 .*data\.shots=null the whole"):
        k_shot(of_gold([0.0, 1.0, 2.0, 2.5, 5.0]), target, 3, 1)


def test_shots_of_candidates_are_so_many_in_all() -> None:
    train, dev = k_shot(of_gold([0, 1] * 10), make("choice", ()), 7, 1, dev_shots=3)
    assert (len(train), len(dev)) == (7, 3)
    with pytest.raises(UserError, match=r"data\.shots=7: the task has only 4 training examples"):
        k_shot(of_gold([0, 1] * 2), make("choice", ()), 7, 1)


@given(seed=st.integers(0, 10**6), few=st.integers(1, 4), more=st.integers(0, 4))
@quick
def test_of_several_labels_each_has_at_least_so_many_and_a_larger_sample_adds(seed: int, few: int, more: int) -> None:
    target = make("labels", ["a", "b", "c"])
    every = of_gold([(0,), (1,), (0, 2), (1, 2), (), (0, 1, 2)] * 4)
    train, dev = k_shot(every, target, few, seed, dev_shots=1)
    for label in range(3):
        own = [e for e in every if label in e.gold]
        assert sum(label in e.gold for e in train) >= few
        assert sum(label in e.gold for e in dev) >= 1
        assert {e.row for e in ranked(own, seed)[:few]} <= {*rows(train)}
    assert len(train) <= 3 * few and not {*rows(train)} & {*rows(dev)}
    assert {*rows(train)} <= {*rows(k_shot(every, target, few + more, seed)[0])}


def questions() -> list[Example]:
    return of_gold([0, 1, 0, 1, 1, 0, 0, 1, 0, 0], ["q", "q", "q", "r", "s", "s", "s", "s", "t", "t"])


@pytest.mark.parametrize("seed", range(5))
def test_answers_to_questions_are_so_many_in_all_and_a_question_stays_together(seed: int) -> None:
    order = [e.group for e in ranked(questions(), seed)]
    assert all(order[place] == order[place - 1] or order[place] not in order[:place] for place in range(1, 10))
    train, _ = k_shot(questions(), make("label", ["no", "yes"]), 6, seed)
    assert len(train) == 6 and len({e.group for e in train} & {e.group for e in questions() if e not in train}) <= 1
    few = capped(questions(), 6, seed)
    assert 0 < len(few) <= 6 and not {e.group for e in few} & {e.group for e in questions() if e not in few}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shots", [4, None])
def test_no_question_is_learned_and_held_out(shots: int | None, seed: int) -> None:
    target = make("label", ["no", "yes"])
    train, dev = k_shot(questions(), target, shots, seed, 2)
    assert len(dev) == 2 and len(train) >= 4 and not {e.group for e in train} & {e.group for e in dev}
    one = of_gold([0, 1, 1], ["q", "q", "q"])
    with pytest.raises(UserError, match=r"data\.dev_shots=1: 0 training examples are left that belong to no question"):
        k_shot(one, target, 1, seed, 1)
    assert k_shot(one, target, 1, seed, 1, take_fewer=True)[1] == []


def test_a_question_with_more_answers_than_are_wanted_is_cut() -> None:
    assert len(capped(of_gold([0, 1, 1], ["q", "q", "q"]), 2, seed=1)) == 2


@pytest.mark.parametrize(
    ("target", "gold"),
    [(make("label", ["a", "b"]), [1, 1]), (make("number", ["a", "b"], [0, 1]), [0.9]), (make("labels", ["a"]), [()])],
)
def test_a_split_is_taken_whole_although_a_label_is_missing(target: Target, gold: list[Any]) -> None:
    train, dev = k_shot(of_gold(gold), target, None, seed=1)
    assert (len(train), dev) == (len(gold), [])
