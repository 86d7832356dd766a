"""`method=lexicon`: words of a list, counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from goldens import World, pet, read

from pet_cli import methods
from pet_cli.api import PromptClassifier
from pet_cli.commands.compose import compose
from pet_cli.data.examples import Example, Split
from pet_cli.methods.lexicon import SHIPPED, LexiconMethod, read_lexicon

LIST = {"good": "positive", "fine": "positive", "not good": "negative", "bad": "negative", ":(": "negative"}


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "vocabulary.jsonl"
    path.write_text("".join(json.dumps({"word": word, "label": label}) + "\n" for word, label in LIST.items()))
    return path


def build(*overrides: str) -> LexiconMethod:
    method = methods.build(compose(["method=lexicon", "task=reviews", *overrides]))
    assert isinstance(method, LexiconMethod)
    return method


def texts(*labeled: tuple[str, int]) -> Split:
    return Split("train", tuple(Example(i, {"text": text}, label) for i, (text, label) in enumerate(labeled)))


def test_words_are_counted_the_longest_first(words: Path) -> None:
    own = build(f"method.words={words}")
    asked = ("Good, good!", "not GOOD but fine", "so bad :(", "goodness", "")
    found = own.counts(Split.passing([{"text": text} for text in asked]))
    assert found.tolist() == [[0, 2], [1, 1], [2, 0], [0, 0], [0, 0]]  # negative, positive
    own.fit({})
    assert (own.predict(Split.passing([{"text": text} for text in asked])) == found).all()


def test_examples_fit_a_weight_and_biases(words: Path) -> None:
    """Where the list is right its words weigh more; where they are all of one label, that is the likelier."""
    right = texts(*[("good", 1), ("bad", 0)] * 8)
    own = build(f"method.words={words}")
    own.fit({"train": right})
    assert own.weight > 1.5 and own.bias == pytest.approx([0, 0], abs=1e-4)
    wrong = build(f"method.words={words}")
    wrong.fit({"train": texts(*[("good", 0), ("bad", 1)] * 8)})
    assert wrong.weight == pytest.approx(0, abs=1e-6)  # a list is not turned round
    one = build(f"method.words={words}")
    one.fit({"train": texts(*[("nothing", 1)] * 8, ("nothing", 0))})
    assert one.bias[1] > one.bias[0] + 1
    fair = build(f"method.words={words}", "trainer.class_weights=balanced")
    fair.fit({"train": texts(*[("nothing", 1)] * 8, ("nothing", 0))})
    assert fair.bias == pytest.approx([0, 0], abs=1e-4)
    held = build(f"method.words={words}", "method.anchor=1e6")
    held.fit({"train": right})
    assert held.weight == pytest.approx(1, abs=1e-3)


def test_the_list_that_comes_along_is_sound() -> None:
    found = read_lexicon(SHIPPED, ["negative", "positive"])
    assert found["not", "good"] == 0 and found["great",] == 1
    assert all(list(found.values()).count(label) > 150 for label in (0, 1))


def test_no_labels_are_needed(words: Path, tmp_path: Path) -> None:
    shown = build("data.shots=0")
    assert shown.predict(Split.passing([{"text": "a wonderful evening"}])).argmax() == 1
    folder = tmp_path / "run"
    code, said = pet("train", "method=lexicon", "data.shots=0", f"hydra.run.dir={folder}")
    assert code == 0, said
    assert read(folder / "metrics.json")["n_train"] == 0 and read(folder / "metrics.json")["trained_parameters"] == 0
    own = PromptClassifier(method="lexicon", task="reviews")
    assert own.predict(["an awful bore", "great fun"]) == ["negative", "positive"]
    assert own.fit(["good", "bad"] * 4, ["positive", "negative"] * 4).predict(["great fun"]) == ["positive"]


def test_a_folder_says_again_what_was_fitted_without_the_list(words: Path, world: World, tmp_path: Path) -> None:
    listed = tmp_path / "own.tsv"
    listed.write_text("word\tlabel\ngood\ttasty\nthe\ttasty\nnot good\tbland\na\tbland\n")
    folder = world.train(tmp_path / "run", "method=lexicon", f"method.words={listed}")
    listed.unlink()
    own = methods.load(folder)
    assert isinstance(own, LexiconMethod) and own.weight != 1
    scores = own.predict(Split.passing([{"text": "not good"}, {"text": "good"}]))
    np.testing.assert_array_equal(scores, own.weight * np.array([[0.0, 1.0], [1.0, 0.0]]) + own.bias)
    (folder / "vocabulary.json").write_text('[["good", "sour"]]')
    code, said = pet("predict", str(folder), "--text", "good")
    assert code == 2 and "damaged" in said and len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("word\tlabel\ngood\tpositive\n", "no word of the label 'negative'"),
        ("word\tlabel\ngood\tpositive\nbad\tnegativ\n", "Did you mean 'negativ'?"),
        ("word\tlabel\ngood\tpositive\ngood\tnegative\n", "line 3: 'good' stands there for 'positive' too"),
        ("word\tlabel\n \tpositive\n", "line 2: the word is empty"),
        ("term\tlabel\ngood\tpositive\n", "no column 'word'"),
        ("good\tpositive\n", "names the columns, word and label, and none follows"),
    ],
)
def test_a_broken_list_is_told_with_its_line(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.tsv").write_text(text)
    code, told = pet("train", "method=lexicon", "method.words=own.tsv", "data.shots=0")
    assert code == 2 and said in told and "own.tsv" in told and len(told.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["task=topics"], "method=lexicon: the list that comes along knows the labels negative, positive"),
        (["method.words=none.tsv"], "method.words=none.tsv: no such file"),
        (["method.anchor=0"], "method.anchor"),
        (["task.target=number", "task.range=[0,5]", "task.metrics=[pearson]"], "task.target=label"),
    ],
)
def test_a_mistake_is_one_line(
    overrides: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, told = pet("train", "method=lexicon", *overrides)
    assert code == 2 and said in told and len(told.strip().splitlines()) == 1


def test_it_counts_at_a_glance(words: Any) -> None:
    own = build(f"method.words={words}")
    own.predict(Split("test", texts(("nothing", 0), ("good", 1), ("else", 1)).examples))
    assert own.facts()["texts_without_words"] == pytest.approx(2 / 3, abs=1e-4) and "67%" in own.notes()[0]
