"""`method=sentence_lr`: logistic regression on vectors of a frozen encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from goldens import World, pet

from pet_cli import methods
from pet_cli.api import PromptClassifier
from pet_cli.commands.compose import compose
from pet_cli.data.examples import Example, Split
from pet_cli.methods.sentence_lr import SentenceLrMethod
from pet_cli.models.base import LanguageModel
from pet_cli.runs.session import Session

TEXTS = ("good soup", "the bread was dry and cold", "a lovely warm cake", "dull", "so good , so fresh", "awful fish")
SPLIT = Split("train", tuple(Example(i, {"text": text}, i % 2) for i, text in enumerate(TEXTS)))


@pytest.fixture
def build(world: World, tmp_path: Path) -> Any:
    """A method of the tiny model, by its settings."""

    def made(*overrides: str, session: Session | None = None) -> SentenceLrMethod:
        model = (f"model.name={world.model('bert')}", "model=custom", "device=cpu")
        config = compose(["method=sentence_lr", "task=reviews", *model, *overrides])
        method = methods.build(config, methods.Context(session or Session()))
        assert isinstance(method, SentenceLrMethod)
        return method

    return made


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_vector_is_that_of_the_text_alone(pooling: str, build: Any) -> None:
    """The mean of the states of a text's own tokens, or the first; padding and neighbours count for nothing."""
    method = build(f"method.pooling={pooling}", "method.normalise=false", "trainer.eval_batch_size=4")
    found = method.features(SPLIT)
    lm = method.encoder.lm
    for text, vector in zip(TEXTS, found, strict=True):
        with torch.inference_mode():
            states = lm.model(**lm.tokenizer(text, return_tensors="pt"))[0][0]
        wanted = states.mean(0) if pooling == "mean" else states[0]
        np.testing.assert_allclose(vector, wanted.numpy(), atol=1e-5)
    lengths = np.linalg.norm(build(f"method.pooling={pooling}").features(SPLIT), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)


def test_scores_are_those_of_logistic_regression_on_the_vectors(build: Any) -> None:
    from sklearn.linear_model import LogisticRegression

    method = build("method.strengths=[3.0]")
    method.fit({"train": SPLIT})
    model = LogisticRegression(C=3.0, max_iter=1000).fit(method.features(SPLIT), SPLIT.gold)
    scores = method.predict(SPLIT)
    np.testing.assert_allclose(scores[:, 1] - scores[:, 0], model.decision_function(method.features(SPLIT)), atol=1e-6)


def test_vectors_are_computed_once_in_a_process(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    whole = LanguageModel.pooled

    def counted(self: LanguageModel, batch: Any, pooling: str) -> Any:
        seen.append(len(batch))
        return whole(self, batch, pooling)

    monkeypatch.setattr(LanguageModel, "pooled", counted)
    session = Session(reuse=True)
    for strength in ("[1.0]", "[0.1,10]"):
        method = build(f"method.strengths={strength}", "method.folds=2", session=session)
        method.fit({"train": SPLIT})
        method.predict(SPLIT)
    assert sum(seen) == len(TEXTS)
    build("method.normalise=false", session=session).features(SPLIT)
    method.predict(Split.passing([{"text": "a new one"}]))
    assert sum(seen) == 2 * len(TEXTS) + 1


def test_a_run_says_how_it_was_made_and_its_folder_answers(world: World, tmp_path: Path) -> None:
    folder = world.train(tmp_path / "run", "method=sentence_lr")
    config = (folder / "config.yaml").read_text()
    assert "tuning:\n  name: none\n" in config and f"name: {world.model('bert')}" in config
    code, said = pet("predict", str(folder), "--text", "good soup")
    assert code == 0 and '"predicted"' in said
    code, said = pet("explain", str(folder))
    assert code == 2 and "no prompt" in said
    (folder / "config.yaml").write_text(config.replace(str(world.model("bert")), "random"))
    code, said = pet("predict", str(folder), "--text", "good soup")
    assert code == 2 and "another model" in said and len(said.strip().splitlines()) == 1


def test_a_notebook_has_it_too(tmp_path: Path) -> None:
    own = PromptClassifier(method="sentence_lr", model="random").fit(list(TEXTS), ["a", "b"] * 3)
    own.save(tmp_path / "own")
    again = PromptClassifier.load(tmp_path / "own")
    assert (again.predict_proba(list(TEXTS)) == own.predict_proba(list(TEXTS))).all()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["method.pooling=max"], "method.pooling=max"),
        (["ensemble=pet"], "ensemble=pet"),
        (["task.target=number", "task.range=[0,5]", "task.metrics=[pearson]"], "task.target=label"),
        (["method.strengths=[0]"], "method.strengths"),
        (["trainer.max_length=4000", "model=random"], "trainer.max_length=4000"),
    ],
)
def test_a_mistake_is_one_line(
    overrides: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, told = pet("train", "method=sentence_lr", *overrides)
    assert code == 2 and said in told and len(told.strip().splitlines()) == 1
