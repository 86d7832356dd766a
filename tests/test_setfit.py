"""`method=setfit`: an encoder trained on pairs of texts, then a linear model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from goldens import World, pet, read
from hypothesis import given
from hypothesis import strategies as st

from pet_cli import methods
from pet_cli.commands.compose import compose
from pet_cli.config.build import option
from pet_cli.data.examples import Example, Split
from pet_cli.methods.setfit import ContrastiveLearner, Pairs, SetfitMethod, drawn_pairs
from pet_cli.runs.session import Session

TEXTS = ("good soup", "bad soup", "good warm bread", "bad cold bread", "a good tea", "a bad tea")
SPLIT = Split("train", tuple(Example(i, {"text": text}, i % 2) for i, text in enumerate(TEXTS)))


def build(world: World, *overrides: str, session: Session | None = None) -> SetfitMethod:
    model = (f"model.name={world.model('bert')}", "model=custom", "device=cpu", "trainer.learning_rate=1e-3")
    config = compose(["method=setfit", "task=reviews", *model, *overrides])
    method = methods.build(config, methods.Context(session or Session()))
    assert isinstance(method, SetfitMethod)
    return method


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(1, 4), st.integers(0, 99))
def test_pairs_are_of_one_label_or_of_two_and_of_two_texts(gold: list[int], each: int, seed: int) -> None:
    places, alike = drawn_pairs(gold, each, seed)
    for (one, other), mark in zip(places.tolist(), alike.tolist(), strict=True):
        assert one != other and (gold[one] == gold[other]) == bool(mark)
    several = sum(gold.count(label) > 1 for label in gold), (len(gold) if len(set(gold)) > 1 else 0)
    assert (int(alike.sum()), len(alike)) == (each * several[0], each * sum(several))


def test_the_loss_is_the_distance_of_cosines_from_one_and_zero(world: World) -> None:
    method = build(world, "method.normalise=false")
    prompts = method.encoder.tokens.encode(SPLIT.rows)
    pairs = Pairs(prompts, torch.tensor([[0, 1], [0, 2], [3, 0]]), torch.tensor([0.0, 1.0, 0.0]))
    vectors = [method.encoder.vectors([prompt])[0].detach().double() for prompt in prompts]
    cosines = [float(vectors[a] @ vectors[b] / vectors[a].norm() / vectors[b].norm()) for a, b in pairs.places.tolist()]
    wanted = (cosines[0] ** 2 + (cosines[1] - 1) ** 2 + cosines[2] ** 2) / 3
    learner = ContrastiveLearner(method.encoder, option("method", "setfit"))
    assert learner.loss(pairs, [0, 1, 2], pairs.alike, None, 1.0).item() == pytest.approx(wanted, rel=1e-5)


def test_training_brings_texts_of_a_label_together_and_leaves_nothing_behind(world: World) -> None:
    session = Session(reuse=True)
    method = build(world, "method.pairs=20", "method.strength=100", session=session)
    before = method.features(SPLIT)
    method.fit({"train": SPLIT})
    after = method.features(SPLIT)

    def apart(vectors: np.ndarray) -> float:
        cosines = vectors @ vectors.T
        same = np.equal.outer(SPLIT.gold, SPLIT.gold)
        return float(cosines[same].mean() - cosines[~same].mean())

    assert apart(after) > apart(before) + 0.3
    told = method.facts()
    assert (
        told["steps"] == 30 and told["last_loss"] < told["first_loss"] and told["trained_parameters"] > told["features"]
    )
    assert method.predict(SPLIT).argmax(1).tolist() == SPLIT.gold
    again = build(world, "method.pairs=20", session=session)  # the model is shared, and as it was
    np.testing.assert_array_equal(again.features(SPLIT), before)
    again.fit({"train": Split("train", SPLIT.examples[::2])})  # one label alone: no pair of two
    np.testing.assert_array_equal(again.features(SPLIT), before)
    assert again.predict(SPLIT).argmax(1).tolist() == [0] * 6


def test_a_folder_holds_the_trained_encoder_or_says_that_it_does_not(world: World, tmp_path: Path) -> None:
    folder = world.train(tmp_path / "run", "method=setfit", "save_model=never")
    code, said = pet("predict", str(folder), "--text", "good")
    assert code == 2 and "save_model=always" in said and len(said.strip().splitlines()) == 1
    folder = world.train(tmp_path / "kept", "method=setfit")
    assert (folder / "model" / "model.safetensors").is_file() and read(folder / "metrics.json")["steps"] == 3
    code, said = pet("predict", str(folder), "--text", "good")
    assert code == 0 and '"predicted"' in said


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["method.pairs=0"], "method.pairs=0"),
        (["method.strength=0"], "method.strength"),
        (["method.most_steps=0"], "method.most_steps"),
        (["task.target=number", "task.range=[0,5]", "task.metrics=[pearson]"], "task.target=label"),
    ],
)
def test_a_mistake_is_one_line(
    overrides: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, told = pet("train", "method=setfit", *overrides)
    assert code == 2 and said in told and len(told.strip().splitlines()) == 1
