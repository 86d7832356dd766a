"""Trained label vectors at the mask: what they start as, what of them trains, and that a run keeps them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from goldens import DATA, World
from torch import Tensor

from pet_cli.api import PromptClassifier
from pet_cli.commands.cli import main
from pet_cli.config import registry
from pet_cli.config.build import option
from pet_cli.errors import UserError
from pet_cli.models.masked import MaskedLM
from pet_cli.prompts.template import Template
from pet_cli.training.loop import TrainSettings, train
from pet_cli.tuning.base import PromptLearner
from pet_cli.verbalizers.soft import SoftVerbalizer
from pet_cli.verbalizers.words import parse_words

pytestmark = pytest.mark.xdist_group("families")

ModelOf = Callable[[str], MaskedLM]

LABELS = ["negative", "positive"]
ONE = {"negative": "terrible", "positive": "great"}
TWO = {"negative": ["terrible", "bad"], "positive": {"great": 3, "good": 1}}
ROWS = [{"text": "the film was great"}, {"text": "a plot"}, {"text": "So I say: this story was bad, maybe?"}]
TARGETS = torch.tensor([1, 0, 1])


def learner_of(lm: Any, mode: str, kind: str, words: Mapping[str, Any] = ONE, **scoring: Any) -> PromptLearner:
    cls = registry.implementation("tuning", mode)
    assert issubclass(cls, PromptLearner)
    torch.manual_seed(1)
    verbalizer = registry.implementation("scoring", kind)(
        parse_words(words, LABELS), option("scoring", kind, **scoring)
    )
    template = Template.parse("{text} It was {mask}.")
    return cls(lm, template, labels=LABELS, settings=option("tuning", mode), max_length=48, verbalizer=verbalizer)


def scores(learner: PromptLearner) -> Tensor:
    return learner.predict(learner.encode(ROWS))


def label_vectors(learner: PromptLearner) -> SoftVerbalizer:
    assert isinstance(learner.verbalizer, SoftVerbalizer)
    return learner.verbalizer


@pytest.mark.parametrize("mode", ["zero_shot", "head", "full", "soft_prompt"])
def test_untrained_label_vectors_score_as_their_words(mode: str, lm: MaskedLM) -> None:
    expected = scores(learner_of(lm, mode, "words"))
    torch.testing.assert_close(scores(learner_of(lm, mode, "soft")), expected, atol=1e-5, rtol=0)


def test_several_words_of_a_label_start_its_vector_in_their_weighted_mean(model_of: ModelOf) -> None:
    lm = model_of("bert")
    learner = learner_of(lm, "zero_shot", "soft", TWO)
    terrible, bad, great, good = (lm.projection[0][ids].mean(0) for ids in map(list, learner.answers.ids))
    expected = torch.stack([(terrible + bad) / 2, (3 * great + good) / 4])
    torch.testing.assert_close(label_vectors(learner).vectors, expected)


def test_a_word_of_several_tokens_starts_a_vector_where_words_are_refused(model_of: ModelOf) -> None:
    lm = model_of("bert")
    words = {"negative": "terribly so", "positive": "great"}
    with pytest.raises(UserError, match="a label word must be one"):
        learner_of(lm, "zero_shot", "words", words)
    learner = learner_of(lm, "zero_shot", "soft", words)
    rows = lm.projection[0][list(learner.answers.ids[0])]
    assert len(rows) > 1
    torch.testing.assert_close(label_vectors(learner).vectors[0], rows.mean(0))


def test_a_random_start_is_as_large_as_the_models_rows_and_follows_the_seed(model_of: ModelOf) -> None:
    lm = model_of("bert")
    first, again = (label_vectors(learner_of(lm, "zero_shot", "soft", init="random")) for _ in range(2))
    assert torch.equal(first.vectors, again.vectors)
    rows = lm.projection[0].square().mean().sqrt()
    assert float(first.vectors.detach().square().mean().sqrt() / rows.detach()) == pytest.approx(1, abs=0.3)
    assert not torch.allclose(first.vectors, label_vectors(learner_of(lm, "zero_shot", "soft")).vectors, atol=0.01)


def test_on_a_frozen_model_the_vectors_alone_train_and_the_encoder_runs_once(model_of: ModelOf) -> None:
    lm = model_of("bert")
    before = {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}
    learner = learner_of(lm, "zero_shot", "soft", anchor=0.0)
    runs: list[int] = []
    hook = lm.model.base_model.register_forward_hook(lambda module, inputs, output: runs.append(1))
    try:
        encoded = learner.encode(ROWS)
        report = train(learner, encoded, TARGETS, TrainSettings(steps=30, learning_rate=1e-3))
        learner.predict(encoded)
    finally:
        hook.remove()
    assert len(runs) == 1
    assert report.losses[-1] < 0.7 * report.losses[0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in lm.model.state_dict().items())
    assert learner.trained_parameters() == label_vectors(learner).vectors.numel() + 2


@pytest.mark.parametrize("mode", ["full", "head", "soft_prompt", "prefix", "lora"])
def test_the_vectors_train_beside_what_the_mode_trains(mode: str, model_of: ModelOf) -> None:
    learner = learner_of(model_of("bert"), mode, "soft", anchor=0.0)
    start = label_vectors(learner).vectors.detach().clone()
    report = train(learner, learner.encode(ROWS), TARGETS, TrainSettings(steps=10, learning_rate=1e-3))
    assert report.losses[-1] < report.losses[0]
    assert not torch.allclose(label_vectors(learner).vectors, start, atol=1e-4)
    assert learner.trained_parameters() > start.numel() + 2


def test_an_anchor_holds_the_vectors_near_their_start_the_less_the_more_examples_there_are(model_of: ModelOf) -> None:
    lm, moved = model_of("bert"), []
    for anchor, repeat in ((0.0, 1), (10.0, 1), (10.0, 20)):
        learner = learner_of(lm, "zero_shot", "soft", anchor=anchor)
        soft = label_vectors(learner)
        settings = TrainSettings(steps=60, learning_rate=1e-3)
        train(learner, learner.encode(ROWS * repeat), TARGETS.repeat(repeat), settings)
        moved.append(float((soft.vectors - soft.start).detach().norm()))
    free, held, held_less = moved
    assert 0 < held < 0.5 * free and held < held_less < free


@pytest.mark.parametrize(
    "overrides",
    [
        ("tuning=zero_shot",),
        ("tuning=head",),
        ("tuning=full",),
        ("tuning=prefix",),
        ("tuning=zero_shot", "ensemble=patterns", "ensemble.patterns=[p0,p1]"),
    ],
)
def test_what_a_run_with_label_vectors_wrote_is_said_again(
    overrides: tuple[str, ...], world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = world.train(tmp_path / "run", "scoring=soft", "save_model=always", *overrides)
    words = world.train(tmp_path / "words", *overrides, "scoring=words", "tuning=zero_shot")
    wrote = _probabilities((run / "predictions.jsonl").read_text())
    assert not torch.allclose(wrote, _probabilities((words / "predictions.jsonl").read_text()), atol=1e-3)
    capsys.readouterr()
    assert main(["predict", str(run), "--file", str(DATA / "meals" / "test.jsonl")]) == 0
    torch.testing.assert_close(_probabilities(capsys.readouterr().out), wrote, atol=2e-6, rtol=0)


def _probabilities(lines: str) -> Tensor:
    rows = [json.loads(line)["probabilities"] for line in lines.splitlines()]
    return torch.tensor([[row["tasty"], row["bland"]] for row in rows])


def test_the_notebook_takes_a_run_with_label_vectors(world: World, tmp_path: Path) -> None:
    run = world.train(tmp_path / "run", "scoring=soft", "tuning=zero_shot")
    texts = [json.loads(line)["text"] for line in (DATA / "meals" / "test.jsonl").read_text().splitlines()]
    wrote = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert PromptClassifier.load(run).predict(texts) == [row["predicted"] for row in wrote]
