"""Asking: no dropout, the same answer as often as one likes, and nothing changed by it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from goldens import World
from torch import Tensor

from pet_cli.config import registry
from pet_cli.config.build import option
from pet_cli.errors import UserError
from pet_cli.models.base import LanguageModel
from pet_cli.models.loading import load
from pet_cli.prompts.template import Template, parse_plain
from pet_cli.training.loop import TrainSettings, train
from pet_cli.tuning.base import Learner, PromptLearner
from pet_cli.verbalizers.manual import ManualVerbalizer

pytestmark = pytest.mark.xdist_group("asking")

ROWS = [{"text": text} for text in ("good soup", "cold rice", "the bread was fresh and warm , but so dry", "an egg")]
TARGETS = torch.tensor([1, 0, 1, 0])
WORDS = {"bad": {"bad": 1.0, "dull": 1.0}, "good": {"good": 1.0, "great": 1.0}}
FAMILIES = ("bert", "gpt2", "t5", "bart")
NETWORKS: dict[str, dict[str, Any]] = {
    "soft_prompt": {"conditioned": True, "length": 4},
    "p_tuning": {"length": 4},
    "prefix": {"projection": True, "length": 4},
}
IMPOSSIBLE = {("t5", "bitfit"), *((kind, "head") for kind in FAMILIES[1:])}  # no biases; no head of its own
CASES = [(kind, mode) for kind in FAMILIES for mode in registry.KINDS["tuning"] if (kind, mode) not in IMPOSSIBLE]
EVERY = pytest.mark.parametrize(("kind", "mode"), CASES)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("asking"))


@pytest.fixture(scope="module")
def lm_of(world: World) -> Callable[[str], LanguageModel]:
    """A family's tiny model with its weights as loaded, by the family's name."""

    @functools.cache
    def loaded(kind: str) -> LanguageModel:
        lm = load(str(world.model(kind)), device="cpu")
        lm.keep_pristine()
        return lm

    def restored(kind: str) -> LanguageModel:
        lm = loaded(kind)
        lm.restore()
        return lm

    return restored


def learner_of(lm: LanguageModel, mode: str) -> Learner:
    cls, settings = registry.implementation("tuning", mode), option("tuning", mode, **NETWORKS.get(mode, {}))
    torch.manual_seed(1)
    if not issubclass(cls, PromptLearner):
        return cls(lm, parse_plain("{text}"), ["bad", "good"], settings, 64)
    return cls(
        lm,
        Template.parse("{text} It was {mask}."),
        labels=["bad", "good"],
        settings=settings,
        max_length=64,
        verbalizer=ManualVerbalizer(WORDS, option("scoring", "words")),
    )


def fitted(lm: LanguageModel, mode: str) -> Learner:
    learner = learner_of(lm, mode)
    train(learner, learner.encode(ROWS), TARGETS, TrainSettings(steps=3, learning_rate=0.01, batch_size=2))
    return learner


def state_of(learner: Learner) -> list[Any]:
    """All that asking could change: weights, modes, wishes for gradients, the random state."""
    model = learner.lm.model
    own = {name: tensor.detach().clone() for name, tensor in learner.trained_state().items()}
    modes = [module.training for top in learner.modules() for module in top.modules()]
    wanted = [parameter.requires_grad for top in learner.modules() for parameter in top.parameters()]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kept = {name: value for name, value in vars(learner).items() if not isinstance(value, (dict, list, Tensor))}
    return [weights, own, modes, wanted, torch.get_rng_state(), list(map(id, kept.values()))]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, Sequence) and not isinstance(one, str):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@EVERY
def test_asking_has_no_dropout_and_changes_nothing(lm_of: Callable[[str], LanguageModel], kind: str, mode: str) -> None:
    lm = lm_of(kind)
    learner = learner_of(lm, mode)
    encoded = learner.encode(ROWS)
    calm = learner.predict(encoded)
    for number, module in enumerate(module for top in learner.modules() for module in top.modules()):
        module.training = number % 3 != 2  # dropout on, and not everywhere
    before = state_of(learner)
    for _ in range(3):
        assert torch.equal(learner.predict(encoded), calm)
        assert torch.equal(learner.predict(learner.encode(ROWS)), calm)
    assert same(state_of(learner), before)


@EVERY
def test_building_training_saving_and_loading_leave_the_models_modes(
    world: World, lm_of: Callable[[str], LanguageModel], kind: str, mode: str, tmp_path: Path
) -> None:
    lm = lm_of(kind)

    def modes() -> list[Any]:
        switches = [module.training for module in lm.model.modules()]
        return [switches, [p.requires_grad for p in lm.model.parameters()], lm.model.config._attn_implementation]

    before = modes()
    assert not any(before[0]) and all(before[1])
    learner = fitted(lm, mode)
    assert modes() == before
    answer = learner.predict(learner.encode(ROWS))
    kept = state_of(learner)
    learner.save(tmp_path, whole=True)
    assert same(state_of(learner), kept), "saving only reads"
    changed = (tmp_path / "model").is_dir()
    assert changed == learner.settings.changes_model
    lm = load(str(tmp_path / "model" if changed else world.model(kind)), device="cpu")
    again = learner_of(lm, mode)
    again.load(tmp_path)
    assert modes() == before
    for _ in range(2):
        # Equal weights at other addresses: on some processors sums are then taken in another order.
        torch.testing.assert_close(again.predict(again.encode(ROWS)), answer, rtol=0, atol=1e-6)


@EVERY
def test_dropout_is_on_in_training_where_the_mode_asks_for_it(
    lm_of: Callable[[str], LanguageModel], kind: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = lm_of(kind)
    learner = learner_of(lm, mode)
    wants = getattr(learner.settings, "dropout", None)
    if wants is None:
        return
    for dropout in (wants, not wants):
        monkeypatch.setattr(learner.settings, "dropout", dropout)
        learner.begin()
        with learner.training():
            two = [learner.label_scores(learner.encode(ROWS), range(4)) for _ in range(2)]
        assert torch.equal(*two) != dropout
        assert not lm.model.training


def test_a_run_saved_over_another_mode_leaves_nothing_of_it(
    lm_of: Callable[[str], LanguageModel], tmp_path: Path
) -> None:
    lm = lm_of("bert")
    for mode in ("full", "lora", "head", "full"):
        fitted(lm, mode).save(tmp_path, whole=True)
        there = {path.name for path in tmp_path.iterdir()}
        assert (
            there
            == {
                "full": {"model"},
                "lora": {"trained.safetensors", "adapter"},
                "head": {"trained.safetensors"},
            }[mode]
        )


def test_two_learners_of_one_model_score_long_words_each_by_its_own_rule(lm_of: Callable[[str], LanguageModel]) -> None:
    lm = lm_of("gpt2")
    words = {"bad": {"bad": 1.0}, "good": {"not so bad": 1.0}}
    made = [
        registry.implementation("tuning", "full")(
            lm,
            Template.parse("{text} It was {mask}."),
            labels=["bad", "good"],
            settings=option("tuning", "full"),
            verbalizer=ManualVerbalizer(words, option("scoring", "words", length_normalise=normalise)),
        )
        for normalise in (True, False)
    ]
    mean, total = (learner.predict(learner.encode(ROWS)) for learner in made)
    tokens = len(made[0].answers.ids[1])  # type: ignore[attr-defined]
    assert tokens > 1
    torch.testing.assert_close(mean[:, 1] * tokens, total[:, 1])
    assert torch.equal(mean[:, 0], total[:, 0])


def test_what_is_not_there_is_told(lm_of: Callable[[str], LanguageModel], tmp_path: Path) -> None:
    lm = lm_of("bert")
    with pytest.raises(UserError, match=r"trained\.safetensors"):
        learner_of(lm, "head").load(tmp_path)


@pytest.mark.parametrize("length", [1, 4])
def test_a_prefix_shows_no_token_what_follows_it(lm_of: Callable[[str], LanguageModel], length: int) -> None:
    lm = lm_of("gpt2")
    learner = learner_of(lm, "prefix")
    learner.settings.length = length
    learner.begin()
    assert isinstance(learner, PromptLearner)
    prompt = learner.encode(ROWS[2:3]).prompts[0]
    batch = lm.collate([prompt, prompt])
    assert batch.attention_mask.all(), "no padding, for which transformers makes no mask"
    batch.input_ids[1, -1] = 5
    with learner.attached(), torch.inference_mode():
        one, other = lm.encode(batch)
        plain = lm.encode(lm.collate([prompt]))[0]
    assert torch.equal(one[:-1], other[:-1]) and not torch.equal(one[-1], other[-1])
    without = lm.encode(lm.collate([prompt]))[0]
    assert not torch.allclose(plain, without, atol=1e-4), "and every token sees the prefix"


@EVERY
def test_an_answer_does_not_depend_on_the_padding(lm_of: Callable[[str], LanguageModel], kind: str, mode: str) -> None:
    lm = lm_of(kind)
    learner = learner_of(lm, mode)
    if not learner.trains_model:  # as if trained: what starts as nothing then says something
        with torch.no_grad():
            for group in learner.parameter_groups(1.0):
                for parameter in group["params"]:
                    size = float(parameter.square().mean().sqrt()) or 0.1
                    parameter.add_(torch.randn_like(parameter), alpha=0.3 * size)
    together = learner.predict(learner.encode(ROWS))
    alone = torch.cat([learner.predict(learner.encode([row])) for row in ROWS])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
