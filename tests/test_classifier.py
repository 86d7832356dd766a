"""The notebook's classifier: the same code as the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pet_cli import PromptClassifier
from pet_cli.errors import UserError

WORDS = {"neg": "terrible", "pos": "great"}


def test_fit_predict_save_load(tmp_path: Path) -> None:
    texts = ["good fun", "dull stuff", "a joy", "a bore"] * 2
    labels = ["pos", "neg", "pos", "neg"] * 2
    own = PromptClassifier("{text} It was {mask}.", WORDS, model="random", trainer={"max_steps": 40})
    probabilities = own.fit(texts, labels).predict_proba(texts)
    assert probabilities.shape == (8, 2) and probabilities.sum(axis=1) == pytest.approx(1)
    assert own.score(texts, labels) == 1.0
    own.save(tmp_path / "own")
    again = PromptClassifier.load(tmp_path / "own")
    assert again.predict_proba(texts) == pytest.approx(probabilities, abs=1e-6)
    assert own.fit(texts, labels).predict_proba(texts) == pytest.approx(probabilities, abs=1e-6)


def test_zero_shot_needs_no_fit() -> None:
    own = PromptClassifier("{title} {body} It was {mask}.", WORDS, model="random", tuning="zero_shot")
    assert own.predict([{"title": "A", "body": "b"}])[0] in WORDS
    assert own.predict_proba([]).shape == (0, 2)


def test_mistakes_are_told_in_the_words_of_the_command_line() -> None:
    with pytest.raises(UserError, match="mask"):
        PromptClassifier("{text}", WORDS)
    with pytest.raises(UserError, match="Did you mean 'full'"):
        PromptClassifier("{text} {mask}", WORDS, tuning="fulll")
    own = PromptClassifier("{text} {mask}", WORDS, model="random")
    with pytest.raises(UserError, match="before fit"):
        own.predict(["a"])
    with pytest.raises(UserError, match="label=x"):
        own.fit(["a"], ["x"])
    with pytest.raises(UserError, match="1 texts but 2 labels"):
        own.fit(["a"], ["neg", "pos"])
