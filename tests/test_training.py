"""The training loop: schedule, batches, class weights, seeds, the kept step."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pet_cli.config.build import option
from pet_cli.models.masked import MaskedLM
from pet_cli.prompts.batch import Prompt
from pet_cli.prompts.template import Template
from pet_cli.training.loop import (
    TrainSettings,
    _linear,
    balanced_weights,
    batches,
    steps_for,
    train,
)
from pet_cli.tuning.base import Encoded, Learner
from pet_cli.tuning.full import FullLearner
from pet_cli.tuning.head import HeadLearner
from pet_cli.verbalizers.manual import ManualVerbalizer

pytestmark = pytest.mark.xdist_group("families")

ModelOf = Callable[[str], MaskedLM]

ROWS = [{"text": text} for text in ("the film was great", "a plot", "this story was bad", "so long", "maybe", "no")]
TARGETS = torch.tensor([1, 0, 0, 1, 1, 0])


# --- schedule, batches, weights ------------------------------------------------------------------------------------


def rates(steps: int, warmup: float) -> list[float]:
    factor = _linear(TrainSettings(steps=steps, learning_rate=1.0, warmup=warmup))
    return [factor(step) for step in range(steps)]


def test_the_rate_falls_in_a_line_from_the_first_step() -> None:
    assert rates(5, 0.0) == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])
    assert rates(1, 0.0) == [1.0]


def test_the_rate_rises_over_the_warmup_and_then_falls() -> None:
    assert rates(10, 0.2) == pytest.approx([1 / 3, 2 / 3, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    assert rates(10, 0.11) == rates(10, 0.2), "a share of a step is a whole one"


@given(steps=st.integers(1, 200), warmup=st.floats(0, 0.99))
@settings(max_examples=60, deadline=None)
def test_the_rate_is_never_above_its_value_nor_zero_at_a_step(steps: int, warmup: float) -> None:
    found = rates(steps, warmup)
    assert all(0 < rate <= 1 for rate in found)
    assert _linear(TrainSettings(steps=steps, learning_rate=1.0, warmup=warmup))(steps) == 0.0


@given(n=st.integers(1, 40), size=st.integers(1, 12), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_every_epoch_sees_every_example_once(n: int, size: int, seed: int) -> None:
    stream = batches(n, size, seed)
    per_epoch = -(-n // size)
    for _ in range(3):
        epoch = list(itertools.islice(stream, per_epoch))
        assert sorted(index for batch in epoch for index in batch) == list(range(n))
        assert all(len(batch) == size for batch in epoch[:-1])


def test_batches_follow_their_seed_and_change_from_epoch_to_epoch() -> None:
    def first(seed: int) -> list[list[int]]:
        return list(itertools.islice(batches(20, 5, seed), 8))

    assert first(1) == first(1) != first(2)
    assert first(1)[:4] != first(1)[4:]


def test_class_weights_by_hand() -> None:
    assert balanced_weights([0, 0, 0, 1], 2).tolist() == pytest.approx([4 / 6, 4 / 2])
    assert balanced_weights([0, 1, 2, 2], 3).tolist() == pytest.approx([4 / 3, 4 / 3, 2 / 3])
    assert balanced_weights([0, 1, 0, 1], 2).tolist() == [1.0, 1.0]
    assert balanced_weights([0, 0], 2).isfinite().all(), "a label without examples"


@pytest.mark.parametrize(("width", "rate"), [(1024, 1e-5), (768, 2.0528e-5), (384, 1.1612e-4), (256, 3.2e-4)])
def test_the_default_rate_grows_as_models_narrow(
    width: int, rate: float, model_of: Callable[[str], MaskedLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = model_of("bert")
    monkeypatch.setattr(lm, "width", width)
    assert lm.default_learning_rate == pytest.approx(rate, rel=1e-3)


def test_steps_are_epochs_of_batches_at_least_the_least_and_the_users_own_number_wins() -> None:
    tuning = option("tuning", "full", epochs=3, min_steps=100, most_epochs=10)
    assert steps_for(32, None, 8, tuning) == 40  # ten passes, no more
    assert steps_for(96, None, 8, tuning) == 100
    assert steps_for(32, None, 8, option("tuning", "full", epochs=3, min_steps=100, most_epochs=None)) == 100
    assert steps_for(801, None, 8, tuning) == 3 * 101
    assert steps_for(801, 7, 8, tuning) == 7


# --- the loop, on a learner of one number --------------------------------------------------------------------------


class OneNumber(Learner):
    """A learner whose only parameter falls by the rate at every step; right while it is within `good`."""

    def __init__(self, good: tuple[float, float]) -> None:
        self.value = nn.Parameter(torch.tensor([0.0]))
        self.good = good
        self.labels = ["no", "yes"]
        self.batch_size = 8
        self.lm: Any = SimpleNamespace(
            model=nn.Linear(1, 1).eval(), device=torch.device("cpu"), remembering=contextlib.nullcontext
        )
        self.settings = SimpleNamespace(drops_out=True)
        self.seen: list[list[int]] = []
        self.dropout_at_dev: list[bool] = []

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        return [{"params": [self.value], "lr": learning_rate, "weight_decay": 0.0}]

    def loss(self, data: Any, indices: Sequence[int], targets: Tensor, weight: Any, temperature: float) -> Tensor:
        self.seen.append(list(indices))
        assert self.lm.model.training
        return self.value.sum() + 5.0

    def label_scores(self, encoded: Encoded, indices: Sequence[int]) -> Tensor:
        self.dropout_at_dev.append(self.lm.model.training)
        right = self.good[0] <= self.value.item() <= self.good[1]
        return torch.tensor([[0.0, 1.0] if right else [1.0, 0.0]] * len(indices))

    def trained_state(self) -> dict[str, Tensor]:
        return {"value": self.value}


def dummy(n: int) -> Encoded:
    return Encoded([Prompt([0], [0], (0,))] * n)


def fit(learner: OneNumber, dev: bool, steps: int = 8, **options: Any) -> Any:
    how = TrainSettings(steps=steps, learning_rate=1.0, batch_size=2, eval_every=2)
    development = (dummy(3), lambda scores: float((scores.argmax(dim=1) == 1).float().mean())) if dev else None
    return train(learner, dummy(4), torch.zeros(4, dtype=torch.long), how, dev=development, **options)  # type: ignore[arg-type]


def after(steps: int, of: int = 8) -> float:
    """Adam's step is the rate where all gradients are alike, so the number falls by the sum of the rates."""
    return -sum((of - step) / of for step in range(steps))


def test_the_parameters_of_the_best_step_on_the_development_set_are_kept() -> None:
    learner = OneNumber(good=(after(4) - 0.1, after(4) + 0.1))
    report = fit(learner, dev=True)
    assert (report.dev_score, report.kept_step) == (1.0, 4)
    assert learner.value.item() == pytest.approx(after(4), abs=1e-4)
    assert len(report.losses) == 8
    assert learner.dropout_at_dev == [False] * 4 and not learner.lm.model.training


def test_among_equally_good_steps_the_later_is_kept_and_the_last_is_tried() -> None:
    report = fit(OneNumber(good=(-100, 0)), dev=True, steps=7)
    assert (report.dev_score, report.kept_step) == (1.0, 7)


def test_without_a_development_set_the_last_step_is_kept() -> None:
    learner = OneNumber(good=(-1, 0))
    report = fit(learner, dev=False)
    assert (report.dev_score, report.kept_step) == (None, None)
    assert learner.value.item() == pytest.approx(after(8), abs=1e-4)
    assert report.losses[0] == 5.0 and report.losses[1] == pytest.approx(4.0, abs=1e-4)
    assert not learner.dropout_at_dev


def test_the_auxiliary_loss_takes_its_share() -> None:
    asked: list[int] = []

    def mlm(step: int) -> Tensor:
        asked.append(step)
        return torch.tensor(100.0)

    report = fit(OneNumber(good=(-1, 0)), dev=False, mlm=mlm, alpha=0.25)
    assert report.losses[0] == pytest.approx(0.75 * 5.0 + 0.25 * 100.0)
    assert asked == list(range(1, 9))


def test_the_loop_reports_every_step() -> None:
    ticks: list[int] = []
    learner = OneNumber(good=(-1, 0))
    fit(learner, dev=False, advance=ticks.append)
    assert ticks == [1] * 8
    assert [sorted(a + b) for a, b in zip(learner.seen[::2], learner.seen[1::2], strict=True)] == [[0, 1, 2, 3]] * 4


# --- the loop, on a model ------------------------------------------------------------------------------------------


def full_learner(lm: MaskedLM, dropout: bool = True) -> FullLearner:
    verbalizer = ManualVerbalizer({"negative": {"bad": 1.0}, "positive": {"great": 1.0}}, option("scoring", "words"))
    template = Template.parse("{text} It was {mask}.")
    return FullLearner(
        lm, template, ["negative", "positive"], option("tuning", "full", dropout=dropout), verbalizer=verbalizer
    )


def weights_after(model_of: ModelOf, seed: int, dropout: bool = True) -> dict[str, Tensor]:
    lm = model_of("bert")
    learner = full_learner(lm, dropout)
    train(learner, learner.encode(ROWS), TARGETS, TrainSettings(steps=4, learning_rate=1e-3, batch_size=2, seed=seed))
    return {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def test_the_same_seed_trains_to_the_same_bits_and_another_does_not(model_of: ModelOf) -> None:
    first = weights_after(model_of, seed=13)
    torch.rand(7)  # what was drawn before does not matter
    assert same(first, weights_after(model_of, seed=13))
    assert not same(first, weights_after(model_of, seed=14))


def test_the_seed_alone_orders_the_examples_without_dropout(model_of: ModelOf) -> None:
    assert not same(weights_after(model_of, 13, dropout=False), weights_after(model_of, 14, dropout=False))


def test_restoring_a_model_undoes_its_training_to_the_bit(model_of: ModelOf) -> None:
    before = {name: tensor.clone() for name, tensor in model_of("bert").model.state_dict().items()}
    assert not same(before, weights_after(model_of, seed=13))
    restored = model_of("bert").model
    assert same(before, dict(restored.state_dict())) and not restored.training
    assert all(parameter.requires_grad for parameter in restored.parameters())


def test_a_rarer_label_weighs_more_in_the_loss(model_of: ModelOf) -> None:
    learner = full_learner(model_of("bert"), dropout=False)
    encoded = learner.encode(ROWS)
    plain = [learner.loss(encoded, [i], TARGETS[[i]]).item() for i in range(6)]
    weight = torch.tensor([1.0, 3.0])
    expected = sum(weight[t].item() * loss for t, loss in zip(TARGETS.tolist(), plain, strict=True)) / 12
    assert learner.loss(encoded, range(6), TARGETS, weight).item() == pytest.approx(expected, rel=1e-4)


def test_a_temperature_softens_scores_and_keeps_the_size_of_gradients(model_of: ModelOf) -> None:
    learner = full_learner(model_of("bert"), dropout=False)
    encoded = learner.encode(ROWS)
    soft = torch.tensor([[0.3, 0.7]] * 6)
    scores = learner.label_scores(encoded, range(6))
    by_hand = -(soft * (scores / 2).log_softmax(1)).sum(1).mean() * 4
    assert learner.loss(encoded, range(6), soft, None, 2.0).item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_an_anchor_holds_the_head_near_its_pretrained_weights(model_of: ModelOf) -> None:
    moved = []
    for anchor in (0.0, 1000.0):
        lm = model_of("bert")
        verbalizer = ManualVerbalizer(
            {"negative": {"bad": 1.0}, "positive": {"great": 1.0}}, option("scoring", "words")
        )
        template = Template.parse("{text} It was {mask}.")
        learner = HeadLearner(
            lm, template, ["negative", "positive"], option("tuning", "head", anchor=anchor), verbalizer=verbalizer
        )
        train(learner, learner.encode(ROWS), TARGETS, TrainSettings(steps=30, learning_rate=1e-3))
        pairs = zip(learner.transform.parameters(), lm.transform.parameters(), strict=True)
        moved.append(sum((a - b).detach().square().sum().item() for a, b in pairs))
    assert 0 < moved[1] < 0.2 * moved[0]
