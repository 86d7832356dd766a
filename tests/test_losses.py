"""What a training step's loss is of: the function that predicts, and for PET's masked words the model as it trains."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from goldens import World, read_rows
from torch import Tensor

from pet_cli.config import registry
from pet_cli.config.build import option
from pet_cli.ensembles.views import ViewsLearner
from pet_cli.models.base import LanguageModel
from pet_cli.models.loading import load
from pet_cli.prompts.query import Answers
from pet_cli.prompts.template import Template, parse_plain
from pet_cli.training.mlm import MaskedModelling
from pet_cli.tuning.base import PromptLearner
from pet_cli.tuning.classifier import ClassifierLearner
from pet_cli.verbalizers.base import MaskOutput
from pet_cli.verbalizers.manual import ManualVerbalizer

pytestmark = pytest.mark.xdist_group("losses")

ROWS = [{"text": text} for text in ("good soup", "cold rice", "the bread was fresh and warm , but so dry", "an egg")]
TARGETS = torch.tensor([1, 0, 1, 0])
WORDS = {"bad": {"bad": 1.0, "dull": 2.0}, "good": {"good": 1.0, "great": 3.0}}
TRAINED = ("full", "head", "soft_prompt", "word_embedding", "p_tuning", "prefix", "lora", "bitfit")
COMBINATIONS = ("mean", "max", "sum", "weighted", "learned", "vote")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("losses"))


@pytest.fixture
def lm(world: World) -> LanguageModel:
    return load(str(world.model("bert")), device="cpu")


def learner_of(
    lm: LanguageModel, mode: str = "full", template: str = "{text} It was {mask}.", combine: str = "mean", **own: Any
) -> PromptLearner:
    torch.manual_seed(1)
    cls = registry.implementation("tuning", mode)
    assert issubclass(cls, PromptLearner)
    return cls(
        lm,
        Template.parse(template),
        labels=list(WORDS),
        settings=option("tuning", mode, **own),
        max_length=64,
        verbalizer=ManualVerbalizer(WORDS, option("scoring", "words", combine=combine)),
    )


# --- PET's masked words ----------------------------------------------------------------------------------------------


def masked(learner: PromptLearner, rate: float = 0.5) -> MaskedModelling:
    return MaskedModelling(learner, learner.encode(ROWS).prompts, 4, seed=3, rate=rate)


@pytest.mark.parametrize("mode", TRAINED)
def test_the_masked_words_teach_whatever_a_mode_trains(lm: LanguageModel, mode: str) -> None:
    own = {"decoder": True} if mode == "head" else {}
    learner = learner_of(lm, mode, **own)
    for parameter in lm.model.parameters():
        parameter.requires_grad_(mode == "full")
    parameters = [p for group in learner.parameter_groups(1.0) for p in group["params"] if p.requires_grad]
    assert parameters
    masked(learner)(1).backward()
    reached = [parameter.grad is not None and bool(parameter.grad.any()) for parameter in parameters]
    # P-tuning's network starts as none: its last layer alone is reached. Half of LoRA's matrices start at 0.
    assert any(reached) if mode in ("p_tuning", "lora") else sum(reached) > 0.8 * len(reached)


@pytest.mark.parametrize("mode", ["head", "word_embedding", "lora", "bitfit"])
def test_before_training_the_masked_words_cost_what_they_cost_the_plain_model(lm: LanguageModel, mode: str) -> None:
    plain, learner = learner_of(lm, "full"), learner_of(lm, mode)
    batch = lm.collate(plain.encode(ROWS).prompts)
    places = batch.attention_mask.bool()
    expected = plain.vocabulary_scores(batch, places)
    torch.testing.assert_close(lm.model(batch.input_ids, batch.attention_mask).logits[places], expected)
    own = lm.collate(learner.encode(ROWS).prompts)
    torch.testing.assert_close(learner.vocabulary_scores(own, places), expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        for group in learner.parameter_groups(1.0):
            for parameter in group["params"]:
                parameter.add_(torch.randn_like(parameter), alpha=0.5)
    changed = learner.vocabulary_scores(own, places)
    assert not torch.allclose(changed, expected, atol=1e-2), "and then what trained takes part"


@pytest.mark.parametrize("mode", ["soft_prompt", "word_embedding", "p_tuning"])
def test_neither_the_mask_nor_a_trained_vector_is_a_masked_word(lm: LanguageModel, mode: str) -> None:
    learner = learner_of(lm, mode)
    batch = lm.collate(learner.encode(ROWS).prompts)
    assert batch.soft is not None
    before, special = batch.input_ids.clone(), torch.tensor(lm.tokenizer.all_special_ids)
    chosen, gold = masked(learner, rate=1.0).mask(batch)
    words = batch.attention_mask.bool() & ~torch.isin(before, special) & (batch.soft < 0)
    assert torch.equal(chosen, words) and torch.equal(gold, before[words]) and len(gold) > 8


def test_a_window_hides_its_centre_and_what_lies_beyond_it(lm: LanguageModel) -> None:
    learner = learner_of(lm)
    batch = lm.collate(learner.encode(ROWS).prompts)
    before, attention = batch.input_ids.clone(), batch.attention_mask.clone().bool()
    special = torch.isin(before, torch.tensor(lm.tokenizer.all_special_ids))
    modelling = MaskedModelling(learner, learner.encode(ROWS).prompts, 4, seed=3, window=5)
    chosen, gold = modelling.mask(batch)
    assert chosen.sum(dim=1).tolist() == [1] * len(before)
    assert torch.equal(gold, before[chosen]) and (batch.input_ids[chosen] == lm.tokenizer.mask_token_id).all()
    assert torch.equal(batch.input_ids[~chosen], before[~chosen])
    places = torch.arange(before.shape[1])
    near = (places - chosen.int().argmax(dim=1, keepdim=True)).abs() <= 2
    assert torch.equal(batch.attention_mask.bool(), (near | special) & attention)


def test_word_weights_alone_cost_no_masked_words(lm: LanguageModel) -> None:
    assert not learner_of(lm, "zero_shot", combine="learned").lm_loss_trains
    assert all(learner_of(lm, mode).lm_loss_trains for mode in TRAINED)


@pytest.mark.parametrize("mode", ["head", "lora", "soft_prompt"])
def test_the_share_of_the_masked_words_moves_the_members_of_pet(
    world: World, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.chdir(tmp_path)
    said = []
    for alpha in (0.0, 0.5):
        own = ("ensemble=pet", "ensemble.patterns=[p0]", "ensemble.seeds=1", "ensemble.student_steps=1")
        out = world.train(tmp_path / str(alpha), *own, f"ensemble.alpha={alpha}", f"tuning={mode}")
        said.append([row["members"] for row in read_rows(out / "predictions.jsonl")])
    assert said[0] != said[1]


# --- one model on several templates ----------------------------------------------------------------------------------


@pytest.mark.parametrize("combine", COMBINATIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_a_shared_model_learns_by_its_views_own_losses(world: World, kind: str, combine: str, weighted: bool) -> None:
    lm = load(str(world.model(kind)), device="cpu")
    views = [learner_of(lm, template=line, combine=combine) for line in ("{text} It was {mask}.", "{text} So {mask}")]
    for view in views:
        for parameter in view.verbalizer.parameters():
            torch.nn.init.normal_(parameter)
    together = ViewsLearner(views)
    encoded = together.encode(ROWS * 2)
    indices, weight = [0, 1, 5, 2], torch.tensor([0.3, 2.0]) if weighted else None
    targets = TARGETS.repeat(2)[indices]
    parts = [
        (views[0], views[0].encode(ROWS), [0, 1, 2], targets[[0, 1, 3]]),
        (views[1], views[1].encode(ROWS), [1], targets[[2]]),
    ]
    total = sum(torch.ones(4) if weight is None else weight[targets])
    expected = torch.zeros(())
    for view, own, places, gold in parts:
        mass = len(gold) if weight is None else weight[gold].sum()
        expected = expected + mass / total * (view.loss(own, places, gold, weight) - view.penalty(4)) + view.penalty(4)
    torch.testing.assert_close(together.loss(encoded, indices, targets, weight), expected)


def test_a_shared_model_under_votes_learns_from_what_it_has_right(lm: LanguageModel) -> None:
    together = ViewsLearner([learner_of(lm, combine="vote")])
    encoded = together.encode(ROWS)
    right = together.predict(encoded).argmax(dim=1)
    together.loss(encoded, range(4), right).backward()
    pulled = lm.model.get_input_embeddings().weight.grad.norm()
    lm.model.zero_grad(set_to_none=True)
    plain = learner_of(lm, combine="vote")
    plain.loss(plain.encode(ROWS), range(4), right).backward()
    assert float(pulled) == pytest.approx(float(lm.model.get_input_embeddings().weight.grad.norm()), rel=1e-4)


# --- a student at a temperature ---------------------------------------------------------------------------------------


class Told(MaskOutput):
    """Words' scores as they are given, `[batch, words]`."""

    states = features = torch.zeros(0)

    def __init__(self, scores: Tensor) -> None:
        self.scores = scores

    def word_scores(self, answers: Answers) -> Tensor:
        return self.scores


def verbalizer_of(combine: str) -> ManualVerbalizer:
    verbalizer = ManualVerbalizer(WORDS, option("scoring", "words", combine=combine))
    verbalizer.answers = Answers(((1,), (2,), (3,), (4,)))
    for parameter in verbalizer.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(2))
    return verbalizer


@pytest.mark.parametrize("combine", [one for one in COMBINATIONS if one != "vote"])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_a_student_that_says_what_its_teacher_says_has_nothing_to_learn(combine: str, temperature: float) -> None:
    words = torch.tensor([[2.0, -1.0, 0.5, 3.0], [0.1, 0.2, -3.0, 1.0]], requires_grad=True)
    verbalizer = verbalizer_of(combine)
    teacher = (verbalizer(Told(words)) / temperature).softmax(dim=1).detach()
    verbalizer.loss(Told(words), teacher, None, temperature).backward()
    assert words.grad is not None and float(words.grad.abs().max()) < 1e-6
    words.grad = None
    verbalizer.loss(Told(words), teacher.flip(1), None, temperature).backward()
    assert float(words.grad.abs().max()) > 1e-2


def test_the_loss_at_a_temperature_by_hand() -> None:
    words = torch.tensor([[2.0, -1.0, 0.5, 3.0]])
    scores = torch.logsumexp(words.reshape(1, 2, 2), dim=2) - torch.tensor(2.0).log()
    expected = 9 * F.cross_entropy(scores / 3, torch.tensor([1]))
    found = verbalizer_of("mean").loss(Told(words), torch.tensor([1]), None, 3.0)
    torch.testing.assert_close(found, expected)


# --- what a classifier reads --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "token"), [("bert", "cls"), ("t5", "eos"), ("bart", "eos"), ("gpt2", None)])
def test_a_classifier_reads_the_token_that_stands_for_the_input(world: World, kind: str, token: str | None) -> None:
    lm = load(str(world.model(kind)), device="cpu")
    learner = ClassifierLearner(
        lm, parse_plain("{text}"), ["a", "b"], option("tuning", "classifier", pooling="cls"), 64
    )
    batch = lm.collate(learner.encode(ROWS).prompts)
    assert not batch.attention_mask.all(), "texts of different lengths"
    hidden = torch.arange(batch.input_ids.numel()).reshape(*batch.input_ids.shape, 1)
    at = lm.summary(hidden, batch).squeeze(1)
    read: Tensor = batch.input_ids.flatten()[at]
    if token is None:
        assert read.tolist() == [lm.tokenizer(row["text"])["input_ids"][-1] for row in ROWS]
    else:
        assert set(read.tolist()) == {getattr(lm.tokenizer, f"{token}_token_id")}
    torch.testing.assert_close(
        learner.predict(learner.encode(ROWS)),
        learner.linear(lm.summary(lm.encode(batch).float(), batch)).detach(),
        atol=1e-5,
        rtol=1e-5,
    )
