"""The embedded demo tasks: their sizes and balance, no text twice, no near-copy across splits, and room to learn."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path

import pytest

EMBEDDED = Path(__file__).parent.parent / "pet_cli" / "embedded"
LABELS = {
    "reviews": {"negative", "positive"},
    "topics": {"world", "sports", "business", "technology"},
}
LEAST = {"train": 100, "test": 200, "unlabeled": 200}
BAG_OF_WORDS_BELOW = {"reviews": 0.9, "topics": 0.93}
EMBEDDED_TASKS = pytest.mark.parametrize("task", sorted(LABELS))

Row = dict[str, str]


def read(task: str, split: str) -> list[Row]:
    lines = (EMBEDDED / task / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b)


def naive_bayes_accuracy(train: list[Row], test: list[Row]) -> float:
    """Multinomial naive Bayes over words, add-one smoothing, words unseen in training ignored."""
    labels = sorted({row["label"] for row in train})
    counts: dict[str, Counter[str]] = {label: Counter() for label in labels}
    for row in train:
        counts[row["label"]].update(words(row["text"]))
    vocabulary = set().union(*counts.values())
    prior = Counter(row["label"] for row in train)

    def score(label: str, text: str) -> float:
        total = sum(counts[label].values()) + len(vocabulary)
        known = (word for word in words(text) if word in vocabulary)
        return math.log(prior[label]) + sum(math.log((counts[label][word] + 1) / total) for word in known)

    hits = sum(max(labels, key=lambda label: score(label, row["text"])) == row["label"] for row in test)
    return hits / len(test)


@EMBEDDED_TASKS
@pytest.mark.parametrize("split", sorted(LEAST))
def test_size(task: str, split: str) -> None:
    assert len(read(task, split)) >= LEAST[split]


@EMBEDDED_TASKS
@pytest.mark.parametrize("split", ["train", "test"])
def test_labels_are_all_there_and_nearly_balanced(task: str, split: str) -> None:
    rows = read(task, split)
    assert all(set(row) == {"text", "label"} for row in rows)
    counts = Counter(row["label"] for row in rows)
    assert set(counts) == LABELS[task]
    even = len(rows) / len(counts)
    assert all(0.9 * even <= count <= 1.1 * even for count in counts.values()), counts


@EMBEDDED_TASKS
def test_unlabeled_has_no_label(task: str) -> None:
    assert all(set(row) == {"text"} for row in read(task, "unlabeled"))


@EMBEDDED_TASKS
@pytest.mark.parametrize("split", ["train", "test"])
def test_rows_are_not_grouped_by_label(task: str, split: str) -> None:
    labels = [row["label"] for row in read(task, split)]
    assert sum(a != b for a, b in pairwise(labels)) > len(labels) / 3


@EMBEDDED_TASKS
def test_no_text_stands_twice(task: str) -> None:
    texts = Counter(" ".join(words(row["text"])) for split in LEAST for row in read(task, split))
    assert "" not in texts
    assert [text for text, count in texts.items() if count > 1] == []


@EMBEDDED_TASKS
def test_no_near_copy_across_splits(task: str) -> None:
    bags = {split: [(row["text"], frozenset(words(row["text"]))) for row in read(task, split)] for split in LEAST}
    near = [
        (text, other)
        for a, b in combinations(bags, 2)
        for text, bag in bags[a]
        for other, other_bag in bags[b]
        if jaccard(bag, other_bag) >= 0.5
    ]
    assert near == []


@EMBEDDED_TASKS
def test_bag_of_words_learns_something_and_leaves_room(task: str) -> None:
    accuracy = naive_bayes_accuracy(read(task, "train"), read(task, "test"))
    assert 1 / len(LABELS[task]) + 0.05 < accuracy < BAG_OF_WORDS_BELOW[task], accuracy
